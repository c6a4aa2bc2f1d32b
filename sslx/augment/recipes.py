"""Recipes: the named stacks of augmentations, with the papers' numbers.

A recipe is a factory `name(*, options) -> aug(key, image)`. The image may be integers of any width, scaled to [0, 1] on
the way in. Colour steps that need RGB are left out for images of other channel counts.

An aug gives one view [B, h, w, C], and methods call it once a view; or, for pairs of unlike views and multi-crop, all
views at once: a tuple of arrays [B, V, h, w, C], one a size, the large ones first. `views` hides the difference.
"""

import jax
import jax.numpy as jnp

from sslx import errors, options as _options
from sslx.augment import blur, color, crop, geometry


def simclr(*, size=0, scale=(0.08, 1.0), strength=1.0, jitter_p=0.8, grayscale_p=0.2, blur_p=0.5, flip_p=0.5):
  """SimCLR (Chen et al., 2020, appendix A): crop, flip, colour jitter, greyscale, blur.

  Args:
    size: side of the view in pixels; 0 for the image's own. `blur_p=0` is the paper's CIFAR form.
    scale: share of the image's area that a crop covers.
    strength: of the colour jitter: 0.8 s for brightness, contrast, saturation, 0.2 s for hue.
    jitter_p, grayscale_p, blur_p, flip_p: probabilities. The blur kernel spans a tenth of the side.
  """
  def aug(key, image):
    keys = jax.random.split(key, 5)
    image = color.to_float(image)
    out = (size, size) if size else image.shape[-3:-1]
    image = crop.random_resized_crop(keys[0], image, size=out, scale=scale)
    if flip_p:
      image = geometry.random_flip_left_right(keys[1], image, p=flip_p)
    s = 0.8 * strength
    if strength and jitter_p:
      image = color.color_jitter(keys[2], image, brightness=s, contrast=s, saturation=s, hue=0.2 * strength, p=jitter_p)
    if grayscale_p:
      image = color.random_grayscale(keys[3], image, p=grayscale_p)
    if blur_p:
      kernel = max(3, round(0.1 * min(out)) // 2 * 2 + 1)
      image = blur.random_gaussian_blur(keys[4], image, kernel_size=kernel, p=blur_p)
    return image
  return aug


def handwriting(*, degrees=15.0, translate=0.1, scale=(0.8, 1.2), shear=15.0, strength=0.5, jitter_p=0.8):
  """For scans of digits and letters, whose identity survives slant, thickness and place, not crops or mirrors.

  Args:
    degrees, shear: largest turn and slant, in degrees. translate: largest move, a share of the side.
    scale: range of sizes. strength, jitter_p: of brightness and contrast, as in `simclr`.
  """
  def aug(key, image):
    keys = jax.random.split(key)
    image = color.to_float(image)
    image = geometry.random_affine(keys[0], image, degrees=degrees, translate=translate, scale=scale, shear=shear)
    s = 0.8 * strength
    return color.color_jitter(keys[1], image, brightness=s, contrast=s, saturation=0.0, hue=0.0, p=jitter_p)
  return aug


def views(aug, key, image, *, number=2):
  """All views of a batch [B, H, W, C] as a tuple of arrays [B, V, h, w, C], one a size, the large ones first.

  An aug that gives one view is called `number` times; one that gives a tuple of its own is called once. The views of an
  image lie side by side, so that [B, V, ...] becomes [B * V, ...] without moving anything between devices.
  """
  first, *keys = jax.random.split(key, number)
  out = aug(first, image)
  return out if isinstance(out, tuple) else (jnp.stack([out, *(aug(k, image) for k in keys)], 1),)


RECIPES = {f.__name__: f for f in (simclr, handwriting)}


def names():
  """Every recipe's name."""
  return sorted(RECIPES)


def _find(name):
  if name in RECIPES:
    return RECIPES[name]
  if "." in name:
    return _options.imported("augmentation", name, "make")
  raise errors.unknown("augmentation", name, RECIPES)


def options(name, **changed):
  """{"name": name, every option: its default}, with `changed` ones, for a config."""
  return _options.filled("augmentation", name, _find(name), changed)


def accepted(name):
  """The names of the options of `name`."""
  return _options.accepted(_find(name))


def make(name, **options):
  """The augmentation `aug(key, image)` of a recipe; a dotted name is the user's own `make(*, options)`."""
  return _options.call("augmentation", name, _find(name), **options)
