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


def planes(image):
  """RGB [..., H, W, 3] as three arrays [..., H * W]; other images as one, [..., H * W * C].

  What mixes channels works on planes: loops over them are long whatever the image's sides.
  """
  if image.shape[-1] == 3:
    return [image.reshape(*image.shape[:-3], -1, 3)[..., i] for i in range(3)]
  return [image.reshape(*image.shape[:-3], -1)]


def joined(planes, like):
  """The image of which these are the planes, of the shape of `like`."""
  if len(planes) == 1:
    return planes[0].reshape(like.shape)
  channel, (r, g, b) = jnp.arange(3), (x[..., None] for x in planes)
  return jnp.where(channel == 0, r, jnp.where(channel == 1, g, b)).reshape(like.shape)


def grey(planes):
  """Luma of three planes; another image's one plane as it is."""
  if len(planes) == 1:
    return planes[0]
  r, g, b = planes
  red, green, blue = LUMA
  return rounded((g + red / sum(LUMA) * (r - g) + blue / sum(LUMA) * (b - g)) * sum(LUMA))


def mean(plane, like):
  """The mean [..., 1] of each plane of an image."""
  rows = plane.reshape(*plane.shape[:-1], like.shape[-3], -1)                           # [..., H, W]
  return (total(total(rows, -2) / rows.shape[-2], -1) / rows.shape[-1])[..., 0]


def mixed(x, other, factor):
  """factor * x + (1 - factor) * other, clipped to [0, 1], of arrays that broadcast."""
  return jnp.clip(other + rounded(factor * (x - other)), 0, 1)


def blend(image, other, factor):
  """factor * image + (1 - factor) * other, clipped to [0, 1]: brightness, contrast and saturation are such blends."""
  return mixed(image, other, wide(factor, image))


def _blended(image, other, factor):
  """blend of each plane with what `other` makes of all planes."""
  factor = wide(factor, image)
  factor = factor[..., 0, 0] if factor.ndim else factor                                 # [..., 1], as planes need it
  parts = planes(image)
  return joined([mixed(x, other(parts), factor) for x in parts], image)


def adjust_brightness(image, factor):
  """Blends with black: 0 is black, 1 the image, 2 twice as bright."""
  return blend(image, 0, factor)


def adjust_contrast(image, factor):
  """Blends with the mean grey of the image: 0 is flat, 1 the image."""
  return _blended(image, lambda parts: mean(grey(parts), image), factor)


def adjust_saturation(image, factor):
  """Blends with the grey image: 0 is grey, 1 the image; images that are not RGB are left as they are."""
  return _blended(image, grey, factor) if image.shape[-1] == 3 else image


def turned(planes, delta):
  """Three planes with the hue turned by `delta`, which broadcasts against a plane."""
  r, g, b = planes
  value, low = jnp.maximum(jnp.maximum(r, g), b), jnp.minimum(jnp.minimum(r, g), b)
  chroma = value - low
  is_red, is_green = value == r, value == g
  part = jnp.where(is_red, g - b, jnp.where(is_green, b - r, r - g)) / jnp.where(chroma > 0, chroma, 1)
  hue = jnp.where(is_red, 0, jnp.where(is_green, 2, 4)) + part + rounded(6 * delta)     # in sixths of a turn
  def plane(middle):                                                                    # of that colour
    away = hue - middle
    away = jnp.abs(away - 6 * jnp.round(away * (1 / 6)))                                      # sixths, 0 to 3
    return value - rounded(chroma * jnp.clip(away - 1, 0, 1))
  return [plane(middle) for middle in (0, 2, 4)]


def adjust_hue(image, delta):
  """Turns the hue of RGB by `delta` in turns (-0.5 to 0.5), value and saturation kept; HSV as in torchvision.

  Images that are not RGB are left as they are.
  """
  if image.shape[-1] != 3:
    return image
  delta = jnp.asarray(delta, image.dtype)
  return joined(turned(planes(image), delta[..., None] if delta.ndim else delta), image)


def to_grayscale(image):
  """Luma in every channel; images that are not RGB are left as they are."""
  return joined([grey(planes(image))] * 3, image) if image.shape[-1] == 3 else image


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
  if image.shape[-1] != 3:
    return image
  parts, chosen = planes(image), jax.random.bernoulli(key, p, image.shape[:-3])[..., None]
  flat = grey(parts)
  return joined([jnp.where(chosen, flat, x) for x in parts], image)
