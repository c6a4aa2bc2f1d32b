"""AlexNet (Krizhevsky, 2014), the convolutions of torchvision's: its three dense layers are left out."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.augment.color import normalize

VARIANTS = {"alexnet": (64, 192, 384, 256, 256)}             # channels


def make(variant, *, stem="imagenet", norm=False, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype=None,
         axis_name=None):
  """An AlexNet of `variant`, the channels of its five convolutions; D = the last.

  Args:
    stem: "imagenet" (11x11 stride 4) or "small" (5x5 stride 1), for images of 64 pixels or less.
    norm: batch norm after every convolution, as self-supervision uses it.
    mean, std: of the image in [0, 1].
    dtype: of activations and products; None keeps that of the parameters.
    axis_name: axis over which batch statistics are shared under pmap and shard_map; under jit they are global anyway.
  """
  if stem not in ("imagenet", "small"):
    raise errors.unknown("stem", stem, ("imagenet", "small"))
  return AlexNet(tuple(variant), stem, norm, tuple(mean), tuple(std), dtype, axis_name)


def pool(x):
  """3x3 of stride 2; an even side gains a row of nothing, so that small maps keep their last pixels."""
  if min(x.shape[1:3]) < 2:
    return x
  return nn.max_pool(x, (3, 3), (2, 2), ((0, 1), (0, 1)))


class AlexNet(nn.Module):
  channels: tuple
  stem: str
  norm: bool
  mean: tuple
  std: tuple
  dtype: Any = None
  axis_name: Any = None

  def __call__(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> {"stage1" .. "stage5" and "grid" [B, h, w, Di], "pooled" [B, D]}."""
    wide, out = jnp.result_type(float), {}
    first = (11, 4, 2) if self.stem == "imagenet" else (5, 1, 2)
    plan = (first, (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))                          # side, stride, padding
    x = normalize(x, self.mean, self.std)
    for i, (width, (side, stride, padding)) in enumerate(zip(self.channels, plan, strict=True), 1):
      x = nn.Conv(width, (side, side), stride, padding=padding, dtype=self.dtype, param_dtype=wide, name=f"conv{i}",
                  kernel_init=nn.initializers.variance_scaling(2.0, "fan_in", "normal", dtype=wide))(x)
      if self.norm:
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype, param_dtype=wide,
                         axis_name=self.axis_name if train else None, name=f"norm{i}")(x)
      x = nn.relu(x)
      x = out[f"stage{i}"] = pool(x) if i in (1, 2, 5) else x
    return out | {"grid": x, "pooled": jnp.mean(x, (1, 2))}
