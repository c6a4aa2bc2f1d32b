"""Point sets [..., M, 3], floats in the unit sphere; amounts are scalars or one a set ([...]).

As with images, random functions take `key` first and the points next, options keyword-only, and each draw depends on
the key and the position in the batch alone. M stays: points that are dropped give their places to copies of others.
"""

import jax
import jax.numpy as jnp

from sslx.augment import space
from sslx.augment.exact import rounded, uniform


def rotate(points, rotation):
  """The points under the matrices [..., 3, 3] of space.rotation."""
  return space.applied(rotation, points)


def scale(points, factor):
  """The points times a factor [...], or one an axis [..., 3]."""
  factor = jnp.asarray(factor, points.dtype)
  factor = factor[..., None, :] if factor.ndim and factor.shape[-1:] == (3,) else factor[..., None, None]
  return rounded(points * factor)


def translate(points, offset):
  """The points moved by [..., 3]."""
  return points + jnp.asarray(offset, points.dtype)[..., None, :]


def keep(points, kept):
  """Only the points that are kept, booleans [..., M], in their order, over and over; all where none is."""
  kept = kept | ~jnp.any(kept, -1, keepdims=True)
  order = jnp.argsort(~kept, axis=-1, stable=True)
  place = jnp.arange(points.shape[-2]) % jnp.sum(kept, -1, keepdims=True)
  return jnp.take_along_axis(points, jnp.take_along_axis(order, place, -1)[..., None], -2)


def crop(points, direction, share):
  """The share of the points that lies farthest in a direction [..., 3]: a cut by a plane."""
  along = sum(rounded(points[..., i] * jnp.asarray(direction, points.dtype)[..., i, None]) for i in range(3))
  rank = jnp.argsort(jnp.argsort(-along, axis=-1, stable=True), axis=-1)
  return keep(points, rank < jnp.round(jnp.asarray(share, points.dtype)[..., None] * points.shape[-2]))


def erase(points, centre, side):
  """Without the points in a cuboid of sides [...], or [..., 3] one an axis, about centre [..., 3]."""
  half = jnp.asarray(side, points.dtype) / 2
  half = half[..., None, :] if half.ndim and half.shape[-1:] == (3,) else half[..., None, None]
  away = jnp.abs(points - jnp.asarray(centre, points.dtype)[..., None, :])
  return keep(points, jnp.any(away > half, -1))


def random_rotate(key, points, *, degrees=180.0, tilt=15.0, axis=2):
  """rotate by space.random_rotation."""
  return rotate(points, space.random_rotation(key, points.shape[:-2], degrees=degrees, tilt=tilt, axis=axis))


def random_scale(key, points, *, factor=(0.67, 1.5)):
  """scale by factors uniform in the range, one an axis."""
  return scale(points, uniform(key, (*points.shape[:-2], 3), points.dtype, *factor))


def random_translate(key, points, *, distance=0.2):
  """translate by up to +-distance along each axis."""
  return translate(points, uniform(key, (*points.shape[:-2], 3), points.dtype, -distance, distance))


def random_jitter(key, points, *, std=0.01, most=0.05):
  """Adds to every coordinate normal noise, clipped to +-most."""
  return points + jnp.clip(rounded(std * jax.random.normal(key, points.shape, points.dtype)), -most, most)


def random_drop(key, points, *, share=(0.0, 0.75)):
  """Drops each point with a probability that is uniform in the range (Qi et al., 2017, PointNet++)."""
  r_share, r_point = jax.random.split(key)
  dropped = uniform(r_share, points.shape[:-2], points.dtype, *share)
  return keep(points, jax.random.uniform(r_point, points.shape[:-1], points.dtype) >= dropped[..., None])


def random_crop(key, points, *, share=(0.5, 1.0)):
  """crop of a share uniform in the range, in any direction."""
  r_share, r_direction = jax.random.split(key)
  direction = jax.random.normal(r_direction, (*points.shape[:-2], 3), points.dtype)
  return crop(points, direction, uniform(r_share, points.shape[:-2], points.dtype, *share))


def random_erase(key, points, *, side=(0.2, 0.6)):
  """erase of a cuboid about one of the points, with sides uniform in the range."""
  r_side, r_point = jax.random.split(key)
  at = jax.random.randint(r_point, (*points.shape[:-2], 1, 1), 0, points.shape[-2])
  centre = jnp.take_along_axis(points, at, -2)[..., 0, :]
  return erase(points, centre, uniform(r_side, (*points.shape[:-2], 3), points.dtype, *side))


def stack(*, degrees, tilt, factor, distance, jitter, crop, erase, drop, axis):
  """aug(key, points): crop, erase, drop, rotate, scale, translate, jitter, in that order; see the functions.

  A range () or a number 0 leaves an operation out.
  """
  steps = [(random_crop, {"share": crop}, len(crop)), (random_erase, {"side": erase}, len(erase)),
           (random_drop, {"share": drop}, len(drop)),
           (random_rotate, {"degrees": degrees, "tilt": tilt, "axis": axis}, degrees or tilt),
           (random_scale, {"factor": factor}, len(factor)), (random_translate, {"distance": distance}, distance),
           (random_jitter, {"std": jitter, "most": 5 * jitter}, jitter)]

  def aug(key, points):
    points = jnp.asarray(points, float)
    for k, (step, options, wanted) in zip(jax.random.split(key, len(steps)), steps, strict=True):
      points = step(k, points, **options) if wanted else points
    return points
  return aug
