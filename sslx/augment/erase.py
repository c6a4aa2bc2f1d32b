"""Erasing rectangles. Images are floats [..., H, W, C] in [0, 1]."""

import jax.numpy as jnp


def inside(box, full, dtype=bool):
  """The pixels of `box` = (top, left, height, width), scalars or one an image, among full = (H, W): [..., H, W]."""
  top, left, height, width = (jnp.asarray(v)[..., None] for v in box)
  cover = lambda start, length, n: (jnp.arange(n) >= start) & (jnp.arange(n) < start + length)
  rows, cols = cover(top, height, full[0]), cover(left, width, full[1])
  return (rows[..., :, None] & cols[..., None, :]).astype(dtype)


def erase(image, box, *, value=0.0):
  """Fills `box` = (top, left, height, width) in pixels, scalars or one an image, with what broadcasts to the image.

  A box may reach over the border or be empty.
  """
  return jnp.where(inside(box, image.shape[-3:-1])[..., None], jnp.asarray(value, image.dtype), image)
