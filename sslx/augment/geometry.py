"""Geometry. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp


def flip_left_right(image):
  """The mirror image."""
  return image[..., :, ::-1, :]


def random_flip_left_right(key, image, *, p=0.5):
  """flip_left_right with probability p for each image."""
  chosen = jax.random.bernoulli(key, p, image.shape[:-3])
  return jnp.where(chosen[..., None, None, None], flip_left_right(image), image)
