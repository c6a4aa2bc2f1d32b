"""Token decoders: what the patches at some places hold, from the tokens at others."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx.encoders import positions, vit
from sslx.encoders.layers import Dense


class TokenDecoder(nn.Module):
  """A light transformer (He et al., 2022): learnt tokens at the places asked for look at the tokens that are seen.

  Sine-cosine positions of `base`, as the encoder's; width must be divisible by 4 and by heads.
  out: width K of the answers, which are linear and never below float32.
  """
  out: int
  width: int = 512
  depth: int = 8
  heads: int = 16
  dtype: Any = None
  base: float = 10000.0

  @nn.compact
  def __call__(self, x, seen, asked, grid, train=False):
    """x [B, F + N, D], the last N at the places seen [B, N]; asked [B, M] -> [B, M, K].

    grid: (h, w), or (t, h, w) of clips.
    """
    wide = jnp.result_type(float)
    dense = lambda n, name, dtype: Dense(n, dtype=dtype, param_dtype=wide, name=name,
                                         kernel_init=nn.initializers.xavier_uniform())
    x = dense(self.width, "embed", self.dtype)(x)                                       # [B, F + N, width]
    table = positions.sincos_2d if len(grid) == 2 else positions.sincos_3d
    places = jnp.asarray(table(*grid, self.width, self.base), x.dtype)
    first = x.shape[1] - seen.shape[1]                                                  # class token, registers
    fill = self.param("fill", nn.initializers.normal(0.02), (self.width,), wide).astype(x.dtype)
    x = jnp.concatenate([x[:, :first], x[:, first:] + places[seen], fill + places[asked]], 1)
    for i in range(self.depth):
      x = vit.Block(self.heads, self.dtype, name=f"block{i + 1}")(x)
    x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name="norm")(x[:, -asked.shape[1]:])
    return dense(self.out, "out", None)(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
