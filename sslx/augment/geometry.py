"""Geometry. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp

from sslx.augment.color import sometimes, wide
from sslx.augment.exact import rounded, uniform


def flip_left_right(image):
  """The mirror image."""
  return image[..., :, ::-1, :]


def random_flip_left_right(key, image, *, p=0.5):
  """flip_left_right with probability p for each image."""
  return sometimes(key, p, flip_left_right(image), image)


def flip_up_down(image):
  """The image upside down, mirrored."""
  return image[..., ::-1, :, :]


def random_flip_up_down(key, image, *, p=0.5):
  """flip_up_down with probability p for each image."""
  return sometimes(key, p, flip_up_down(image), image)


def rot90(image, k):
  """Turns by k quarters, counter-clockwise: an integer, or for square images also one an image."""
  if isinstance(k, int):
    return jnp.rot90(image, k, (-3, -2))
  if image.shape[-3] != image.shape[-2]:
    raise ValueError(f"images of {image.shape[-3:-1]} are not square, so all are turned by one k, a Python integer")
  k = wide(jnp.asarray(k) % 4, image)
  return jnp.select([k == i for i in range(1, 4)], [jnp.rot90(image, i, (-3, -2)) for i in range(1, 4)], image)


def random_rot90(key, image):
  """rot90 by 0, 1, 2 or 3 quarters, each as likely; images must be square."""
  return rot90(image, jax.random.randint(key, image.shape[:-3], 0, 4))


def sample(image, x, y):
  """The image at the places x, y [..., H, W] in pixels, (0, 0) the middle of the first: bilinear, black outside.

  It gathers: on large images other operations are cheaper.
  """
  H, W = image.shape[-3:-1]
  x, y = (jnp.clip(jnp.broadcast_to(v, image.shape[:-1]), -1, n) for v, n in ((x, W), (y, H)))
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


def affine(image, angle, translate=(0.0, 0.0), scale=1.0, shear=(0.0, 0.0)):
  """Rotates, shears, scales and moves about the centre; bilinear, black outside, as torchvision's affine.

  angle and shear = (x, y) in degrees, clockwise; translate = (right, down) in pixels; each a scalar or one an image.
  """
  H, W = image.shape[-3:-1]
  exact = jnp.promote_types(image.dtype, jnp.float32)                                   # counts pixels exactly
  amounts = (jnp.asarray(v, exact) for v in (angle, *translate, scale, *shear))
  angle, right, down, scale, sx, sy = jnp.broadcast_arrays(*amounts)
  turn, sx, sy = (jnp.deg2rad(v) for v in (angle, sx, sy))
  a, b = jnp.cos(turn - sy) / jnp.cos(sy), -jnp.cos(turn - sy) * jnp.tan(sx) / jnp.cos(sy) - jnp.sin(turn)
  c, d = jnp.sin(turn - sy) / jnp.cos(sy), -jnp.sin(turn - sy) * jnp.tan(sx) / jnp.cos(sy) + jnp.cos(turn)
  moved = rounded(b * down) - rounded(d * right), rounded(c * right) - rounded(a * down)
  inverse = jnp.stack([d, -b, moved[0], -c, a, moved[1]]).reshape(2, 3, *scale.shape) / scale
  y, x = (v.astype(exact) for v in jnp.mgrid[:H, :W])
  x, y = x - (W - 1) / 2, y - (H - 1) / 2
  grid = x, y, jnp.ones_like(x)
  xy = [sum(rounded(m[..., None, None] * v) for m, v in zip(row, grid, strict=True)) for row in inverse]
  return sample(image, xy[0] + (W - 1) / 2, xy[1] + (H - 1) / 2)


def rotate(image, angle):
  """Turns about the centre by `angle` degrees, counter-clockwise; bilinear, black outside, as torchvision's rotate."""
  return affine(image, -jnp.asarray(angle, float))


def random_rotate(key, image, *, degrees=30.0):
  """rotate by an angle uniform in +-degrees."""
  return rotate(image, uniform(key, image.shape[:-3], image.dtype, -degrees, degrees))


def random_affine(key, image, *, degrees=10.0, translate=0.1, scale=(0.9, 1.1), shear=10.0):
  """affine by amounts uniform in +-degrees, +-translate (share of the side), the range `scale` and +-shear degrees."""
  shape, keys = image.shape[:-3], jax.random.split(key, 6)
  draw = lambda k, low, high: uniform(keys[k], shape, image.dtype, low, high)
  H, W = image.shape[-3:-1]
  moved = draw(1, -translate * W, translate * W), draw(2, -translate * H, translate * H)
  sheared = draw(4, -shear, shear), draw(5, -shear, shear)
  return affine(image, draw(0, -degrees, degrees), moved, draw(3, *scale), sheared)
