"""VGG (Simonyan & Zisserman, 2015), the convolutions of torchvision's: its three dense layers are left out."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx.augment.color import normalize

BLOCKS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
VARIANTS = {  # name: (convolutions a stage, batch norm)
    name + ending: (blocks, bool(ending)) for name, blocks in BLOCKS.items() for ending in ("", "_bn")}


def make(variant, *, width=64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype=None, axis_name=None):
  """A VGG of `variant` = (convolutions a stage, batch norm); D = 8 * width.

  Args:
    width: channels of the first stage.
    mean, std: of the image in [0, 1].
    dtype: of activations and products; None keeps that of the parameters.
    axis_name: axis over which batch statistics are shared under pmap and shard_map; under jit they are global anyway.
  """
  return VGG(*variant, width, tuple(mean), tuple(std), dtype, axis_name)


class VGG(nn.Module):
  blocks: tuple
  norm: bool
  width: int
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
    x = normalize(x, self.mean, self.std)
    for stage, count in enumerate(self.blocks, 1):
      for i in range(1, count + 1):
        x = nn.Conv(self.width * 2 ** min(stage - 1, 3), (3, 3), dtype=self.dtype, param_dtype=wide,
                    kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal", dtype=wide),
                    name=f"stage{stage}_conv{i}")(x)
        if self.norm:
          x = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype,
                           param_dtype=wide, axis_name=self.axis_name if train else None,
                           name=f"stage{stage}_norm{i}")(x)
        x = nn.relu(x)
      x = out[f"stage{stage}"] = nn.max_pool(x, (2, 2), (2, 2), "SAME")                  # never smaller than 1x1
    return out | {"grid": x, "pooled": jnp.mean(x, (1, 2))}
