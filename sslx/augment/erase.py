"""Erasing rectangles. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp

from sslx.augment import boxes


def erase(image, box, *, value=0.0):
  """Fills `box` = (top, left, height, width) in pixels, scalars or one an image, with what broadcasts to the image.

  A box may reach over the border or be empty.
  """
  return jnp.where(boxes.inside(box, image.shape[-3:-1])[..., None], jnp.asarray(value, image.dtype), image)


def random_erase(key, image, *, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0.0, p=0.5):
  """Erases a random box of each image with probability p (Zhong et al., 2017).

  Its share of the image is uniform in `scale`, the log of width / height in `ratio`; where none of ten draws fits,
  nothing is erased. `value` is a number, a colour, or None for uniform noise.
  """
  key_p, key_box, key_value = jax.random.split(key, 3)
  found, (top, left, height, width) = boxes.first_fit(key_box, image.shape[:-3], image.shape[-3:-1], scale=scale,
                                                      ratio=ratio)
  height = jnp.where(found & jax.random.bernoulli(key_p, p, found.shape), height, 0)
  value = jax.random.uniform(key_value, image.shape, image.dtype) if value is None else value
  return erase(image, (top, left, height, width), value=value)


def random_cutout(key, image, *, side=0.5, value=0.0):
  """Erases a square about a random pixel, `side` of the short side long, cut off at the border (DeVries, 2017)."""
  full = image.shape[-3:-1]
  length = max(1, round(side * min(full)))
  top, left = (jax.random.randint(k, image.shape[:-3], 0, n) - length // 2
               for k, n in zip(jax.random.split(key), full, strict=True))
  return erase(image, (top, left, length, length), value=value)
