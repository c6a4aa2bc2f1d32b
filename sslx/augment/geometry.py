"""Geometry. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp

from sslx.augment.color import rounded, sometimes


def flip_left_right(image):
  """The mirror image."""
  return image[..., :, ::-1, :]


def random_flip_left_right(key, image, *, p=0.5):
  """flip_left_right with probability p for each image."""
  return sometimes(key, p, flip_left_right(image), image)


def affine(image, angle, translate=(0.0, 0.0), scale=1.0, shear=(0.0, 0.0)):
  """Rotates, shears, scales and moves about the centre; bilinear, black outside, as torchvision's affine.

  angle and shear = (x, y) in degrees, clockwise; translate = (right, down) in pixels; each a scalar or one an image.
  It gathers: on large images other operations are cheaper.
  """
  H, W = image.shape[-3:-1]
  exact = jnp.promote_types(image.dtype, jnp.float32)                                   # counts pixels exactly
  amounts = (jnp.asarray(v, exact) for v in (angle, *translate, scale, *shear))
  angle, right, down, scale, sx, sy = jnp.broadcast_arrays(*amounts)
  turn, sx, sy = (jnp.deg2rad(v) for v in (angle, sx, sy))
  a, b = jnp.cos(turn - sy) / jnp.cos(sy), -jnp.cos(turn - sy) * jnp.tan(sx) / jnp.cos(sy) - jnp.sin(turn)
  c, d = jnp.sin(turn - sy) / jnp.cos(sy), -jnp.sin(turn - sy) * jnp.tan(sx) / jnp.cos(sy) + jnp.cos(turn)
  inverse = jnp.stack([d, -b, b * down - d * right, -c, a, c * right - a * down]).reshape(2, 3, *scale.shape) / scale
  y, x = (v.astype(exact) for v in jnp.mgrid[:H, :W])
  x, y = x - (W - 1) / 2, y - (H - 1) / 2
  grid = x, y, jnp.ones_like(x)
  xy = [sum(rounded(m[..., None, None] * v) for m, v in zip(row, grid, strict=True)) for row in inverse]
  x, y = (jnp.broadcast_to(v + (n - 1) / 2, image.shape[:-1]) for v, n in zip(xy, (W, H), strict=True))
  x0, y0 = jnp.floor(x), jnp.floor(y)
  flat, out = image.reshape(*image.shape[:-3], H * W, -1), 0
  for dy in (0, 1):
    for dx in (0, 1):
      px, py = x0 + dx, y0 + dy
      weight = (1 - jnp.abs(x - px)) * (1 - jnp.abs(y - py)) * ((px >= 0) & (px < W) & (py >= 0) & (py < H))
      at = (jnp.clip(py, 0, H - 1) * W + jnp.clip(px, 0, W - 1)).astype(jnp.int32).reshape(*image.shape[:-3], H * W, 1)
      value = jnp.take_along_axis(flat, at, -2).reshape(image.shape)
      out = out + rounded(weight[..., None].astype(image.dtype) * value)
  return out


def rotate(image, angle):
  """Turns about the centre by `angle` degrees, counter-clockwise; bilinear, black outside, as torchvision's rotate."""
  return affine(image, -jnp.asarray(angle, float))


def random_rotate(key, image, *, degrees=30.0):
  """rotate by an angle uniform in +-degrees."""
  return rotate(image, jax.random.uniform(key, image.shape[:-3], image.dtype, -degrees, degrees))


def random_affine(key, image, *, degrees=10.0, translate=0.1, scale=(0.9, 1.1), shear=10.0):
  """affine by amounts uniform in +-degrees, +-translate (share of the side), the range `scale` and +-shear degrees."""
  shape, keys = image.shape[:-3], jax.random.split(key, 6)
  draw = lambda k, low, high: jax.random.uniform(keys[k], shape, image.dtype, low, high)
  H, W = image.shape[-3:-1]
  moved = draw(1, -translate * W, translate * W), draw(2, -translate * H, translate * H)
  sheared = draw(4, -shear, shear), draw(5, -shear, shear)
  return affine(image, draw(0, -degrees, degrees), moved, draw(3, *scale), sheared)
