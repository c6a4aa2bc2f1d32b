"""A product of matrices: an encoder of a user's own that is compiled soon, and has no convolution."""

import flax.linen as nn
import jax.numpy as jnp


class Small(nn.Module):
  width: int

  @nn.compact
  def __call__(self, x, train=False):
    return nn.relu(nn.Dense(self.width, param_dtype=jnp.result_type(float))(x.reshape(len(x), -1)))


def make(*, width=8):
  return Small(width)
