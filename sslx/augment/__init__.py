"""Augmentations as pure functions, for use inside the jitted step.

Images are floats [..., H, W, C] in [0, 1]. Deterministic functions take amounts that are scalars or one an image;
random ones take `key` first and the image next, options keyword-only, and draw for each image on its own: the draw
depends on the key and the image's position in the batch alone, never on the batch size or the number of devices.
"""

from sslx.augment.blur import adjust_sharpness, gaussian_blur, random_gaussian_blur, random_sharpness
from sslx.augment.color import (
  adjust_brightness,
  adjust_contrast,
  adjust_hue,
  adjust_saturation,
  color_jitter,
  normalize,
  random_grayscale,
  to_float,
  to_grayscale,
)
from sslx.augment.crop import crop_resize, random_resized_crop, resize
from sslx.augment.erase import erase
from sslx.augment.geometry import (
  affine,
  flip_left_right,
  random_affine,
  random_flip_left_right,
  random_rotate,
  rotate,
)
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

__all__ = [
  "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "adjust_sharpness", "affine",
  "autocontrast", "color_jitter", "crop_resize", "equalize", "erase", "flip_left_right", "gaussian_blur", "invert",
  "normalize", "posterize", "random_affine", "random_autocontrast", "random_equalize", "random_flip_left_right",
  "random_gaussian_blur", "random_grayscale", "random_invert", "random_posterize", "random_resized_crop",
  "random_rotate", "random_sharpness", "random_solarize", "resize", "rotate", "solarize", "to_float", "to_grayscale"]
