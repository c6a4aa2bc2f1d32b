"""How far representations are from collapse: label-free numbers of a batch or a data set, under jit, in any float type.

Arithmetic is at least float32 (bfloat16 is raised, float64 is kept). A zero vector stays zero when normalised, so
nothing here divides by zero. `axis_name` makes a number that of the global batch under pmap or shard_map.
"""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.batch import agreed, gathered, root, unit


def feature_std(z, *, axis_name=None):
  """Spread on the unit sphere (Chen and He, "Exploring Simple Siamese Representation Learning", 2021, fig. 2).

  The standard deviation of each dimension of the l2-normalised z [N, D], averaged over dimensions, times sqrt(D): 1 for
  an isotropic representation, 0 for a collapsed one.
  """
  z = unit(gathered(z, axis_name))
  variance = jnp.var(z, axis=0)                                                  # [D]
  return agreed(root(variance).mean() * z.shape[1] ** 0.5, axis_name)


def effective_rank(z, *, eps=1e-7, axis_name=None):
  """RankMe (Garrido et al., "RankMe: Assessing the Downstream Performance ... by Their Rank", 2023).

  exp of the entropy of p = singular values / their sum + eps, of z [N, D] as it is (not centred): 1 when all rows are
  multiples of one vector, D at most.
  """
  s = jnp.linalg.svd(gathered(z, axis_name), compute_uv=False)
  p = s / jnp.maximum(s.sum(), jnp.finfo(s.dtype).tiny) + eps
  return agreed(jnp.exp(-jnp.sum(p * jnp.log(p))), axis_name)


def alpha_req(z, *, first=1, last=None, axis_name=None):
  """alpha-ReQ (Agrawal et al., "alpha-ReQ: Assessing Representation Quality ...", 2022): the eigenspectrum's decay.

  alpha of the fit eigenvalue_j ~ j ** -alpha of the covariance of z [N, D]: least squares in log-log, weighted by 1 / j
  so that every octave counts alike (Stringer et al., 2019), over the eigenvalues `first` to `last`, counted from 1,
  both included; default: all min(N - 1, D). Those that rounding cannot tell from 0 are left out. About 1 is good, near
  0 flat, large collapsed, and inf when fewer than two eigenvalues are left.
  """
  z = gathered(z, axis_name)
  s = jnp.linalg.svd(z - z.mean(axis=0), compute_uv=False)
  j = jnp.arange(1, len(s) + 1)
  noise = jnp.finfo(s.dtype).eps * max(z.shape) * jnp.maximum(s[0], jnp.abs(z).max())
  used = (j >= first) & (j <= (min(z.shape[0] - 1, z.shape[1]) if last is None else last)) & (s > noise)
  x, y = jnp.log(j).astype(s.dtype), 2 * jnp.log(jnp.where(used, s, 1))          # log(N - 1) only shifts y
  w = jnp.where(used, 1 / j, 0).astype(s.dtype)
  w = w / jnp.maximum(w.sum(), jnp.finfo(s.dtype).tiny)
  x, y = x - w @ x, y - w @ y
  enough = used.sum() > 1
  return agreed(jnp.where(enough, -(w @ (x * y)) / jnp.where(enough, w @ x**2, 1), jnp.inf), axis_name)


def alignment(x, y, *, alpha=2, axis_name=None):
  """Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity ...", 2020.

  mean of |x - y| ** alpha over positive pairs, rows of x and y [N, D], which are l2-normalised here: 0 is perfect.
  """
  chex.assert_equal_shape([x, y])
  x, y = unit(gathered(x, axis_name, rows=1)), unit(gathered(y, axis_name, rows=1))
  d = jnp.sum((x - y) ** 2, axis=1)                                              # [N]
  power = jnp.where(d > 0, jnp.where(d > 0, d, 1) ** (alpha / 2), 0)             # a finite gradient at x == y
  return agreed(power.mean(), axis_name)


def uniformity(x, *, t=2, axis_name=None):
  """Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity ...", 2020.

  log of the mean of exp(-t |x_i - x_j| ** 2) over all pairs i != j of the l2-normalised x [N, D]: 0 when collapsed, the
  lower the more uniform. Exact over all pairs; rows go in tiles of at most 4M pairs, so memory does not grow as N ** 2.
  """
  x = unit(gathered(x, axis_name))
  n, norms = len(x), jnp.sum(x**2, axis=1)
  rows = max(1, min(n, 2**22 // n))                                              # T rows a tile
  tiles = jnp.arange(-(-n // rows) * rows).reshape(-1, rows)                     # [n / T, T]

  @jax.checkpoint
  def tile(i):
    a, na = x[i % n], norms[i % n]
    d = jnp.maximum(na[:, None] + norms - 2 * a @ x.T, 0)                        # [T, N]
    other = (jnp.arange(n) != i[:, None]) & (i < n)[:, None]
    return jax.nn.logsumexp(-t * d, where=other)

  return agreed(jax.nn.logsumexp(jax.lax.map(tile, tiles)) - jnp.log(n * (n - 1.0)).astype(x.dtype), axis_name)
