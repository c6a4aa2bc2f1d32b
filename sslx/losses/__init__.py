"""Losses as pure functions: arrays in, a scalar out, hyperparameters keyword-only.

Cosine losses normalise their vectors themselves. Losses that couple the batch take `axis_name`: given the name of a
mapped axis (pmap, vmap, shard_map) they compute the value of the global batch on every device, and gradients of
parameters are those of the global batch after `pmean` (under shard_map with check_vma they come so by themselves).
Arithmetic is never below float32.
"""

from sslx.losses.adversarial import gan_critic, gan_generator
from sslx.losses.batch import unit
from sslx.losses.clustering import sinkhorn, swav
from sslx.losses.collapse import alignment, alpha_req, effective_rank, feature_std, uniformity
from sslx.losses.contrastive import clip, cola, dcl, info_nce, ntxent, siglip, supcon
from sslx.losses.distillation import dino, ibot, negative_cosine, ressl
from sslx.losses.metric import pair, triplet, triplet_hard, triplet_semihard
from sslx.losses.quality import psnr, scale_invariant, smooth_l1, ssim, weighted_l1, weighted_l2
from sslx.losses.redundancy import barlow_twins, vibcreg, vicreg, whiten, wmse
from sslx.losses.spread import koleo, sigreg
from sslx.losses.tokens import cross_entropy

__all__ = [
  "alignment", "alpha_req", "barlow_twins", "clip", "cola", "cross_entropy", "dcl", "dino", "effective_rank",
  "feature_std", "gan_critic", "gan_generator", "ibot", "info_nce", "koleo", "negative_cosine", "ntxent", "pair",
  "psnr", "ressl", "scale_invariant", "siglip", "sigreg", "sinkhorn", "smooth_l1", "ssim", "supcon", "swav",
  "triplet", "triplet_hard", "triplet_semihard", "uniformity", "unit", "vibcreg", "vicreg", "weighted_l1",
  "weighted_l2", "whiten", "wmse",
]
