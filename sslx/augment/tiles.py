"""Tiles of images, for puzzles. Images are floats [..., H, W, C] in [0, 1], tiles [..., T, h, w, C]."""

import jax
import jax.numpy as jnp

from sslx.augment.crop import pad_and_crop, resize
from sslx.augment.exact import rounded, total


def cut(image, top, left, side, *, size=0):
  """The squares of `side` pixels at top, left [..., T], whole pixels, resized to `size` pixels, 0 for their own."""
  tile = pad_and_crop(image[..., None, :, :, :], top, left, padding=0, size=(side, side))
  return resize(tile, (size, size)) if size and size != side else tile


def standardize(tile, *, std=0.2):
  """Each channel of each tile at mean 0.5 and deviation `std`, clipped to [0, 1]; a flat one at 0.5."""
  flat = tile.reshape(*tile.shape[:-3], -1, tile.shape[-1])
  n = flat.shape[-2]
  mean = lambda x: total(x, -2) * (1 / n)
  away = flat - rounded(mean(flat))
  size = jnp.sqrt(mean(rounded(away * away)))
  return jnp.clip(0.5 + rounded(away * (std / jnp.maximum(size, 1e-3))), 0, 1).reshape(tile.shape)


def drop_colors(key, tile, *, noise=0.01):
  """One random channel of each tile kept, the others at its mean with a little noise (Doersch et al., 2015).

  noise: its deviation, as a share of the kept channel's. Tiles that are not RGB are left as they are.
  """
  if tile.shape[-1] != 3:
    return tile
  key_kept, key_noise = jax.random.split(key)
  kept = jax.random.randint(key_kept, tile.shape[:-3], 0, 3)[..., None, None, None] == jnp.arange(3)
  one = jnp.sum(jnp.where(kept, tile, 0), -1)                                           # [..., T, h, w]
  flat = one.reshape(*one.shape[:-2], -1)
  mean = lambda x: rounded(total(x, -1) * (1 / flat.shape[-1]))
  middle = mean(flat)
  away = flat - middle
  std = jnp.sqrt(mean(rounded(away * away)))
  drawn = jax.random.normal(key_noise, tile.shape, tile.dtype)
  wide = lambda x: x[..., None, None]
  return jnp.where(kept, tile, jnp.clip(wide(middle) + rounded(wide(rounded(noise * std)) * drawn), 0, 1))


def mosaic(tile):
  """Nine tiles [..., 9, h, w, C] in three rows: [..., 3 h, 3 w, C]."""
  *batch, _, h, w, C = tile.shape
  rows = tile.reshape(*batch, 3, 3, h, w, C)
  return jnp.moveaxis(rows, -4, -3).reshape(*batch, 3 * h, 3 * w, C)
