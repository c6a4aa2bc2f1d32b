"""Mixing images in pairs. Images are floats [..., H, W, C] in [0, 1].

The random ones couple the images of a batch [B, H, W, C], each with the one before it, so a view depends on its
neighbour too; under shard_map or pmap on the neighbour on the same device. They return (image, partner [B], weight
[B]): labels mix as weight * y + (1 - weight) * y[partner].
"""

import jax
import jax.numpy as jnp
import numpy as np

from sslx.augment import boxes
from sslx.augment.color import blend


def mixup(image, other, weight):
  """weight * image + (1 - weight) * other, the weight a scalar or one an image."""
  return blend(image, jnp.asarray(other, image.dtype), weight)


def cutmix(image, other, box):
  """The image with `box` = (top, left, height, width), scalars or one an image, cut from the other."""
  return jnp.where(boxes.inside(box, image.shape[-3:-1])[..., None], jnp.asarray(other, image.dtype), image)


def _partners(image):
  """(every image's partner, its place): the image before it, the last before the first; a roll needs no gather."""
  if image.ndim != 4:
    raise ValueError(f"mixing takes a batch of images [B, H, W, C], not {image.shape}")
  return jnp.roll(image, 1, 0), jnp.roll(jnp.arange(len(image)), 1)


def _beta(key, alpha, shape, dtype):
  """One of 4096 quantiles of Beta(alpha, alpha), each as likely: no rejection, and the same bits everywhere."""
  from scipy import special
  quantiles = special.betaincinv(alpha, alpha, (np.arange(4096) + 0.5) / 4096)
  return jnp.asarray(quantiles, dtype)[jax.random.randint(key, shape, 0, 4096)]


def random_mixup(key, image, *, alpha=1.0):
  """mixup of each image with the one before it, by a weight of Beta(alpha, alpha) (Zhang et al., 2018)."""
  other, partner = _partners(image)
  weight = _beta(key, alpha, (len(image),), image.dtype)
  return mixup(image, other, weight), partner, weight


def random_cutmix(key, image, *, alpha=1.0):
  """cutmix of each image with the one before it (Yun et al., 2019): (image, partner, weight).

  The box covers 1 - Beta(alpha, alpha) of the area about a uniform centre, cut off at the border; `weight` is the share
  of the image that stays.
  """
  other, partner = _partners(image)
  full, (key_share, *keys) = image.shape[1:3], jax.random.split(key, 3)
  half = jnp.sqrt(1 - _beta(key_share, alpha, (len(image),), float)) / 2
  middles = [jax.random.randint(k, (len(image),), 0, n) for k, n in zip(keys, full, strict=True)]
  lows = [jnp.maximum(m - jnp.floor(half * n), 0) for m, n in zip(middles, full, strict=True)]
  highs = [jnp.minimum(m + jnp.floor(half * n), n) for m, n in zip(middles, full, strict=True)]
  sides = [high - low for high, low in zip(highs, lows, strict=True)]
  weight = 1 - sides[0] * sides[1] / (full[0] * full[1])
  return cutmix(image, other, (*lows, *sides)), partner, weight.astype(image.dtype)
