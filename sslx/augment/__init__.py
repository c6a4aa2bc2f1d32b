"""Augmentations as pure functions, for use inside the jitted step.

Images are floats [..., H, W, C] in [0, 1]. Deterministic functions take amounts that are scalars or one an image;
random ones take `key` first and the image next, options keyword-only, and draw for each image on its own: the draw
depends on the key and the image's position in the batch alone, never on the batch size or the number of devices.
"""

from sslx.augment.blur import gaussian_blur, random_gaussian_blur
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
from sslx.augment.geometry import affine, flip_left_right, random_affine, random_flip_left_right

__all__ = [
  "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "affine", "color_jitter", "crop_resize",
  "flip_left_right", "gaussian_blur", "normalize", "random_affine", "random_flip_left_right", "random_gaussian_blur",
  "random_grayscale", "random_resized_crop", "resize", "to_float", "to_grayscale"]
