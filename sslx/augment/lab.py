"""CIE Lab of sRGB, white D65. Images are floats [..., H, W, 3] in [0, 1]; L is in 0 to 100, a and b about +-110."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np

XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                [0.0193339, 0.1191920, 0.9503041]])
TO = XYZ / XYZ.sum(1, keepdims=True)                                 # linear RGB -> XYZ as shares of white
FROM = np.linalg.inv(TO)
EDGE = 6 / 29
BESIDE = {(40, 90), (100, -90), (100, -10), (100, 0)}                # in Zhang et al.'s list, though by no rule


def _mixed(image, matrix):
  return sum(image[..., c:c + 1] * matrix[:, c].astype(image.dtype) for c in range(3))


def rgb_to_lab(image):
  """sRGB -> Lab; NumPy arrays give NumPy arrays."""
  xp = np if isinstance(image, np.ndarray) else jnp
  linear = xp.where(image <= 0.04045, image / 12.92, ((xp.maximum(image, 0.04045) + 0.055) / 1.055) ** 2.4)
  xyz = _mixed(linear, TO)
  f = xp.where(xyz > EDGE**3, xp.cbrt(xp.maximum(xyz, EDGE**3)), xyz / (3 * EDGE**2) + 4 / 29)
  x, y, z = f[..., 0], f[..., 1], f[..., 2]
  return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(image):
  """Lab -> sRGB; what sRGB does not hold is clipped to [0, 1]."""
  y = (image[..., 0] + 16) / 116
  f = jnp.stack([y + image[..., 1] / 500, y, y - image[..., 2] / 200], -1)
  linear = jnp.clip(_mixed(jnp.where(f > EDGE, f**3, 3 * EDGE**2 * (f - 4 / 29)), FROM), 0, 1)
  return jnp.where(linear <= 0.0031308, 12.92 * linear, 1.055 * jnp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


@functools.cache
def bins(step=10, levels=256):
  """The colours (a, b) [Q, 2] of a grid that are a corner of a cell with colours of sRGB in it.

  Found on the faces of the cube of `levels`^3 colours, where a and b are largest. At a step of 10 these are 309 of the
  313 of Zhang et al. (2016); their other four are added.
  """
  line, cells = np.linspace(0, 1, levels), set()
  plane = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
  for channel, value in itertools.product(range(3), (0.0, 1.0)):
    rgb = np.insert(plane, channel, value, axis=-1)
    ab = rgb_to_lab(rgb)[..., 1:]
    cells |= set(map(tuple, np.unique(np.floor(ab.reshape(-1, 2) / step).astype(int), axis=0)))
  corners = {(a + i, b + j) for a, b in cells for i in (0, 1) for j in (0, 1)}
  if step == 10:
    corners |= {(a // 10, b // 10) for a, b in BESIDE}
  return step * np.array(sorted(corners), np.float32)
