"""Warps that bend or tilt. Images are floats [..., H, W, C] in [0, 1]; what they read outside the image is black."""

import jax
import jax.numpy as jnp

from sslx.augment.blur import gaussian_blur
from sslx.augment.color import sometimes
from sslx.augment.exact import rounded, uniform
from sslx.augment.geometry import sample


def _cross(u, v):
  """The cross product of vectors [..., 3]."""
  roll = lambda x, n: jnp.roll(x, -n, -1)
  return rounded(roll(u, 1) * roll(v, 2)) - rounded(roll(u, 2) * roll(v, 1))


def _from_square(corners):
  """The projective map [..., 3, 3] of the unit square, corners clockwise from (0, 0), to corners [..., 4, 2]."""
  p0, p1, p2, p3 = jnp.moveaxis(corners, -2, 0)
  area = lambda u, v: (rounded(u[..., 0] * v[..., 1]) - rounded(u[..., 1] * v[..., 0]))[..., None]
  a, b, bend = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
  g, h = area(bend, b) / area(a, b), area(a, bend) / area(a, b)                         # [..., 1]
  top = jnp.stack([p1 - p0 + rounded(g * p1), p3 - p0 + rounded(h * p3), p0], -1)       # [..., 2, 3]
  return jnp.concatenate([top, jnp.stack([g, h, jnp.ones_like(g)], -1)], -2)


def perspective(image, start, end):
  """Moves the points `start` to `end`, as seen from a tilted camera; bilinear, black outside, as torchvision's.

  Four corners (x, y) [..., 4, 2] each, clockwise from the top left, in pixels, the first of which covers [0, 1] x
  [0, 1]; one set for all or one an image. Solved in closed form (Heckbert, 1989).
  """
  H, W = image.shape[-3:-1]
  exact = jnp.promote_types(image.dtype, jnp.float32)                                   # counts pixels exactly
  half = jnp.asarray((W / 2, H / 2), exact)
  start, end = (_from_square(rounded(jnp.asarray(v, exact) / half) - 1) for v in (start, end))   # of [-1, 1] x [-1, 1]
  e0, e1, e2 = jnp.moveaxis(end, -1, 0)
  inverse = jnp.stack([_cross(e1, e2), _cross(e2, e0), _cross(e0, e1)], -2)             # of end, but for a factor
  inverse = sum(rounded(start[..., :, k, None] * inverse[..., k, None, :]) for k in range(3))
  x, y = ((2 * jnp.arange(n, dtype=exact) + 1) / n - 1 for n in (W, H))
  row = lambda i: (rounded(inverse[..., i, 0, None, None] * x) + rounded(inverse[..., i, 1, None, None] * y[:, None])
                   + inverse[..., i, 2, None, None])                                    # [..., H, W]
  depth = row(2)
  return sample(image, *(rounded((row(i) / depth + 1) * n / 2) - 0.5 for i, n in ((0, W), (1, H))))


def random_perspective(key, image, *, distortion=0.5, p=0.5):
  """perspective with probability p: every corner moves inwards, each way by up to `distortion` / 2 of the side."""
  key_p, key_corners = jax.random.split(key)
  H, W = image.shape[-3:-1]
  whole = jnp.asarray([(0, 0), (W, 0), (W, H), (0, H)], jnp.float32)
  inwards = uniform(key_corners, (*image.shape[:-3], 4, 2), jnp.float32, 0, distortion / 2)
  end = whole + rounded(inwards * (jnp.asarray((W, H), jnp.float32) - 2 * whole))
  return sometimes(key_p, p, perspective(image, whole, end), image)


def elastic(image, displacement):
  """Reads each pixel `displacement` [..., H, W, 2] = (right, down) pixels further on; bilinear, black outside."""
  displacement = jnp.asarray(displacement, jnp.promote_types(image.dtype, jnp.float32))
  H, W = image.shape[-3:-1]
  return sample(image, jnp.arange(W) + displacement[..., 0], jnp.arange(H)[:, None] + displacement[..., 1])


def random_elastic(key, image, *, alpha=25.0, sigma=5.0, p=0.5):
  """elastic with probability p, by uniform noise of +-alpha pixels smoothed by sigma pixels (Simard et al., 2003).

  On square images torchvision's ElasticTransform(2 * alpha, sigma), border of the noise mirrored.
  """
  key_p, key_noise = jax.random.split(key)
  H, W = image.shape[-3:-1]
  noise = uniform(key_noise, (*image.shape[:-1], 2), jnp.float32, -1, 1)
  kernel_size = min(2 * round(4 * sigma) + 1, 2 * min(H, W) - 1)
  return sometimes(key_p, p, elastic(image, alpha * gaussian_blur(noise, sigma, kernel_size=kernel_size)), image)
