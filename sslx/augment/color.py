"""Colour. Images are floats [..., H, W, C] in [0, 1]; amounts are scalars or one an image ([...])."""

import jax
import jax.numpy as jnp

from sslx import errors
from sslx.augment.exact import rounded, total, uniform

LUMA = (0.2989, 0.587, 0.114)      # ITU-R BT.601 as torchvision rounds it


def to_float(image):
  """Integers of any width scaled by their largest value to floats in [0, 1]; floats as they are."""
  image = jnp.asarray(image)
  if jnp.issubdtype(image.dtype, jnp.integer):
    return image.astype(float) / jnp.iinfo(image.dtype).max
  return image


def normalize(image, mean, std):
  """(image - mean) / std, a channel each; where the channel counts differ, the mean of the given values serves all."""
  image = jnp.asarray(image)
  if not jnp.issubdtype(image.dtype, jnp.floating):
    raise errors.UsageError(f"an image of {image.dtype} where floats in [0, 1] are needed: bring it there by to_float")
  fit = lambda v: jnp.asarray(v if len(v) in (1, image.shape[-1]) else [sum(v) / len(v)], image.dtype)
  mean, std = fit(mean), fit(std)
  return (image - mean) / std


def wide(amount, image):
  """An amount per image [...] made to broadcast against [..., H, W, C]."""
  amount = jnp.asarray(amount, image.dtype)
  return amount.reshape(amount.shape + (1, 1, 1)) if amount.ndim else amount


def sometimes(key, p, changed, image):
  """`changed` with probability p for each image, else the image."""
  return jnp.where(jax.random.bernoulli(key, p, image.shape[:-3])[..., None, None, None], changed, image)


def _grey(image):
  """Luma [..., H, W, 1] of RGB; of other images the mean of the channels."""
  if image.shape[-1] != 3:
    return total(image, -1) / image.shape[-1]
  return total(image * jnp.asarray(LUMA, image.dtype), -1)


def _mean(grey):
  """The mean of each image [..., H, W, 1] as [..., 1, 1, 1]."""
  return total(total(grey, -2) / grey.shape[-2], -3) / grey.shape[-3]


def blend(image, other, factor):
  """factor * image + (1 - factor) * other, clipped to [0, 1]: brightness, contrast and saturation are such blends."""
  factor = wide(factor, image)
  return jnp.clip(rounded(factor * image) + rounded((1 - factor) * other), 0, 1)


def adjust_brightness(image, factor):
  """Blends with black: 0 is black, 1 the image, 2 twice as bright."""
  return blend(image, 0.0, factor)


def adjust_contrast(image, factor):
  """Blends with the mean grey of the image: 0 is flat, 1 the image."""
  return blend(image, _mean(_grey(image)), factor)


def adjust_saturation(image, factor):
  """Blends with the grey image: 0 is grey, 1 the image; images that are not RGB are left as they are."""
  return blend(image, _grey(image), factor) if image.shape[-1] == 3 else image


def adjust_hue(image, delta):
  """Turns the hue of RGB by `delta` in turns (-0.5 to 0.5), value and saturation kept; HSV as in torchvision.

  Images that are not RGB are left as they are.
  """
  if image.shape[-1] != 3:
    return image
  r, g, b = image[..., 0], image[..., 1], image[..., 2]
  value, low = jnp.maximum(jnp.maximum(r, g), b), jnp.minimum(jnp.minimum(r, g), b)
  chroma = value - low
  safe = jnp.where(chroma > 0, chroma, 1)
  sector = jnp.where(value == r, (g - b) / safe, jnp.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
  delta = jnp.asarray(delta, image.dtype)
  sector = sector + rounded(6 * delta.reshape(delta.shape + (1, 1) if delta.ndim else ()))   # hue in sixths of a turn
  offset = jnp.asarray((5, 3, 1), image.dtype)                                          # of red, green, blue
  k = jnp.mod(offset + sector[..., None], 6)
  return value[..., None] - rounded(chroma[..., None] * jnp.clip(jnp.minimum(k, 4 - k), 0, 1))


def to_grayscale(image):
  """Luma in every channel; images that are not RGB are left as they are."""
  return jnp.broadcast_to(_grey(image), image.shape) if image.shape[-1] == 3 else image


def _factors(key, image, strength):
  """A factor an image, uniform in [max(0, 1 - strength), 1 + strength]."""
  return uniform(key, image.shape[:-3], image.dtype, max(0.0, 1.0 - strength), 1.0 + strength)


def random_brightness(key, image, *, strength=0.4):
  """adjust_brightness by a factor uniform in [max(0, 1 - strength), 1 + strength]."""
  return adjust_brightness(image, _factors(key, image, strength))


def random_contrast(key, image, *, strength=0.4):
  """adjust_contrast by a factor uniform in [max(0, 1 - strength), 1 + strength]."""
  return adjust_contrast(image, _factors(key, image, strength))


def random_saturation(key, image, *, strength=0.4):
  """adjust_saturation by a factor uniform in [max(0, 1 - strength), 1 + strength]."""
  return adjust_saturation(image, _factors(key, image, strength))


def random_hue(key, image, *, max_delta=0.1):
  """adjust_hue by an amount uniform in +-max_delta turns."""
  return adjust_hue(image, uniform(key, image.shape[:-3], image.dtype, -max_delta, max_delta))


def random_grayscale(key, image, *, p=0.2):
  """to_grayscale with probability p for each image."""
  return sometimes(key, p, to_grayscale(image), image)


def color_jitter(key, image, *, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=1.0):
  """Brightness, contrast, saturation and hue by random amounts and in random order, each image its own.

  With strength s each factor is uniform in [max(0, 1 - s), 1 + s], hue in [-hue, hue]; an image stays as it is with
  probability 1 - p. Images without three channels keep saturation and hue. The order is exact: the three blends fill
  three places before and three after the hue, unused places being the identity, so that hue is computed once.
  """
  shape, color = image.shape[:-3], image.shape[-1] == 3
  keys = jax.random.split(key, 6)
  on = jax.random.bernoulli(keys[0], p, shape)
  draw = lambda k, s: uniform(k, shape, image.dtype, max(0.0, 1.0 - s), 1.0 + s)
  factors = [draw(keys[1], brightness), draw(keys[2], contrast), draw(keys[3], saturation if color else 0.0)]
  order = jnp.argsort(jax.random.uniform(keys[5], (*shape, 4)), -1)                     # order[..., i]: i-th operation
  place = jnp.argsort(order, -1)                                                       # place[..., op]; 3 = hue
  original = image
  def blends(image, slots):
    for slot in slots:
      is_op = [(place[..., op] == slot[0]) & (slot[1] == (place[..., op] > place[..., 3])) for op in range(3)]
      factor = jnp.select(is_op, factors, 1)
      grey = _grey(image)
      mean = _mean(grey)
      contrast_, saturation_ = (wide(is_op[i], image) for i in (1, 2))
      image = blend(image, contrast_ * mean + saturation_ * grey, factor)
    return image
  image = blends(image, [(i, False) for i in range(3)])
  if color and hue:
    image = adjust_hue(image, uniform(keys[4], shape, image.dtype, -hue, hue))
  image = blends(image, [(i, True) for i in range(1, 4)])
  return jnp.where(on[..., None, None, None], image, original)
