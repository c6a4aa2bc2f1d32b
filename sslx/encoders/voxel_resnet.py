"""A residual network on voxel grids, with the stem of VoxNet (Maturana and Scherer, 2015) and halving stages."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.augment.color import normalize

VARIANTS = {"voxel_resnet6": (1, 1), "voxel_resnet8": (1, 1, 1), "voxel_resnet14": (2, 2, 2)}     # blocks a stage
STEMS = {"voxnet": (5, 2), "small": (3, 1)}                  # kernel and stride


def make(variant, *, width=32, stem="voxnet", mean=(0.0,), std=(1.0,), dtype=None, axis_name=None):
  """A voxel ResNet of `variant` = blocks a stage; every stage halves the grid and doubles the channels.

  Args:
    width: channels of the stem; D = width times 2 to the number of stages.
    stem: "voxnet" (5x5x5 stride 2) or "small" (3x3x3 stride 1), for grids of a side of 8 or so.
    mean, std: of voxels in [0, 1]. dtype, axis_name: see resnet.make.
  """
  if stem not in STEMS:
    raise errors.unknown("stem", stem, STEMS)
  return VoxelResNet(variant, width, stem, tuple(mean), tuple(std), dtype, axis_name)


class VoxelResNet(nn.Module):
  stages: tuple
  width: int
  stem: str
  mean: tuple
  std: tuple
  dtype: Any = None
  axis_name: Any = None

  def __call__(self, x, train=False):
    """x [B, D, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    """x [B, D, H, W, C] in [0, 1] -> {"stage1", ... and "grid" [B, d, h, w, Di], "pooled" [B, D]}."""
    wide = jnp.result_type(float)
    conv = functools.partial(_conv, functools.partial(
        nn.Conv, use_bias=False, dtype=self.dtype, param_dtype=wide,
        kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal", dtype=wide)))
    norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype,
                             param_dtype=wide, axis_name=self.axis_name if train else None)
    x = normalize(x, self.mean, self.std)
    x = nn.relu(norm(name="stem_norm")(conv(x, self.width, *STEMS[self.stem], "stem_conv")))
    out = {}
    for stage, count in enumerate(self.stages, 1):
      for i in range(count):
        name, width, stride = f"stage{stage}_block{i + 1}", self.width * 2**stage, 1 if i else 2
        y = nn.relu(norm(name=f"{name}_norm1")(conv(x, width, 3, stride, f"{name}_conv1")))
        y = norm(name=f"{name}_norm2")(conv(y, width, 3, 1, f"{name}_conv2"))
        if stride > 1:
          x = norm(name=f"{name}_skip_norm")(conv(x, width, 1, stride, f"{name}_skip_conv"))
        x = nn.relu(x + y)
      out[f"stage{stage}"] = x
    return out | {"grid": x, "pooled": jnp.mean(x, (1, 2, 3))}


def _conv(conv, x, width, kernel, stride, name):
  """A 3-D convolution of x [B, D, H, W, C], as one over H and W of neighbouring layers side by side: faster on CPUs.

  Its kernel is [k, k, k C, width]: the k layers before, at and after each place, one after the other in its channels.
  """
  B, D, pad = *x.shape[:2], kernel // 2
  x = jnp.pad(x, ((0, 0), (pad, pad), (0, 0), (0, 0), (0, 0)))
  x = jnp.concatenate([x[:, i:i + D:stride] for i in range(kernel)], -1)
  y = conv(width, (kernel, kernel), stride, padding=pad, name=name)(x.reshape(-1, *x.shape[2:]))
  return y.reshape(B, -1, *y.shape[1:])
