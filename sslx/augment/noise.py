"""Noise, drawn for each pixel. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp

from sslx.augment.color import sometimes, wide
from sslx.augment.exact import rounded, uniform


def gaussian_noise(key, image, *, std=0.1):
  """Adds normal noise to every value and clips to [0, 1]; std a scalar or one an image."""
  noise = jax.random.normal(key, image.shape, image.dtype)
  return jnp.clip(image + rounded(wide(std, image) * noise), 0, 1)


def random_gaussian_noise(key, image, *, std=(0.0, 0.2), p=0.5):
  """gaussian_noise with std uniform in the given range, with probability p for each image."""
  key_p, key_std, key_noise = jax.random.split(key, 3)
  drawn = uniform(key_std, image.shape[:-3], image.dtype, *std)
  return sometimes(key_p, p, gaussian_noise(key_noise, image, std=drawn), image)


def salt_and_pepper(key, image, *, amount=0.05):
  """Turns a share `amount` of the pixels, a scalar or one an image, white or black, all channels alike."""
  drawn, amount = jax.random.uniform(key, (*image.shape[:-1], 1), image.dtype), wide(amount, image)
  return jnp.where(drawn < amount, (drawn < amount / 2).astype(image.dtype), image)


def random_salt_and_pepper(key, image, *, amount=(0.0, 0.1), p=0.5):
  """salt_and_pepper with an amount uniform in the given range, with probability p for each image."""
  key_p, key_amount, key_noise = jax.random.split(key, 3)
  drawn = uniform(key_amount, image.shape[:-3], image.dtype, *amount)
  return sometimes(key_p, p, salt_and_pepper(key_noise, image, amount=drawn), image)
