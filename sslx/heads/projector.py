"""Projectors and predictors: multi-layer perceptrons."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp


class MLP(nn.Module):
  """Dense layers of `widths` with an activation of flax.linen between.

  Batch norm follows all layers but the last, or the last too (there without scale and shift).
  x [B, D] -> [B, widths[-1]], never below float32.
  """
  widths: tuple
  norm: bool = False
  last_norm: bool = False
  dtype: Any = None
  axis_name: Any = None
  activation: str = "relu"

  @nn.compact
  def __call__(self, x, train=False):
    wide = jnp.result_type(float)
    for i, width in enumerate(self.widths, 1):
      last = i == len(self.widths)
      normed = self.last_norm if last else self.norm
      x = nn.Dense(width, use_bias=not normed, dtype=self.dtype, param_dtype=wide, name=f"dense{i}")(x)
      if normed:
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype, param_dtype=wide,
                         use_scale=not last, use_bias=not last, axis_name=self.axis_name if train else None,
                         name=f"norm{i}")(x)
      x = x if last else getattr(nn, self.activation)(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
