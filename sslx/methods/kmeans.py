"""k-means on device, for methods that cluster a whole data set between epochs."""

import functools

import jax
import jax.numpy as jnp

from sslx import losses

ROWS = 4096            # rows whose distances to all centroids are in memory at once


def nearest(x, centroids):
  """The nearest centroid [N] of each row of x [N, D], in Euclidean distance."""
  bias = jnp.sum(centroids**2, -1) / 2
  return jax.lax.map(lambda row: jnp.argmin(bias - centroids @ row).astype(jnp.int32), x, batch_size=min(ROWS, len(x)))


@functools.partial(jax.jit, static_argnames=("clusters", "iterations", "spherical"))
def kmeans(rng, x, *, clusters, iterations=20, spherical=False):
  """Lloyd's algorithm on x [N, D]: (centroids [K, D], labels [N]).

  Starts from K random rows. A cluster that has lost all its rows starts anew from a row drawn at random, as rows of
  large clusters mostly are. spherical: centroids are brought to length 1, for x of length 1.
  """
  first, rest = jax.random.split(rng)
  start = x[jax.random.choice(first, len(x), (clusters,), replace=False)]

  def step(i, centroids):
    labels = nearest(x, centroids)
    size = jnp.zeros(clusters, x.dtype).at[labels].add(1)
    total = jnp.zeros_like(centroids).at[labels].add(x)
    anew = x[jax.random.randint(jax.random.fold_in(rest, i), (clusters,), 0, len(x))]
    centroids = jnp.where(size[:, None] > 0, total / jnp.maximum(size, 1)[:, None], anew)
    return losses.unit(centroids) if spherical else centroids

  centroids = jax.lax.fori_loop(0, iterations, step, start)
  return centroids, nearest(x, centroids)


def whitened(x, dims):
  """x [N, D] in its first `dims` principal components, each of variance 1, rows then of length 1 (PCA whitening)."""
  x = x - x.mean(0)
  value, vector = jnp.linalg.eigh(x.T @ x / len(x))
  value, vector = value[::-1][:dims], vector[:, ::-1][:, :dims]
  return losses.unit(x @ vector / jnp.sqrt(jnp.maximum(value, 1e-5 * value[0])))

