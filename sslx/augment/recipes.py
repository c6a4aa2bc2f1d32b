"""Recipes: the named stacks of augmentations, with the papers' numbers.

A recipe is a factory `name(*, options) -> aug(key, image)`. The image may be integers of any width, scaled to [0, 1] on
the way in. Steps that need RGB (saturation, hue, greyscale) are left out for images of other channel counts.

An aug gives one view [B, h, w, C], and methods call it once a view; or, for pairs of unlike views and multi-crop, all
views at once: a tuple of arrays [B, V, h, w, C], one a size, the large ones first. `views` hides the difference.

Options that mean the same in all recipes:
  size: side of the view in pixels; 0 for the image's own.
  scale: share of the image's area that a crop covers, uniform in this range; (1, 1) is the whole image, of any form.
  interpolation: of the crop: bilinear, bicubic or nearest.
  jitter: strengths of brightness, contrast, saturation and hue.
  jitter_p, grayscale_p, blur_p, solarize_p, flip_p: probabilities; in recipes of unlike views a tuple holds one a view.
    The blur kernel spans a tenth of the side, its sigma is uniform in 0.1 to 2 pixels.
  small, small_size, small_scale: number, side and crop of the small views of a multi-crop; small_size 0 is 3/7 of the
    large side (96 of 224) as a multiple of 4.
"""

import functools

import jax
import jax.numpy as jnp

from sslx import options as _options
from sslx.augment import auto, color, crop, geometry
from sslx.augment.erase import random_cutout, random_erase
from sslx.augment.stacks import check, scan, several, sizes, stack


def simclr(*, size=0, scale=(0.08, 1.0), strength=1.0, jitter_p=0.8, grayscale_p=0.2, blur_p=0.5, flip_p=0.5,
           interpolation="bilinear"):
  """SimCLR (Chen et al., 2020, appendix A): crop, flip, colour jitter, greyscale, blur.

  Args:
    strength: of the colour jitter: 0.8 s for brightness, contrast, saturation, 0.2 s for hue.
    blur_p: 0 together with strength=0.5 is the paper's form for CIFAR.
  """
  s = 0.8 * strength
  return stack(size=size, scale=scale, flip_p=flip_p, jitter=(s, s, s, 0.2 * strength), jitter_p=jitter_p,
               grayscale_p=grayscale_p, blur_p=blur_p, interpolation=interpolation)


def moco_v2(*, size=0, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grayscale_p=0.2,
            blur_p=0.5, flip_p=0.5, interpolation="bilinear"):
  """MoCo v2 (Chen et al., 2020): SimCLR's steps at half the jitter, crops of a fifth of the image at least."""
  return stack(size=size, scale=scale, flip_p=flip_p, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p,
               blur_p=blur_p, interpolation=interpolation)


def simsiam(*, size=0, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grayscale_p=0.2,
            blur_p=0.5, flip_p=0.5, interpolation="bilinear"):
  """SimSiam (Chen & He, 2021): the numbers of MoCo v2."""
  return stack(size=size, scale=scale, flip_p=flip_p, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p,
               blur_p=blur_p, interpolation=interpolation)


def vicreg(*, size=0, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grayscale_p=0.2,
           blur_p=0.5, solarize_p=0.1, flip_p=0.5, interpolation="bicubic"):
  """VICReg (Bardes et al., 2022, appendix C): BYOL's steps with the same probabilities in both views."""
  return stack(size=size, scale=scale, flip_p=flip_p, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p,
               blur_p=blur_p, solarize_p=solarize_p, interpolation=interpolation)


def byol(*, size=0, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grayscale_p=0.2, blur_p=(1.0, 0.1),
         solarize_p=(0.0, 0.2), flip_p=0.5, interpolation="bicubic"):
  """BYOL (Grill et al., 2020, appendix B): a pair of unlike views, the first always blurred, the second solarized."""
  return sizes(stack(views=2, size=size, scale=scale, flip_p=flip_p, jitter=jitter, jitter_p=jitter_p,
                     grayscale_p=grayscale_p, blur_p=blur_p, solarize_p=solarize_p, interpolation=interpolation))


def moco_v3(*, size=0, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grayscale_p=0.2,
            blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2), flip_p=0.5, interpolation="bilinear"):
  """MoCo v3 (Chen et al., 2021): BYOL's pair of unlike views; the paper's ResNet-50 has scale=(0.2, 1)."""
  return byol(size=size, scale=scale, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p, blur_p=blur_p,
              solarize_p=solarize_p, flip_p=flip_p, interpolation=interpolation)


def barlow(*, size=0, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_p=0.8, grayscale_p=0.2,
           blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2), flip_p=0.5, interpolation="bicubic"):
  """Barlow Twins (Zbontar et al., 2021): BYOL's pair of unlike views."""
  return byol(size=size, scale=scale, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p, blur_p=blur_p,
              solarize_p=solarize_p, flip_p=flip_p, interpolation=interpolation)


def swav(*, size=0, scale=(0.14, 1.0), small=6, small_size=0, small_scale=(0.05, 0.14), jitter=(0.8, 0.8, 0.8, 0.2),
         jitter_p=0.8, grayscale_p=0.2, blur_p=0.5, flip_p=0.5, interpolation="bilinear"):
  """SwAV (Caron et al., 2020): multi-crop, 2 large views and `small` small ones, with SimCLR's colours."""
  colors = {"flip_p": flip_p, "jitter": jitter, "jitter_p": jitter_p, "grayscale_p": grayscale_p, "blur_p": blur_p,
            "interpolation": interpolation}
  large = stack(views=2, size=size, scale=scale, **colors)
  little = stack(views=small, size=size, small_size=small_size, scale=small_scale, **colors)
  return sizes(large, little if small else None)


def dino(*, size=0, scale=(0.4, 1.0), small=8, small_size=0, small_scale=(0.05, 0.4), jitter=(0.4, 0.4, 0.2, 0.1),
         jitter_p=0.8, grayscale_p=0.2, blur_p=(1.0, 0.1), small_blur_p=0.5, solarize_p=(0.0, 0.2), flip_p=0.5,
         interpolation="bicubic"):
  """DINO (Caron et al., 2021): BYOL's pair of global views and `small` local ones, which are not solarized.

  Above half of the image is global, below is local, by the paper's names; its crops meet at 0.4 of the area (`scale`).
  """
  colors = {"flip_p": flip_p, "jitter": jitter, "jitter_p": jitter_p, "grayscale_p": grayscale_p,
            "interpolation": interpolation}
  large = stack(views=2, size=size, scale=scale, blur_p=blur_p, solarize_p=solarize_p, **colors)
  little = stack(views=small, size=size, small_size=small_size, scale=small_scale, blur_p=small_blur_p, **colors)
  return sizes(large, little if small else None)


def mae(*, size=0, scale=(0.2, 1.0), flip_p=0.5, interpolation="bicubic"):
  """MAE (He et al., 2022): crop and flip alone; the masks are the method's."""
  return stack(size=size, scale=scale, flip_p=flip_p, interpolation=interpolation)


def ijepa(*, size=0, scale=(0.3, 1.0), flip_p=0.0, interpolation="bilinear"):
  """I-JEPA (Assran et al., 2023): one crop and nothing else; the masks are the method's."""
  return stack(size=size, scale=scale, flip_p=flip_p, interpolation=interpolation)


def weak_strong(*, size=0, weak_scale=(0.2, 1.0), scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8,
                grayscale_p=0.2, blur_p=0.5, flip_p=0.5):
  """ReSSL (Zheng et al., 2021): a pair of unlike views, a weak one first and a strong one second.

  The weak view is cropped and flipped alone, the strong one by MoCo v2's steps.

  Args:
    weak_scale: `scale` of the weak view.
  """
  check(weak_scale=(weak_scale, 2))
  weak = stack(size=size, scale=weak_scale, flip_p=flip_p)
  strong = moco_v2(size=size, scale=scale, jitter=jitter, jitter_p=jitter_p, grayscale_p=grayscale_p, blur_p=blur_p,
                   flip_p=flip_p)

  def aug(key, image):
    keys = jax.random.split(key)
    return (jnp.stack([weak(keys[0], image), strong(keys[1], image)], 1),)
  return aug


def fixmatch(*, translate=0.125, flip_p=0.5, num=2, cutout=0.5, operations=auto.OPERATIONS):
  """FixMatch (Sohn et al., 2020): a pair, the first view flipped and moved, the second also distorted and cut out.

  Args:
    translate: largest move, a share of the side; what comes in is mirrored.
    num, operations: drawn for the second view, at any magnitudes, with the ranges and the cost of `rand_augment`.
    cutout: side of the erased square, a share of the view's; 0 for none.
  """
  def weak(key, image):
    keys = jax.random.split(key)
    image = geometry.random_flip_left_right(keys[0], color.to_float(image), p=flip_p)
    padding = round(translate * min(image.shape[-3:-1]))
    return crop.random_pad_and_crop(keys[1], image, padding=padding, mode="reflect")

  def aug(key, image):
    keys = jax.random.split(key, 4)
    strong = auto.rand_augment(keys[1], weak(keys[2], image), num=num, magnitude=None, operations=operations)
    strong = random_cutout(keys[3], strong, side=cutout, value=0.5) if cutout else strong
    return (jnp.stack([weak(keys[0], image), strong], 1),)
  return aug


def _automatic(change, size, scale, flip_p, erase_p):
  """aug(key, image): crop, flip, change(key, image), erasing to black."""
  plain = stack(size=size, scale=scale, flip_p=flip_p)

  def aug(key, image):
    keys = jax.random.split(key, 3)
    image = change(keys[1], plain(keys[0], image))
    return random_erase(keys[2], image, p=erase_p) if erase_p else image
  return aug


def rand_augment(*, size=0, scale=(0.08, 1.0), flip_p=0.5, num=2, magnitude=9, erase_p=0.25,
                 operations=auto.OPERATIONS):
  """RandAugment (Cubuk et al., 2020): crop, flip, `num` drawn operations, random erasing (Zhong et al., 2017).

  Args:
    num, magnitude, operations: see `augment.rand_augment`. All of them run on every image and one is kept, so the
      recipe is dear (experiments/results/views.md); without "equalize" it is far cheaper.
    erase_p: probability of a black rectangle, as in torchvision's training recipe; the paper has none.
  """
  change = functools.partial(auto.rand_augment, num=num, magnitude=magnitude, operations=operations)
  return _automatic(change, size, scale, flip_p, erase_p)


def trivial_augment(*, size=0, scale=(0.08, 1.0), flip_p=0.5, erase_p=0.0, operations=auto.OPERATIONS):
  """TrivialAugment (Mueller & Hutter, 2021): crop, flip, one drawn operation; options and cost as of `rand_augment`."""
  return _automatic(functools.partial(auto.trivial_augment, operations=operations), size, scale, flip_p, erase_p)


def handwriting(*, degrees=15.0, translate=0.1, scale=(0.8, 1.2), shear=15.0, strength=0.5, jitter_p=0.8):
  """For scans of digits and letters, whose identity survives slant, thickness and place, not crops or mirrors.

  Args:
    degrees, shear: largest turn and slant, in degrees. translate: largest move, a share of the side.
    scale: range of sizes. strength, jitter_p: of brightness and contrast, as in `simclr`.
  """
  return scan(degrees, translate, scale, shear, strength, jitter_p)


def handwriting_crops(*, small=6, small_size=0, small_scale=(0.3, 0.6), degrees=15.0, translate=0.1, scale=(0.8, 1.2),
                      shear=15.0, strength=0.5, jitter_p=0.8):
  """Multi-crop for scans of digits and letters: 2 views by `handwriting`, and `small` ones that are parts of such."""
  options = degrees, translate, scale, shear, strength, jitter_p
  little = several(scan(*options, small_size, small_scale), small) if small else None
  return sizes(several(scan(*options), 2), little)


def views(aug, key, image, *, number=2):
  """All views of a batch [B, H, W, C] as a tuple of arrays [B, V, h, w, C], one a size, the large ones first.

  An aug that gives one view is called for `number` keys; one that gives a tuple of its own is called once. The views of
  an image lie side by side, so that [B, V, ...] becomes [B * V, ...] without moving anything between devices.
  """
  first = jax.random.split(key, number)[0]
  if isinstance(jax.eval_shape(aug, first, image), tuple):
    return aug(first, image)
  return (several(aug, number)(key, image),)


RECIPES = {f.__name__: f for f in (simclr, moco_v2, simsiam, vicreg, byol, moco_v3, barlow, swav, dino, mae, ijepa,
                                   rand_augment, trivial_augment, weak_strong, fixmatch, handwriting,
                                   handwriting_crops)}


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
