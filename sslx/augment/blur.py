"""Blur. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp


def gaussian_blur(image, sigma, *, kernel_size):
  """Gaussian blur with mirrored borders, as torchvision's: sigma in pixels, a scalar or one an image; odd kernel_size.

  Two passes of shifted sums, so no gather and no grouped convolution.
  """
  half = kernel_size // 2
  if kernel_size % 2 == 0 or half >= min(image.shape[-3:-1]):
    raise ValueError(f"kernel_size must be odd and at most twice the image's short side, not {kernel_size}")
  sigma = jnp.asarray(sigma, image.dtype)[..., None]
  weights = jax.nn.softmax(-0.5 * (jnp.arange(-half, half + 1, dtype=image.dtype) / sigma) ** 2, -1)   # [..., k]
  for axis in (-3, -2):
    pad = [(half, half) if i == image.ndim + axis else (0, 0) for i in range(image.ndim)]
    padded, n = jnp.pad(image, pad, mode="reflect"), image.shape[axis]
    shift = lambda i: jax.lax.slice_in_dim(padded, i, i + n, axis=image.ndim + axis)
    image = sum(weights[..., i].reshape(weights.shape[:-1] + (1, 1, 1)) * shift(i) for i in range(kernel_size))
  return image


def random_gaussian_blur(key, image, *, kernel_size, sigma=(0.1, 2.0), p=0.5):
  """gaussian_blur with sigma uniform in the given range, with probability p for each image."""
  shape, (key_p, key_sigma) = image.shape[:-3], jax.random.split(key)
  chosen = jax.random.bernoulli(key_p, p, shape)
  drawn = jax.random.uniform(key_sigma, shape, image.dtype, *sigma)
  return jnp.where(chosen[..., None, None, None], gaussian_blur(image, drawn, kernel_size=kernel_size), image)
