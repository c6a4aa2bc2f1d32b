"""Rectangles of whole pixels: (top, left, height, width), scalars or one an image."""

import math

import jax
import jax.numpy as jnp

from sslx.augment.exact import exp, uniform


def inside(box, full):
  """Which pixels of an image of full = (H, W) lie in the box: booleans [..., H, W]."""
  top, left, height, width = (jnp.asarray(v)[..., None] for v in box)
  cover = lambda start, length, n: (jnp.arange(n) >= start) & (jnp.arange(n) < start + length)
  return cover(top, height, full[0])[..., :, None] & cover(left, width, full[1])[..., None, :]


def first_fit(key, shape, full, *, scale, ratio, tries=10):
  """(found, (top, left, height, width)), each `shape`: the first of some random boxes that fits in full = (H, W).

  Area uniform in `scale` (a share of the image), log of the ratio width / height uniform in `ratio`, whole pixels.
  """
  H, W = full
  keys = jax.random.split(key, 4)
  draw = lambda k, low, high, s=(*shape, tries): uniform(k, s, float, low, high)
  area = draw(keys[0], *scale) * H * W
  aspect = exp(draw(keys[1], *(math.log(r) for r in ratio)))
  height, width = jnp.round(jnp.sqrt(area / aspect)), jnp.round(jnp.sqrt(area * aspect))
  fits = (height > 0) & (height <= H) & (width > 0) & (width <= W)
  first = jnp.argmax(fits, -1, keepdims=True)
  height, width = (jnp.sum(jnp.where(jnp.arange(tries) == first, v, 0), -1) for v in (height, width))
  place = lambda k, room: jnp.floor(draw(k, 0.0, 1.0, shape) * (room + 1))
  return jnp.any(fits, -1), (place(keys[2], H - height), place(keys[3], W - width), height, width)


def random_box(key, shape, full, *, scale, ratio, tries=10):
  """(top, left, height, width), each `shape`, in whole pixels of an image of `full` = (H, W), as torchvision draws it.

  first_fit of ten draws, else the largest centred box of an allowed ratio.
  """
  H, W = full
  found, box = first_fit(key, shape, full, scale=scale, ratio=ratio, tries=tries)
  whole = W / H
  h, w = (H, round(H * ratio[1])) if whole > ratio[1] else (round(W / ratio[0]), W) if whole < ratio[0] else full
  fallback = (H - h) // 2, (W - w) // 2, h, w
  return tuple(jnp.where(found, v, float(f)) for v, f in zip(box, fallback, strict=True))
