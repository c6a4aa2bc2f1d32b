"""What recipes are made of: stacks of operations with probabilities, several views of a size, views of several sizes.

An aug is a function (key, image) -> view; see `recipes`.
"""

import jax
import jax.numpy as jnp

from sslx import errors
from sslx.augment import blur, color, crop, geometry, tone
from sslx.augment.jitter import color_jitter

JITTERED = ("brightness", "contrast", "saturation", "hue")


def check(**lengths):
  """Refuses tuples that are not of the length they must have: name=(value, length)."""
  for name, (value, length) in lengths.items():
    if not isinstance(value, tuple | list) or len(value) != length:
      raise errors.UsageError(f"{name} of an augmentation is {value!r}; it takes {length} numbers")


def sides(image, size, small=None):
  """(h, w) of a large view: size x size or the image's own; of a small one: small x small or 3/7 of the large one's."""
  h, w = (size, size) if size else image.shape[-3:-1]
  if small is None:
    return h, w
  return (small, small) if small else tuple(max(4, 4 * round(3 / 7 * n / 4)) for n in (h, w))


def several(view, number, **probabilities):
  """aug(key, image) -> `number` views [B, V, h, w, C] by view(key, image, **p); a tuple holds one p a view.

  One after the other in a loop, so that they are compiled once and need the memory of one.
  """
  for name, p in probabilities.items():
    if isinstance(p, tuple | list) and len(p) not in (1, number):
      raise errors.UsageError(f"{name} of an augmentation is {p!r}; it takes one number for each of the {number} views")
  unlike = {k: p for k, p in probabilities.items() if isinstance(p, tuple | list) and any(p)}
  alike = {k: 0.0 if isinstance(p, tuple | list) else p for k, p in probabilities.items() if k not in unlike}

  def aug(key, image):
    p = {k: jnp.broadcast_to(jnp.asarray(v, float), (number,)) for k, v in unlike.items()}
    out = jax.lax.map(lambda each: view(each[0], image, **alike, **each[1]), (jax.random.split(key, number), p))
    return jnp.moveaxis(out, 0, 1)                                                      # [V, B, ...] -> [B, V, ...]
  return aug


def stack(*, views=0, size, small_size=None, scale, flip_p, jitter=(0, 0, 0, 0), jitter_p=0.0, grayscale_p=0.0,
           blur_p=0.0, solarize_p=0.0, interpolation="bilinear"):
  """aug(key, image): crop, flip, colour jitter, greyscale, blur, solarize; what has probability 0 is left out.

  views: 0 for one view [B, h, w, C], else their number: [B, V, h, w, C]. size, small_size: see `sides`.
  """
  check(scale=(scale, 2), jitter=(jitter, 4))
  if interpolation not in crop.METHODS:
    raise errors.unknown("interpolation of an augmentation", interpolation, crop.METHODS)
  possible = lambda p: isinstance(p, jax.Array) or p > 0

  def view(key, image, flip_p, jitter_p, grayscale_p, blur_p, solarize_p):
    keys = jax.random.split(key, 6)
    image = color.to_float(image)
    out = sides(image, size, small_size)
    if tuple(scale) != (1, 1):
      image = crop.random_resized_crop(keys[0], image, size=out, scale=scale, method=interpolation)
    elif out != image.shape[-3:-1]:
      image = crop.resize(image, out, method=interpolation)
    if possible(flip_p):
      image = geometry.random_flip_left_right(keys[1], image, p=flip_p)
    if possible(jitter_p) and any(jitter):
      image = color_jitter(keys[2], image, **dict(zip(JITTERED, jitter, strict=True)), p=jitter_p)
    if possible(grayscale_p):
      image = color.random_grayscale(keys[3], image, p=grayscale_p)
    if possible(blur_p):
      kernel = max(3, round(0.1 * min(out)) // 2 * 2 + 1)
      image = blur.random_gaussian_blur(keys[4], image, kernel_size=kernel, p=blur_p)
    return tone.random_solarize(keys[5], image, p=solarize_p) if possible(solarize_p) else image
  p = {"flip_p": flip_p, "jitter_p": jitter_p, "grayscale_p": grayscale_p, "blur_p": blur_p, "solarize_p": solarize_p}
  if views:
    return several(view, views, **p)
  for name, value in p.items():
    if isinstance(value, tuple | list):
      raise errors.UsageError(f"{name} of an augmentation is {value!r}; views of this recipe are alike: one number")
  return lambda key, image: view(key, image, **p)


def sizes(*augs):
  """aug(key, image) -> a tuple: what each of `augs` gives; None is left out."""
  augs = [a for a in augs if a is not None]
  return lambda key, image: tuple(a(k, image) for a, k in zip(augs, jax.random.split(key, len(augs)), strict=True))


def scan(degrees, translate, scale, shear, strength, jitter_p, small_size=None, small_scale=(1.0, 1.0)):
  """aug(key, image): affine, for a small view a crop, brightness and contrast."""
  check(scale=(scale, 2), small_scale=(small_scale, 2))
  s = 0.8 * strength

  def aug(key, image):
    keys = jax.random.split(key, 3)
    image = color.to_float(image)
    image = geometry.random_affine(keys[0], image, degrees=degrees, translate=translate, scale=scale, shear=shear)
    if small_size is not None:
      image = crop.random_resized_crop(keys[2], image, size=sides(image, 0, small_size), scale=small_scale)
    return color_jitter(keys[1], image, brightness=s, contrast=s, saturation=0.0, hue=0.0, p=jitter_p)
  return aug
