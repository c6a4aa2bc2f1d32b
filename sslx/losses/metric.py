"""Metric learning: pairs and triplets by Euclidean distance, of vectors as they are (not normalised)."""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.batch import average, count, everywhere, index, root, times, wide


def pair(x, y, same, *, margin=1.0):
  """Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", 2006, eq. 4, the mean over pairs.

  Half the squared distance of pairs that belong together, half of max(margin - distance, 0) squared of the others.

  Args:
    x, y: [B, D].
    same: [B], whether row i of x and of y belong together.
    margin: the distance past which others are left alone.
  """
  chex.assert_rank([x, y, same], [2, 2, 1])
  chex.assert_equal_shape([x, y])
  chex.assert_equal_shape_prefix([x, same], 1)
  square = jnp.sum((wide(x) - wide(y)) ** 2, -1)                                        # [B]
  return jnp.mean(jnp.where(jnp.asarray(same, bool), square, jnp.maximum(margin - root(square), 0) ** 2) / 2)


def triplet(anchor, positive, negative, *, margin=1.0):
  """Schroff et al., "FaceNet", 2015, with distances that are not squared: mean of max(|a - p| - |a - n| + margin, 0).

  Args:
    anchor, positive, negative: [B, D].
    margin: by which the negative is to be further away than the positive.
  """
  chex.assert_rank([anchor, positive, negative], 2)
  chex.assert_equal_shape([anchor, positive, negative])
  return jnp.mean(jnp.maximum(distance(anchor, positive) - distance(anchor, negative) + margin, 0))


def triplet_hard(z, labels, *, margin=1.0, axis_name=None):
  """Batch hard (Hermans et al., "In Defense of the Triplet Loss ...", 2017, eq. 5), the mean over anchors.

  Each row is an anchor, with the furthest row of its label and the nearest of another. Rows that lack one are left out.

  Args:
    z: [N, D].
    labels: [N], whole numbers.
    margin: as triplet's.
    axis_name: mapped axis that the batch is spread over.
  """
  z, every, positive, negative = candidates("triplet_hard", z, labels, axis_name)
  square = jax.lax.stop_gradient(squares(z, every))                                     # [n, N], to choose by
  furthest = every[jnp.argmax(jnp.where(positive, square, -jnp.inf), 1)]
  nearest = every[jnp.argmin(jnp.where(negative, square, jnp.inf), 1)]
  hinge = jnp.maximum(distance(z, furthest) - distance(z, nearest) + margin, 0)
  return chosen(hinge, positive.any(1) & negative.any(1), axis_name)


def triplet_semihard(z, labels, *, margin=1.0, axis_name=None):
  """Semi-hard mining (Schroff et al., "FaceNet", 2015, sec. 3.2), the mean over all pairs of an anchor and a positive.

  The negative is the nearest that is further away than the positive; where there is none, the furthest of all. Anchors
  without a negative are left out. Arguments as triplet_hard's.
  """
  z, every, positive, negative = candidates("triplet_semihard", z, labels, axis_name)
  d = root(squares(z, every))                                                           # [n, N]
  rising = jnp.sort(jnp.where(negative, d, jnp.inf), 1)
  place = jax.vmap(lambda row, values: jnp.searchsorted(row, values, side="right"))(rising, d)
  last = jnp.maximum(negative.sum(1, keepdims=True) - 1, 0)
  hinge = jnp.maximum(d - jnp.take_along_axis(rising, jnp.minimum(place, last), 1) + margin, 0)
  return chosen(hinge, positive & negative.any(1, keepdims=True), axis_name)


def candidates(name, z, labels, axis_name):
  """(own rows [n, D], all rows [N, D], which of them are positives, which negatives, both [n, N])."""
  chex.assert_rank([z, labels], [2, 1])
  chex.assert_equal_shape_prefix([z, labels], 1)
  if count(z, axis_name) < 3:
    raise ValueError(f"{name} needs at least three examples: an anchor, a positive and a negative")
  z, labels = wide(z), jnp.asarray(labels)
  same = labels[:, None] == everywhere(labels, axis_name)
  every = everywhere(z, axis_name)
  return z, every, same & (index(z, axis_name)[:, None] != jnp.arange(len(every))), ~same


def squares(x, y):
  """Squared distances of the rows of x [n, D] and y [N, D]: [n, N]."""
  middle = jax.lax.stop_gradient(y.mean(0))                                             # near 0, less is rounded
  x, y = x - middle, y - middle
  return jnp.maximum(jnp.sum(x**2, -1)[:, None] + jnp.sum(y**2, -1) - 2 * times(x, y.T), 0)


def distance(x, y):
  """|x - y| of each row, with gradient 0 where it is 0."""
  return root(jnp.sum((wide(x) - wide(y)) ** 2, -1))


def chosen(x, which, axis_name):
  """The mean of x over the entries of the global batch that `which` marks; 0 where it marks none."""
  total, share = (average(v.reshape(len(v), -1).mean(1), axis_name)
                  for v in (jnp.where(which, x, 0), which.astype(x.dtype)))
  return total / jnp.where(share > 0, share, 1)
