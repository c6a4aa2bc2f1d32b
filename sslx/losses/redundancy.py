"""Redundancy reduction: two views agree, and the dimensions of a batch vary and do not repeat each other."""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.batch import average, count, times, unit, wide


def barlow_twins(z1, z2, *, lambd=5e-3, eps=1e-5, axis_name=None):
  """Barlow Twins (Zbontar et al., 2021, eq. 1): the views' cross-correlation [D, D] goes to the identity.

  Args:
    z1, z2: [B, D], two views of the same examples.
    lambd: weight of the entries off the diagonal.
    eps: added to the variances that correlations are divided by, as the paper's batch norm does.
    axis_name: mapped axis that the batch is spread over.
  """
  (z1, z2), n = centred("barlow_twins", (z1, z2), axis_name)
  z1, z2 = (z * jax.lax.rsqrt(average(z**2, axis_name) + eps) for z in (z1, z2))
  c = covariance(z1, z2, axis_name)                                                     # [D, D]
  return jnp.sum((1 - jnp.diagonal(c)) ** 2) + lambd * jnp.sum(off_diagonal(c) ** 2)


def vicreg(z1, z2, *, sim=25.0, var=25.0, cov=1.0, eps=1e-4, axis_name=None):
  """VICReg (Bardes et al., 2022, eq. 6): invariance, variance and covariance.

  sim times the mean squared difference, var times the mean hinge max(0, 1 - std), and cov times the sum of the squared
  covariances off the diagonal of both views, over D. Differences and hinges are means over all entries of both views,
  as in the authors' code, which the weights are meant for; the paper's equations sum some of them.

  Args:
    z1, z2: [B, D], two views of the same examples.
    sim, var, cov: weights of the three terms.
    eps: added to the variances.
    axis_name: mapped axis that the batch is spread over.
  """
  distance = average(((wide(z1) - wide(z2)) ** 2).mean(1), axis_name)
  views, n = centred("vicreg", (z1, z2), axis_name)
  decorrelate = sum(jnp.sum(off_diagonal(covariance(z, z, axis_name) * (n / (n - 1))) ** 2) for z in views)
  return sim * distance + var * spread(views, n, eps, axis_name) / 2 + cov * decorrelate / z1.shape[1]


def vibcreg(z1, z2, *, sim=25.0, var=25.0, cov=200.0, eps=1e-4, axis_name=None):
  """VIbCReg (Lee and Aune, 2021): VICReg whose covariances are those of dimensions at length 1, so correlations.

  Their squares off the diagonal are summed over both views, over D squared; the hinges of both views are summed too.
  Arguments as vicreg's.
  """
  distance = average(((wide(z1) - wide(z2)) ** 2).mean(1), axis_name)
  views, n = centred("vibcreg", (z1, z2), axis_name)
  decorrelate = 0
  for z in views:
    square = average(z**2, axis_name)                                                   # [D]
    z = z * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)
    decorrelate += jnp.mean(off_diagonal(covariance(z, z, axis_name)) ** 2)
  return sim * distance + var * spread(views, n, eps, axis_name) + cov * decorrelate


def wmse(z1, z2, *, eps=1e-4, axis_name=None):
  """W-MSE (Ermolov et al., "Whitening for Self-Supervised Representation Learning", 2021): whitened views agree.

  The mean squared distance of the whitened and normalised rows, 2 - 2 cosine. The paper whitens small groups of a
  batch; jax.vmap over groups does that.

  Args:
    z1, z2: [B, D], two views of the same examples.
    eps: as whiten's.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_equal_shape([z1, z2])
  z1, z2 = (unit(whiten(z, eps=eps, axis_name=axis_name)) for z in (z1, z2))
  return average(jnp.sum((z1 - z2) ** 2, -1), axis_name)


def whiten(z, *, eps=1e-4, axis_name=None):
  """Rows of z [N, D] with mean 0 and covariance 1, by Cholesky (Ermolov et al., 2021, sec. 3).

  Args:
    z: more rows than dimensions.
    eps: the covariance S is (1 - eps) S + eps max(1, mean variance), so that it can be inverted after a collapse too.
    axis_name: mapped axis that the rows are spread over.
  """
  if count(z, axis_name) <= z.shape[1]:
    raise ValueError(f"whitening {z.shape[1]} dimensions needs more than as many rows, not {count(z, axis_name)}")
  (z,), n = centred("whiten", (z,), axis_name)
  s = covariance(z, z, axis_name) * (n / (n - 1))
  shrunk = (1 - eps) * s + eps * jnp.maximum(1, jnp.diagonal(s).mean()) * jnp.eye(len(s), dtype=s.dtype)
  return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(shrunk), z.T, lower=True).T


def centred(name, views, axis_name):
  """(views [N, D] less their mean over the global batch, its number of rows)."""
  chex.assert_rank(views, 2)
  chex.assert_equal_shape(views)
  n = count(views[0], axis_name)
  if n < 2:
    raise ValueError(f"{name} needs at least two examples: the statistics of one say nothing")
  return [wide(z) - average(wide(z), axis_name) for z in views], n


def covariance(x, y, axis_name):
  """The mean over the global batch of the products of each dimension of x and of y [N, D], both centred: [D, D]."""
  return average(times(x.T, y)[None] / len(x), axis_name)


def spread(views, n, eps, axis_name):
  """The hinge on the standard deviations that vicreg and vibcreg share."""
  return sum(jax.nn.relu(1 - jnp.sqrt(average(z**2, axis_name) * (n / (n - 1)) + eps)).mean() for z in views)


def off_diagonal(c):
  """A square matrix with 0 on its diagonal."""
  return jnp.where(jnp.eye(len(c), dtype=bool), 0, c)
