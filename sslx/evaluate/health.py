"""Label-free health of a representation: has it collapsed, how many dimensions does it use, do two views agree."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors
from sslx.losses import collapse

VERSION = "health-v1"
PAPER = ("Chen and He, 2021 (feature_std); Garrido et al., RankMe, 2023 (effective_rank); Agrawal et al., alpha-ReQ, "
         "2022; Wang and Isola, 2020 (alignment, uniformity)")
EXAMPLES = 10_000                                          # at most that many, a seeded subset
FROZEN = {"version": VERSION, "paper": PAPER, "examples": EXAMPLES}


def health(features, view_pair_features=None, *, seed=0):
  """{"feature_std", "effective_rank", "effective_rank_share" (of D), "alpha_req", "uniformity"} of features [N, D].

  And "alignment", given the features ([N, D], [N, D]) of two views of the same images. None for what is not finite.
  """
  x = subset(features, seed)
  out = dict(zip(("feature_std", "effective_rank", "alpha_req", "uniformity"), numbers(x), strict=True))
  if view_pair_features is not None:
    if np.shape(view_pair_features[0]) != np.shape(view_pair_features[1]):
      raise errors.UsageError(f"two views of the same images have features {np.shape(view_pair_features[0])} and "
                              f"{np.shape(view_pair_features[1])}; the shapes must be the same")
    out["alignment"] = jax.jit(collapse.alignment)(*(subset(v, seed) for v in view_pair_features))
  out["effective_rank_share"] = out["effective_rank"] / x.shape[1]
  return {k: float(v) if np.isfinite(v) else None for k, v in sorted(out.items())}


@jax.jit
def numbers(x):
  return collapse.feature_std(x), collapse.effective_rank(x), collapse.alpha_req(x), collapse.uniformity(x)


def subset(x, seed):
  """At most EXAMPLES rows of x, the same for the same seed and length."""
  x = np.asarray(x)
  if x.ndim != 2 or len(x) < 2:
    raise errors.UsageError(f"features {x.shape}: health needs [N, D] with N of at least 2")
  if len(x) > EXAMPLES:
    x = x[np.sort(np.random.default_rng(seed).choice(len(x), EXAMPLES, replace=False))]
  return jnp.asarray(x)
