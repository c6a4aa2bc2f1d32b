"""PointNet (Qi et al., 2017): the same layers for every point, then the maximum over points, whatever their order."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.encoders.layers import Dense

VARIANTS = {"pointnet": (1, 1, 1, 2, 16)}                    # of the layers' widths
TRANSFORM = (1, 2, 16), (8, 4)                               # of the layers before and after the T-net's maximum


def make(variant, *, width=64, transform=False, dtype=None, axis_name=None):
  """A PointNet of `variant` = widths of its layers, in units of `width`; D = 16 * width.

  Args:
    width: of the first layer.
    transform: the input transform, a T-net that turns the points by a 3x3 matrix of its own, the identity at first.
    dtype, axis_name: see resnet.make.
  """
  return PointNet(variant, width, transform, dtype, axis_name)


class PointNet(nn.Module):
  layers: tuple
  width: int
  transform: bool = False
  dtype: Any = None
  axis_name: Any = None

  def __call__(self, x, train=False):
    """x [B, M, 3] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    """x [B, M, 3] -> {"stage1" .. "stage5" and "tokens" [B, M, Di], of each point, "pooled" [B, D]}."""
    if not jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating) or x.shape[-1] != 3:
      raise errors.UsageError(f"points are {x.dtype} {list(x.shape)}: floats [B, M, 3] are needed, in the unit sphere")
    wide = jnp.result_type(float)
    dense = functools.partial(Dense, dtype=self.dtype, param_dtype=wide)
    norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype,
                             param_dtype=wide, axis_name=self.axis_name if train else None)
    layer = lambda x, units, name: nn.relu(norm(name=f"{name}_norm")(dense(
        units * self.width, use_bias=False, name=name)(x)))
    if self.transform:
      before, after = TRANSFORM
      y = x
      for i, units in enumerate(before, 1):
        y = layer(y, units, f"transform{i}")
      y = jnp.max(y, 1)
      for i, units in enumerate(after, len(before) + 1):
        y = layer(y, units, f"transform{i}")
      change = dense(9, kernel_init=nn.initializers.zeros, name="transform")(y).reshape(-1, 3, 3)
      x = x @ (jnp.eye(3, dtype=x.dtype) + change.astype(x.dtype))
    out = {}
    for i, units in enumerate(self.layers, 1):
      x = out[f"stage{i}"] = layer(x, units, f"layer{i}")
    return out | {"tokens": x, "pooled": jnp.max(x, 1)}
