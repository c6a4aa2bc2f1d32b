"""Crops and resizing as matrix products. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp


def _weights(start, length, full, size, dtype):
  """Rows [..., size, full] that resample [start, start + length) of an axis to `size` places: antialiased, bilinear.

  The triangle filter is as wide as one output place where that shrinks, never leaves the crop, and sums to one.
  """
  wide = jnp.promote_types(dtype, jnp.float32)                                          # counts pixels exactly
  start, length = (jnp.asarray(v, wide)[..., None, None] for v in (start, length))
  scale = length / size
  center = start + (jnp.arange(size, dtype=wide)[:, None] + 0.5) * scale                # [..., size, 1]
  pixel = jnp.arange(full, dtype=wide) + 0.5                                            # [full]
  inside = (pixel > start) & (pixel < start + length)
  weights = jnp.where(inside, jnp.maximum(0, 1 - jnp.abs(pixel - center) / jnp.maximum(scale, 1)), 0)
  return (weights / jnp.sum(weights, -1, keepdims=True)).astype(dtype)


def crop_resize(image, box, size):
  """Cuts `box` = (top, left, height, width) in whole pixels, scalars or one an image, and resizes it to size = (h, w).

  First the crop, then an antialiased bilinear resize, as torchvision's resized_crop; two matrix products, no gather.
  """
  top, left, height, width = box
  rows = _weights(top, height, image.shape[-3], size[0], image.dtype)                   # [..., h, H]
  cols = _weights(left, width, image.shape[-2], size[1], image.dtype)                   # [..., w, W]
  high = jax.lax.Precision.HIGHEST
  image = jnp.einsum("...hH,...HWC->...hWC", rows, image, precision=high)
  return jnp.einsum("...wW,...hWC->...hwC", cols, image, precision=high)


def resize(image, size):
  """Antialiased bilinear resize to `size` = (h, w)."""
  return crop_resize(image, (0, 0, *image.shape[-3:-1]), size)


def random_box(key, shape, full, *, scale, ratio, tries=10):
  """(top, left, height, width), each `shape`, in whole pixels of an image of `full` = (H, W), as torchvision draws it.

  Area uniform in `scale` (a share of the image), log of the ratio width / height uniform in `ratio`; the first of ten
  draws that fits is taken, else the largest centred box of an allowed ratio.
  """
  H, W = full
  keys = jax.random.split(key, 4)
  draw = lambda k, low, high, s=(*shape, tries): jax.random.uniform(k, s, float, low, high)
  area = draw(keys[0], *scale) * H * W
  aspect = jnp.exp(draw(keys[1], *(jnp.log(jnp.asarray(r, float)) for r in ratio)))
  height, width = jnp.round(jnp.sqrt(area / aspect)), jnp.round(jnp.sqrt(area * aspect))
  fits = (height > 0) & (height <= H) & (width > 0) & (width <= W)
  first = jnp.argmax(fits, -1)[..., None]
  pick = lambda v: jnp.take_along_axis(v, first, -1)[..., 0]
  whole = W / H
  fallback = (H, round(H * ratio[1])) if whole > ratio[1] else (round(W / ratio[0]), W) if whole < ratio[0] else full
  found = jnp.any(fits, -1)
  height, width = (jnp.where(found, pick(v), float(f)) for v, f in zip((height, width), fallback, strict=True))
  place = lambda k, room: jnp.floor(draw(k, 0.0, 1.0, shape) * (room + 1))
  top = jnp.where(found, place(keys[2], H - height), (H - fallback[0]) // 2)
  left = jnp.where(found, place(keys[3], W - width), (W - fallback[1]) // 2)
  return top, left, height, width


def random_resized_crop(key, image, *, size=None, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)):
  """A random box of each image resized to `size` = (h, w), by default the image's own (Szegedy et al., 2015)."""
  full = image.shape[-3:-1]
  box = random_box(key, image.shape[:-3], full, scale=scale, ratio=ratio)
  return crop_resize(image, box, size or full)
