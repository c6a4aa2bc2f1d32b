"""Losses as pure functions: arrays in, a scalar out, hyperparameters keyword-only.

Vectors need not be normalised: cosine losses do it themselves. Losses that couple the batch take `axis_name`: given
the name of a mapped axis (pmap, vmap, shard_map) they compute the value of the global batch on every device, and
gradients of parameters are those of the global batch after `pmean` (under shard_map with check_vma they come so by
themselves). Arithmetic is never below float32.
"""

from sslx.losses.collapse import alignment, alpha_req, effective_rank, feature_std, uniformity, unit
from sslx.losses.contrastive import ntxent

__all__ = ["alignment", "alpha_req", "effective_rank", "feature_std", "ntxent", "uniformity", "unit"]
