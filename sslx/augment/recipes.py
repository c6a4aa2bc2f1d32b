"""Recipes: the named stacks of augmentations, with the papers' numbers.

A recipe is a factory `name(*, options) -> aug(key, image)`. The image may be integers of any width, scaled to [0, 1] on
the way in. Steps that need RGB (saturation, hue, greyscale) are left out for images of other channel counts.

An aug gives one view [B, h, w, C], and methods call it once a view; or, for pairs of unlike views and multi-crop, all
views at once: a tuple of arrays [B, V, h, w, C], one a size, the large ones first. `views` hides the difference.

Options that mean the same in all recipes:
  size: side of the view in pixels; 0 for the image's own.
  scale: share of the image's area that a crop covers, uniform in this range.
  jitter: strengths of brightness, contrast, saturation and hue.
  jitter_p, grayscale_p, blur_p, solarize_p, flip_p: probabilities; a tuple holds one a view. The blur kernel spans a
    tenth of the side, its sigma is uniform in 0.1 to 2 pixels.
  small, small_size, small_scale: number, side and crop of the small views of a multi-crop; small_size 0 is 3/7 of the
    large side (96 of 224) as a multiple of 4.
"""

import functools

import jax
import jax.numpy as jnp

from sslx import errors, options as _options
from sslx.augment import auto, blur, color, crop, geometry
from sslx.augment.erase import random_erase

OPERATIONS = ("brightness", "contrast", "saturation", "hue")


def _check(**lengths):
  """Refuses tuples that are not of the length they must have: name=(value, length)."""
  for name, (value, length) in lengths.items():
    if not isinstance(value, tuple | list) or len(value) != length:
      raise errors.UsageError(f"{name} of an augmentation is {value!r}; it takes {length} numbers")


def _sides(image, size, small=None):
  """(h, w) of a large view: size x size or the image's own; of a small one: small x small or 3/7 of the large one's."""
  h, w = (size, size) if size else image.shape[-3:-1]
  if small is None:
    return h, w
  return (small, small) if small else tuple(max(4, 4 * round(3 / 7 * n / 4)) for n in (h, w))


def _solarize(key, image, p):
  chosen = jax.random.bernoulli(key, p, image.shape[:-3])[..., None, None, None]
  return jnp.where(chosen & (image >= 0.5), 1 - image, image)


def _several(view, number, **probabilities):
  """aug(key, image) -> `number` views [B, V, h, w, C] by view(key, image, **p); a tuple holds one a view."""
  for name, p in probabilities.items():
    if isinstance(p, tuple | list) and len(p) not in (1, number):
      raise errors.UsageError(f"{name} of an augmentation is {p!r}; it takes one number for each of the {number} views")
  unlike = {k: p for k, p in probabilities.items() if isinstance(p, tuple | list) and any(p)}
  alike = {k: 0.0 if isinstance(p, tuple | list) else p for k, p in probabilities.items() if k not in unlike}

  def aug(key, image):
    p = {k: jnp.broadcast_to(jnp.asarray(v, float), (number,)) for k, v in unlike.items()}
    each = lambda key, p: view(key, image, **alike, **p)
    return jax.vmap(each, out_axes=1)(jax.random.split(key, number), p)
  return aug


def _stack(*, views=0, size, small_size=None, scale, flip_p, jitter=(0, 0, 0, 0), jitter_p=0.0, grayscale_p=0.0,
           blur_p=0.0, solarize_p=0.0):
  """aug(key, image): crop, flip, colour jitter, greyscale, blur, solarize; what has probability 0 is left out.

  views: 0 for one view [B, h, w, C], else their number: [B, V, h, w, C]. size, small_size: see `_sides`.
  """
  _check(scale=(scale, 2), jitter=(jitter, 4))
  possible = lambda p: isinstance(p, jax.Array) or p > 0

  def view(key, image, blur_p=blur_p, solarize_p=solarize_p):
    keys = jax.random.split(key, 6)
    image = color.to_float(image)
    out = _sides(image, size, small_size)
    image = crop.random_resized_crop(keys[0], image, size=out, scale=scale)
    if flip_p:
      image = geometry.random_flip_left_right(keys[1], image, p=flip_p)
    if jitter_p and any(jitter):
      image = color.color_jitter(keys[2], image, **dict(zip(OPERATIONS, jitter, strict=True)), p=jitter_p)
    if grayscale_p:
      image = color.random_grayscale(keys[3], image, p=grayscale_p)
    if possible(blur_p):
      kernel = max(3, round(0.1 * min(out)) // 2 * 2 + 1)
      image = blur.random_gaussian_blur(keys[4], image, kernel_size=kernel, p=blur_p)
    return _solarize(keys[5], image, solarize_p) if possible(solarize_p) else image
  return _several(view, views, blur_p=blur_p, solarize_p=solarize_p) if views else view


def _sizes(*augs):
  """aug(key, image) -> a tuple: what each of `augs` gives; None is left out."""
  augs = [a for a in augs if a is not None]
  return lambda key, image: tuple(a(k, image) for a, k in zip(augs, jax.random.split(key, len(augs)), strict=True))


def simclr(*, size=0, scale=(0.08, 1.0), strength=1.0, jitter_p=0.8, grayscale_p=0.2, blur_p=0.5, flip_p=0.5):
  """SimCLR (Chen et al., 2020, appendix A): crop, flip, colour jitter, greyscale, blur.

  Args:
    strength: of the colour jitter: 0.8 s for brightness, contrast, saturation, 0.2 s for hue.
    blur_p: 0 together with strength=0.5 is the paper's form for CIFAR.
  """
  s = 0.8 * strength
  return _stack(size=size, scale=scale, flip_p=flip_p, jitter=(s, s, s, 0.2 * strength), jitter_p=jitter_p,
                grayscale_p=grayscale_p, blur_p=blur_p)


def moco_v2(*, size=0, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grayscale_p=0.2,
               blur_p=0.5, flip_p=0.5):
  """MoCo v2 (Chen et al., 2020): SimCLR's steps at half the jitter, crops of a fifth of the image at least."""
  return _stack(size=size, scale=scale, flip_p=flip_p, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p,
                blur_p=blur_p)


def simsiam(*, size=0, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grayscale_p=0.2,
               blur_p=0.5, flip_p=0.5):
  """SimSiam (Chen & He, 2021): the numbers of MoCo v2."""
  return _stack(size=size, scale=scale, flip_p=flip_p, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p,
                blur_p=blur_p)


def vicreg(*, size=0, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grayscale_p=0.2,
              blur_p=0.5, solarize_p=0.1, flip_p=0.5):
  """VICReg (Bardes et al., 2022, appendix C): BYOL's steps with the same probabilities in both views."""
  return _stack(size=size, scale=scale, flip_p=flip_p, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p,
                blur_p=blur_p, solarize_p=solarize_p)


def byol(*, size=0, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grayscale_p=0.2, blur_p=(1.0, 0.1),
         solarize_p=(0.0, 0.2), flip_p=0.5):
  """BYOL (Grill et al., 2020, appendix B): a pair of unlike views, the first always blurred, the second solarized."""
  return _sizes(_stack(views=2, size=size, scale=scale, flip_p=flip_p, jitter=jitter, jitter_p=jitter_p,
                       grayscale_p=grayscale_p, blur_p=blur_p, solarize_p=solarize_p))


def moco_v3(*, size=0, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grayscale_p=0.2,
            blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2), flip_p=0.5):
  """MoCo v3 (Chen et al., 2021): BYOL's pair of unlike views; the paper's ResNet-50 has scale=(0.2, 1)."""
  return byol(size=size, scale=scale, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p, blur_p=blur_p,
              solarize_p=solarize_p, flip_p=flip_p)


def barlow(*, size=0, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grayscale_p=0.2,
           blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2), flip_p=0.5):
  """Barlow Twins (Zbontar et al., 2021): BYOL's pair of unlike views."""
  return byol(size=size, scale=scale, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p, blur_p=blur_p,
              solarize_p=solarize_p, flip_p=flip_p)


def swav(*, size=0, scale=(0.14, 1.0), small=6, small_size=0, small_scale=(0.05, 0.14), jitter=(0.8, 0.8, 0.8, 0.2),
         jitter_p=0.8, grayscale_p=0.2, blur_p=0.5, flip_p=0.5):
  """SwAV (Caron et al., 2020): multi-crop, 2 large views and `small` small ones, with SimCLR's colours."""
  colors = {"flip_p": flip_p, "jitter": jitter, "jitter_p": jitter_p, "grayscale_p": grayscale_p, "blur_p": blur_p}
  large = _stack(views=2, size=size, scale=scale, **colors)
  little = _stack(views=small, size=size, small_size=small_size, scale=small_scale, **colors)
  return _sizes(large, little if small else None)


def dino(*, size=0, scale=(0.4, 1.0), small=8, small_size=0, small_scale=(0.05, 0.4), jitter=(0.4, 0.4, 0.2, 0.1),
         jitter_p=0.8, grayscale_p=0.2, blur_p=(1.0, 0.1), small_blur_p=0.5, solarize_p=(0.0, 0.2), flip_p=0.5):
  """DINO (Caron et al., 2021): BYOL's pair of global views and `small` local ones, which are not solarized.

  Above half of the image is global, below is local, by the paper's names; its crops meet at 0.4 of the area (`scale`).
  """
  colors = {"flip_p": flip_p, "jitter": jitter, "jitter_p": jitter_p, "grayscale_p": grayscale_p}
  large = _stack(views=2, size=size, scale=scale, blur_p=blur_p, solarize_p=solarize_p, **colors)
  little = _stack(views=small, size=size, small_size=small_size, scale=small_scale, blur_p=small_blur_p, **colors)
  return _sizes(large, little if small else None)


def mae(*, size=0, scale=(0.2, 1.0), flip_p=0.5):
  """MAE (He et al., 2022): crop and flip alone; the masks are the method's."""
  return _stack(size=size, scale=scale, flip_p=flip_p)


def ijepa(*, size=0, scale=(0.3, 1.0), flip_p=0.0):
  """I-JEPA (Assran et al., 2023): one crop and nothing else; the masks are the method's."""
  return _stack(size=size, scale=scale, flip_p=flip_p)


def _scan(degrees, translate, scale, shear, strength, jitter_p, small_size=None, small_scale=(1.0, 1.0)):
  """aug(key, image): affine, for a small view a crop, brightness and contrast."""
  _check(scale=(scale, 2), small_scale=(small_scale, 2))
  s = 0.8 * strength

  def aug(key, image):
    keys = jax.random.split(key, 3)
    image = color.to_float(image)
    image = geometry.random_affine(keys[0], image, degrees=degrees, translate=translate, scale=scale, shear=shear)
    if small_size is not None:
      image = crop.random_resized_crop(keys[2], image, size=_sides(image, 0, small_size), scale=small_scale)
    return color.color_jitter(keys[1], image, brightness=s, contrast=s, saturation=0.0, hue=0.0, p=jitter_p)
  return aug


def handwriting(*, degrees=15.0, translate=0.1, scale=(0.8, 1.2), shear=15.0, strength=0.5, jitter_p=0.8):
  """For scans of digits and letters, whose identity survives slant, thickness and place, not crops or mirrors.

  Args:
    degrees, shear: largest turn and slant, in degrees. translate: largest move, a share of the side.
    scale: range of sizes. strength, jitter_p: of brightness and contrast, as in `simclr`.
  """
  return _scan(degrees, translate, scale, shear, strength, jitter_p)


def handwriting_crops(*, small=6, small_size=0, small_scale=(0.3, 0.6), degrees=15.0, translate=0.1, scale=(0.8, 1.2),
                      shear=15.0, strength=0.5, jitter_p=0.8):
  """Multi-crop for scans of digits and letters: 2 views by `handwriting`, and `small` ones that are parts of such."""
  options = degrees, translate, scale, shear, strength, jitter_p
  little = _several(_scan(*options, small_size, small_scale), small) if small else None
  return _sizes(_several(_scan(*options), 2), little)


def views(aug, key, image, *, number=2):
  """All views of a batch [B, H, W, C] as a tuple of arrays [B, V, h, w, C], one a size, the large ones first.

  An aug that gives one view is called `number` times; one that gives a tuple of its own is called once. The views of an
  image lie side by side, so that [B, V, ...] becomes [B * V, ...] without moving anything between devices.
  """
  first, *keys = jax.random.split(key, number)
  out = aug(first, image)
  return out if isinstance(out, tuple) else (jnp.stack([out, *(aug(k, image) for k in keys)], 1),)


def weak_strong(*, size=0, weak_scale=(0.2, 1.0), scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8,
                grayscale_p=0.2, blur_p=0.5, flip_p=0.5):
  """ReSSL (Zheng et al., 2021): a pair of unlike views, a weak one first and a strong one second.

  The weak view is cropped and flipped alone, the strong one by MoCo v2's steps.

  Args:
    weak_scale: `scale` of the weak view.
  """
  _check(weak_scale=(weak_scale, 2))
  weak = _stack(size=size, scale=weak_scale, flip_p=flip_p)
  strong = moco_v2(size=size, scale=scale, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p, blur_p=blur_p,
                   flip_p=flip_p)

  def aug(key, image):
    keys = jax.random.split(key)
    return (jnp.stack([weak(keys[0], image), strong(keys[1], image)], 1),)
  return aug


def _automatic(change, size, scale, flip_p, erase_p):
  """aug(key, image): crop, flip, change(key, image), erasing to black."""
  plain = _stack(size=size, scale=scale, flip_p=flip_p)

  def aug(key, image):
    keys = jax.random.split(key, 3)
    image = change(keys[1], plain(keys[0], image))
    return random_erase(keys[2], image, p=erase_p) if erase_p else image
  return aug


def rand_augment(*, size=0, scale=(0.08, 1.0), flip_p=0.5, num=2, magnitude=9, erase_p=0.25,
                 operations=auto.OPERATIONS):
  """RandAugment (Cubuk et al., 2020): crop, flip, `num` drawn operations, random erasing (Zhong et al., 2017).

  Args:
    num, magnitude, operations: see `augment.rand_augment`; without "equalize" it is far cheaper.
    erase_p: probability of a black rectangle.
  """
  change = functools.partial(auto.rand_augment, num=num, magnitude=magnitude, operations=operations)
  return _automatic(change, size, scale, flip_p, erase_p)


def trivial_augment(*, size=0, scale=(0.08, 1.0), flip_p=0.5, erase_p=0.0, operations=auto.OPERATIONS):
  """TrivialAugment (Mueller & Hutter, 2021): crop, flip, one drawn operation; options as of `rand_augment`."""
  return _automatic(functools.partial(auto.trivial_augment, operations=operations), size, scale, flip_p, erase_p)


RECIPES = {f.__name__: f for f in (simclr, moco_v2, simsiam, vicreg, byol, moco_v3, barlow, swav, dino, mae, ijepa,
                                   handwriting, handwriting_crops, weak_strong, rand_augment,
                                   trivial_augment)}


def names():
  """Every recipe's name."""
  return sorted(RECIPES)


def _find(name):
  if name in RECIPES:
    return RECIPES[name]
  return _options.own("augmentation", name, "make", RECIPES)


def options(name, **changed):
  """{"name": name, every option: its default}, with `changed` ones, for a config."""
  return _options.filled("augmentation", name, _find(name), changed)


def accepted(name):
  """The names of the options of `name`."""
  return _options.accepted(_find(name))


def make(name, **options):
  """The augmentation `aug(key, image)` of a recipe; a dotted name is the user's own `make(*, options)`."""
  return _options.call("augmentation", name, _find(name), **options)
