"""Blur and sharpness. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp

from sslx import errors
from sslx.augment.apart import apart
from sslx.augment.color import blend, sometimes
from sslx.augment.exact import exp, rounded, total, uniform


def gaussian_blur(image, sigma, *, kernel_size):
  """Gaussian blur with mirrored borders, as torchvision's: sigma > 0 in pixels, a scalar or one an image.

  Two passes of shifted sums, so no gather and no grouped convolution.
  """
  half = kernel_size // 2
  if kernel_size % 2 == 0 or half >= min(image.shape[-3:-1]):
    raise errors.UsageError(f"kernel_size of a blur is {kernel_size}; it is odd and less than twice the short side "
                            f"of an image of {image.shape[-3]}x{image.shape[-2]}")
  return apart(lambda image, sigma: _blurred(image, sigma, half))(image, jnp.asarray(sigma, image.dtype))


def _blurred(image, sigma, half):
  """gaussian_blur by a kernel of 2 half + 1 taps."""
  weights = exp(-0.5 * (jnp.arange(-half, half + 1, dtype=image.dtype) / sigma[..., None]) ** 2)
  weights = (weights / total(weights, -1))[..., None, None]                             # [..., k, 1, 1]
  for axis in (-3, -2):
    pad = [(half, half) if i == image.ndim + axis else (0, 0) for i in range(image.ndim)]
    padded = jnp.pad(image, pad, mode="reflect")
    padded = padded.reshape(*padded.shape[:-2], -1)                                     # [..., H, W * C]: long rows
    axis, step = (padded.ndim - 2, 1) if axis == -3 else (padded.ndim - 1, image.shape[-1])
    n = padded.shape[axis] - 2 * half * step
    shift = lambda i: jax.lax.slice_in_dim(padded, (half + i) * step, (half + i) * step + n, axis=axis)
    out = rounded(weights[..., half, :, :] * shift(0))
    for i in range(1, half + 1):
      out = out + weights[..., half + i, :, :] * (shift(i) + shift(-i))                 # the kernel is symmetric
    image = out.reshape(image.shape)
  return image


def random_gaussian_blur(key, image, *, kernel_size, sigma=(0.1, 2.0), p=0.5):
  """gaussian_blur with sigma uniform in the given range, with probability p for each image."""
  key_p, key_sigma = jax.random.split(key)
  drawn = uniform(key_sigma, image.shape[:-3], image.dtype, *sigma)
  return sometimes(key_p, p, gaussian_blur(image, drawn, kernel_size=kernel_size), image)


def adjust_sharpness(image, factor):
  """Blends with a smoothed image: 0 is smooth, 1 the image, 2 sharper; a scalar or one an image.

  The smoothing is PIL's: the mean of 3x3 pixels in which the middle counts five times; the outermost pixels stay.
  """
  H, W = image.shape[-3:-1]
  if min(H, W) < 3:
    return image
  rows = image[..., :-2, :, :] + image[..., 1:-1, :, :] + image[..., 2:, :, :]
  nine = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
  inner = image[..., 1:-1, 1:-1, :]
  inner = blend(inner, (nine + 4 * inner) / 13, factor)
  middle = jnp.concatenate([image[..., 1:-1, :1, :], inner, image[..., 1:-1, -1:, :]], -2)
  return jnp.concatenate([image[..., :1, :, :], middle, image[..., -1:, :, :]], -3)


def random_sharpness(key, image, *, factor=2.0, p=0.5):
  """adjust_sharpness with probability p for each image."""
  return sometimes(key, p, adjust_sharpness(image, factor), image)
