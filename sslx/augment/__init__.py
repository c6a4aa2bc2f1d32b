"""Augmentations as pure functions, for use inside the jitted step.

Images are floats [..., H, W, C] in [0, 1]. Deterministic functions take amounts that are scalars or one an image;
random ones take `key` first and the image next, options keyword-only, and draw for each image on its own: the draw
depends on the key and the image's position in the batch alone, never on the batch size or the number of devices.
"""

from sslx.augment.auto import rand_augment, trivial_augment
from sslx.augment.blur import adjust_sharpness, gaussian_blur, random_gaussian_blur, random_sharpness
from sslx.augment.color import (
  adjust_brightness,
  adjust_contrast,
  adjust_hue,
  adjust_saturation,
  normalize,
  random_brightness,
  random_contrast,
  random_grayscale,
  random_hue,
  random_saturation,
  to_float,
  to_grayscale,
)
from sslx.augment.crop import center_crop, crop_resize, pad_and_crop, random_pad_and_crop, random_resized_crop, resize
from sslx.augment.erase import erase, random_cutout, random_erase
from sslx.augment.geometry import (
  affine,
  flip_left_right,
  flip_up_down,
  random_affine,
  random_flip_left_right,
  random_flip_up_down,
  random_rot90,
  random_rotate,
  rot90,
  rotate,
)
from sslx.augment.jitter import color_jitter
from sslx.augment.mix import cutmix, mixup, random_cutmix, random_mixup
from sslx.augment.noise import gaussian_noise, random_gaussian_noise, random_salt_and_pepper, salt_and_pepper
from sslx.augment.tone import (
  autocontrast,
  equalize,
  invert,
  posterize,
  random_autocontrast,
  random_equalize,
  random_invert,
  random_posterize,
  random_solarize,
  solarize,
)
from sslx.augment.warp import elastic, perspective, random_elastic, random_perspective

__all__ = [
  "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "adjust_sharpness", "affine",
  "autocontrast", "center_crop", "color_jitter", "crop_resize", "cutmix", "elastic", "equalize", "erase",
  "flip_left_right", "flip_up_down", "gaussian_blur", "gaussian_noise", "invert", "mixup", "normalize", "pad_and_crop",
  "perspective", "posterize", "rand_augment", "random_affine", "random_autocontrast", "random_brightness",
  "random_contrast", "random_cutmix", "random_cutout", "random_elastic", "random_equalize", "random_erase",
  "random_flip_left_right", "random_flip_up_down", "random_gaussian_blur", "random_gaussian_noise", "random_grayscale",
  "random_hue", "random_invert", "random_mixup", "random_pad_and_crop", "random_perspective", "random_posterize",
  "random_resized_crop", "random_rot90", "random_rotate", "random_salt_and_pepper", "random_saturation",
  "random_sharpness", "random_solarize", "resize", "rot90", "rotate", "salt_and_pepper", "solarize", "to_float",
  "to_grayscale", "trivial_augment"]
