"""Upscalers: a small image larger, with an encoder's maps of it."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def pixel_shuffle(x, factor):
  """[B, h, w, C factor^2] -> [B, h factor, w factor, C]; each place becomes a square (Shi et al., 2016)."""
  *batch, h, w, channels = x.shape
  x = x.reshape(*batch, h, w, factor, factor, channels // factor**2)
  return jnp.moveaxis(x, -3, -4).reshape(*batch, h * factor, w * factor, channels // factor**2)


class Upscaler(nn.Module):
  """SRResNet's generator (Ledig et al., 2017) on an encoder's maps: x [B, h, w, C] -> [B, h factor, w factor, C].

  The maps, coarse to fine, are added up at the size of x; residual blocks, a skip past them, and a pixel shuffle for
  each doubling follow. What comes out is added to x enlarged bicubically, and is zero at first.
  """
  factor: int
  width: int = 64
  blocks: int = 4
  norm: bool = True
  axis_name: Any = None

  @nn.compact
  def __call__(self, x, maps, train=False):
    wide, C = jnp.result_type(float), x.shape[-1]
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    conv = lambda channels, side, name, **options: nn.Conv(
        channels, (side, side), param_dtype=wide, name=name, **options)
    norm = lambda y, name: nn.BatchNorm(
        use_running_average=not train, momentum=0.9, param_dtype=wide, name=name,
        axis_name=self.axis_name if train else None)(y) if self.norm else y
    prelu = lambda y, name: nn.PReLU(param_dtype=wide, negative_slope_init=0.25, name=name)(y)
    to = lambda y, size: jax.image.resize(y, (*y.shape[:1], *size, y.shape[-1]), "bilinear")
    first = y = prelu(conv(self.width, 9, "first")(x), "first_prelu")
    seen = 0
    for i, m in enumerate(sorted(maps, key=lambda m: m.shape[1])):                      # the coarsest first
      lateral = conv(self.width, 1, f"lateral{i + 1}")(m.astype(x.dtype))
      seen = lateral + (to(seen, lateral.shape[1:3]) if i else 0)
    y = y + to(seen, x.shape[1:3])
    for i in range(self.blocks):
      z = prelu(norm(conv(self.width, 3, f"block{i + 1}_conv1")(y), f"block{i + 1}_norm1"), f"block{i + 1}_prelu")
      y = y + norm(conv(self.width, 3, f"block{i + 1}_conv2")(z), f"block{i + 1}_norm2")
    y = first + norm(conv(self.width, 3, "after")(y), "after_norm")
    for i in range(round(math.log2(self.factor))):
      y = prelu(pixel_shuffle(conv(4 * self.width, 3, f"double{i + 1}")(y), 2), f"double{i + 1}_prelu")
    enlarged = jax.image.resize(x, (len(x), *y.shape[1:3], C), "cubic", antialias=False)
    return enlarged + 0.1 * conv(C, 3, "pixels", kernel_init=nn.initializers.zeros)(y)  # a tenth, for calm first steps
