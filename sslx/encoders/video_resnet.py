"""R(2+1)D (Tran et al., 2018), in torchvision's form: every 3-D convolution is one over space, then one over time."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.augment.color import normalize

VARIANTS = {"r2plus1d_10": (1, 1, 1, 1), "r2plus1d_18": (2, 2, 2, 2), "r2plus1d_34": (3, 4, 6, 3)}   # blocks a stage
STEMS = ("video", "small")


def make(variant, *, width=64, stem="video", strides=(1, 2, 2, 2), mean=(0.432, 0.395, 0.376),
         std=(0.228, 0.221, 0.217), dtype=None):
  """An R(2+1)D of `variant` = blocks a stage; D = 8 * width.

  Args:
    width: channels of the first stage.
    stem: "video" (7x7 stride 2 over space) or "small" (3x3 stride 1), for frames of 64 pixels or less.
    strides: over time, one a stage; all 1 for clips of few frames.
    mean, std: of frames in [0, 1]; by default those of Kinetics-400. See resnet.make.
    dtype: of activations and products; None keeps that of the parameters.
  """
  if stem not in STEMS:
    raise errors.unknown("stem", stem, STEMS)
  if len(strides) != len(variant):
    raise errors.UsageError(f"strides are {tuple(strides)}: one over time for each of the {len(variant)} stages")
  return VideoResNet(variant, width, stem, tuple(strides), tuple(mean), tuple(std), dtype)


class VideoResNet(nn.Module):
  stages: tuple
  width: int
  stem: str
  strides: tuple
  mean: tuple
  std: tuple
  dtype: Any = None

  def __call__(self, x, train=False):
    """x [B, T, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    """x [B, T, H, W, C] in [0, 1] -> {"stage1" .. "stage4" and "grid" [B, t, h, w, Di], "pooled" [B, D]}.

    "frames" [B, t, D] is the mean over space at each time; "tokens" are the same.
    """
    wide = jnp.result_type(float)
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal", dtype=wide)
    space = functools.partial(_over_space, functools.partial(
        nn.Conv, use_bias=False, dtype=self.dtype, param_dtype=wide, kernel_init=init))
    time = functools.partial(_over_time, functools.partial(
        nn.Dense, use_bias=False, dtype=self.dtype, param_dtype=wide, kernel_init=init))
    norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype,
                             param_dtype=wide)
    x = normalize(x, self.mean, self.std)
    kernel, stride = (7, 2) if self.stem == "video" else (3, 1)
    x = nn.relu(norm(name="stem_norm1")(space(x, self.width * 45 // 64 or 1, kernel, stride, "stem_space")))
    x = nn.relu(norm(name="stem_norm2")(time(x, self.width, 1, "stem_time")))
    out = {}
    for stage, (count, over) in enumerate(zip(self.stages, self.strides, strict=True)):
      for i in range(count):
        name, width = f"stage{stage + 1}_block{i + 1}", self.width * 2**stage
        across, along = (2 if stage else 1, over) if i == 0 else (1, 1)
        inner, y = 27 * x.shape[-1] * width // (9 * x.shape[-1] + 3 * width), x    # as many weights as in 3x3x3
        for j, (s, t) in enumerate(((across, along), (1, 1)), 1):
          y = nn.relu(norm(name=f"{name}_space_norm{j}")(space(y, inner, 3, s, f"{name}_space{j}")))
          y = norm(name=f"{name}_norm{j}")(time(y, width, t, f"{name}_time{j}"))
          y = nn.relu(y) if j == 1 else y
        if x.shape[-1] != width or across > 1 or along > 1:
          x = norm(name=f"{name}_skip_norm")(space(x[:, ::along], width, 1, across, f"{name}_skip"))
        x = nn.relu(x + y)
      out[f"stage{stage + 1}"] = x
    frames = jnp.mean(x, (2, 3))
    return out | {"grid": x, "frames": frames, "tokens": frames, "pooled": jnp.mean(frames, 1)}


def _over_space(conv, x, width, kernel, stride, name):
  """A 2-D convolution of each frame of x [B, T, h, w, C]: time goes into the batch."""
  B, T = x.shape[:2]
  y = conv(width, (kernel, kernel), stride, padding=kernel // 2, name=name)(x.reshape(B * T, *x.shape[2:]))
  return y.reshape(B, T, *y.shape[1:])


def _over_time(dense, x, width, stride, name):
  """A convolution of x [B, T, h, w, C] over three frames: one product, as 3-D convolutions are slow on CPUs.

  Its kernel is [3 C, width]: the frame before, the frame, the frame after.
  """
  T = x.shape[1]
  x = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
  return dense(width, name=name)(jnp.concatenate([x[:, i:i + T:stride] for i in range(3)], -1))
