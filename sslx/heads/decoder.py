"""Pixel decoders: from what any encoder gives back to an image."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Decoder(nn.Module):
  """Pixels of size = (H, W, C) from a representation [B, D] or a grid [B, h, w, D]: doublings and 3x3 convolutions.

  A representation first becomes a grid of at most 4x4. The last doubling has `width` channels, the ones before it twice
  as many each, to 8 times. The image is linear and never below float32.

  spread: first a dense layer over the places of each channel of the grid, the same for no two (Pathak et al., 2016).
  """
  size: tuple
  width: int = 32
  norm: bool = True
  spread: bool = False
  axis_name: Any = None

  @nn.compact
  def __call__(self, x, train=False):
    wide, (H, W, C) = jnp.result_type(float), self.size
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    at = lambda i: (-(-H // 2**i), -(-W // 2**i))                                       # the sides, i doublings before
    channels = lambda i: self.width * 2 ** min(i, 3)
    if x.ndim == 2:
      doublings = max(0, math.ceil(math.log2(max(H, W) / 4)))
      h, w = at(doublings)
      x = nn.Dense(h * w * channels(doublings), param_dtype=wide, name="dense")(x)
      x = nn.relu(x.reshape(-1, h, w, channels(doublings)))
    else:
      if self.spread:
        places, full = x.shape[1] * x.shape[2], x.shape
        init = nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
        across = self.param("across", init, (x.shape[-1], places, places), wide)
        x = nn.relu(jnp.einsum("bpc,cpq->bqc", x.reshape(len(x), places, -1), across).reshape(full))
      doublings = max(0, math.ceil(math.log2(max(H / x.shape[1], W / x.shape[2]))))
    for i in reversed(range(doublings)):
      x = jax.image.resize(x, (len(x), *at(i), x.shape[-1]), "bilinear")
      x = nn.Conv(channels(i), (3, 3), use_bias=not self.norm, param_dtype=wide, name=f"conv{doublings - i}")(x)
      if self.norm:
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, param_dtype=wide, name=f"norm{doublings - i}",
                         axis_name=self.axis_name if train else None)(x)
      x = nn.relu(x)
    if x.shape[1:3] != (H, W):
      x = jax.image.resize(x, (len(x), H, W, x.shape[-1]), "bilinear")
    return nn.Conv(C, (3, 3), param_dtype=wide, name="pixels")(x)
