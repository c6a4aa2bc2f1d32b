"""Tone: maps of single values and of histograms. Images are floats [..., H, W, C] in [0, 1]; any number of channels."""

import jax
import jax.numpy as jnp

from sslx.augment.color import sometimes, wide


def invert(image):
  """1 - image."""
  return 1 - image


def solarize(image, threshold):
  """Inverts the values at or above `threshold`, a scalar or one an image: 0 inverts all, above 1 none."""
  return jnp.where(image >= wide(threshold, image), 1 - image, image)


def posterize(image, bits):
  """The lower end of each of 2^bits equal steps of [0, 1], as torchvision does it to floats; bits 0 to 8 an image."""
  levels = wide(jnp.round(jnp.exp2(jnp.asarray(bits, float))), image)
  return jnp.clip(jnp.floor(image * levels), 0, levels - 1) / levels


def autocontrast(image):
  """Stretches each channel to [0, 1]; a flat channel stays as it is."""
  low, high = (f(image, (-3, -2), keepdims=True) for f in (jnp.min, jnp.max))
  flat = low == high
  return (image - jnp.where(flat, 0, low)) / jnp.where(flat, 1, high - low)


def equalize(image):
  """Maps each channel so that its histogram of 256 bins becomes nearly flat, with the integer arithmetic of PIL.

  Row by row, a value's bin is a pair of one-hot digits to base 16: counting and looking up are matrix products, no
  gather or scatter, some 512 multiply-adds a value. That is dear beside other tones, about as a 41-tap blur.
  """
  pixels = image.shape[-3] * image.shape[-2]
  rows = jnp.moveaxis(jnp.floor(image.astype(float) * 255.999).astype(jnp.int32), -3, 0)          # [H, ..., W, C]
  digits = lambda row: (jax.nn.one_hot(row // 16, 16, dtype=float), jax.nn.one_hot(row % 16, 16, dtype=float))
  product = lambda spec, *x: jnp.einsum(spec, *x, precision=jax.lax.Precision.HIGHEST)
  count = lambda row: product("...ph,...pl->...hl", *digits(jnp.moveaxis(row, -1, -2)))           # [..., C, 16, 16]
  square = jax.lax.scan(lambda total, row: (total + count(row), None), count(rows[0]), rows[1:])[0]
  counts = square.reshape(*square.shape[:-2], 256).astype(jnp.int32)
  below = jnp.cumsum(counts, -1) - counts
  last = jnp.sum(jnp.where(below + counts == pixels, counts, 0), -1, keepdims=True)     # of the highest bin in use
  step = (pixels - last) // 255
  table = jnp.clip((below + step // 2) // jnp.maximum(step, 1), 0, 255)
  table = jnp.where(step > 0, table, jnp.arange(256)).astype(float).reshape(square.shape)

  def look_up(row):
    high, low = digits(jnp.moveaxis(row, -1, -2))                                       # [..., C, W, 16]
    return jnp.moveaxis(jnp.sum(product("...ph,...hl->...pl", high, table) * low, -1), -1, -2)
  return (jnp.moveaxis(jax.lax.map(look_up, rows), 0, -3) / 255).astype(image.dtype)


def random_invert(key, image, *, p=0.5):
  """invert with probability p for each image."""
  return sometimes(key, p, invert(image), image)


def random_solarize(key, image, *, threshold=0.5, p=0.5):
  """solarize with probability p for each image."""
  return sometimes(key, p, solarize(image, threshold), image)


def random_posterize(key, image, *, bits=4, p=0.5):
  """posterize with probability p for each image."""
  return sometimes(key, p, posterize(image, bits), image)


def random_autocontrast(key, image, *, p=0.5):
  """autocontrast with probability p for each image."""
  return sometimes(key, p, autocontrast(image), image)


def random_equalize(key, image, *, p=0.5):
  """equalize with probability p for each image."""
  return sometimes(key, p, equalize(image), image)
