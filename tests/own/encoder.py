"""A convolution and a mean: an encoder of a user's own."""

import flax.linen as nn
import jax.numpy as jnp


class Small(nn.Module):
  width: int

  def __call__(self, x, train=False):
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    wide = jnp.result_type(float)
    x = nn.Conv(self.width, (3, 3), 2, param_dtype=wide)(x)
    x = nn.relu(nn.BatchNorm(use_running_average=not train, param_dtype=wide)(x))
    return {"stage1": x, "grid": x, "pooled": jnp.mean(x, (1, 2))}


def make(*, width=8):
  return Small(width)
