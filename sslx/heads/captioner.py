"""VirTex's textual head (Desai and Johnson, 2021): the words of a caption from an image's grid, both ways."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx.encoders.attention import attend
from sslx.encoders.layers import Dense
from sslx.encoders.vit import Block

SMALL = nn.initializers.normal(0.02)


class Cross(nn.Module):
  """Cross-attention (Vaswani et al., 2017), a branch: x [B, T, D] looks at seen [B, S, D] -> [B, T, D]."""
  heads: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x, seen, dropout=None):
    """dropout: share of the branch's numbers that are dropped."""
    wide, width = jnp.result_type(float), x.shape[-1]
    dense = lambda n, name: Dense(n, dtype=self.dtype, param_dtype=wide, name=name,
                                  kernel_init=nn.initializers.xavier_uniform())
    split = lambda y, n: [a.reshape(*a.shape[:2], self.heads, width // self.heads) for a in jnp.split(y, n, -1)]
    q, = split(dense(width, "q")(nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name="norm")(x)), 1)
    k, v = split(dense(2 * width, "kv")(seen), 2)
    y = dense(width, "proj")(attend(q, k, v).reshape(x.shape))
    return x + (y if dropout is None else nn.Dropout(dropout, deterministic=False)(y))


class Captioner(nn.Module):
  """Scores of the next token from those before it and an image; ids 1 to V - 1 are tokens, 0 is start and end.

  Embeddings of tokens and places, the projection of the image and the output, whose weights are the embedding's, serve
  both directions; each has `depth` layers of its own: masked self-attention, cross-attention, MLP, pre-norm.

  vocab, width, heads: V, D, and of attention; heads must divide the width. directions: their layers' names.
  dropout: share of the embedding's and of each branch's numbers that are dropped in training.
  """
  vocab: int
  width: int = 256
  depth: int = 1
  heads: int = 4
  dropout: float = 0.1
  directions: tuple = ("forward", "backward")
  dtype: Any = None

  def setup(self):
    wide = jnp.result_type(float)
    self.image = Dense(self.width, dtype=self.dtype, param_dtype=wide)
    self.embed = self.param("embed", SMALL, (self.vocab, self.width), wide)
    self.bias = self.param("bias", nn.initializers.zeros, (self.vocab,), wide)
    options = {"heads": self.heads, "dtype": self.dtype}
    self.layers = {d: [(Cross(**options), Block(**options)) for _ in range(self.depth)] for d in self.directions}
    self.norms = {d: nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide)
                  for d in self.directions}

  def __call__(self, grid, ids, train=False):
    """grid [B, h, w, C], ids {direction: [B, T]} -> {direction: [B, T, V]}: at each place the scores of its token."""
    seen = self.seen(grid)
    return {d: self.scores(seen, x, d, train=train) for d, x in ids.items()}

  def seen(self, grid):
    """What cross-attention looks at: [B, h, w, C] -> [B, h w, D]."""
    return self.image(grid.reshape(len(grid), -1, grid.shape[-1]))

  @nn.compact
  def scores(self, seen, ids, direction="forward", at=None, train=False):
    """Scores [B, T, V], never below float32, of the tokens ids [B, T]; those of one place `at` alone, [B, V], if given.

    Each is read from the image and from the tokens before it; what stands at its place or behind changes nothing. There
    are learnt positions for as many places as there were when the parameters were made.
    """
    wide = jnp.result_type(float)
    before = jnp.pad(ids[:, :-1], ((0, 0), (1, 0)))                                     # the start is a 0
    places = self.param("places", SMALL, (ids.shape[1], self.width), wide)
    x = (jnp.take(self.embed, before, 0) + places).astype(self.dtype or wide)
    drop = self.dropout if self.dropout and train and self.has_rng("dropout") else None
    x = x if drop is None else nn.Dropout(drop, deterministic=False)(x)
    mask = jnp.tri(ids.shape[1], dtype=bool)[None]
    for cross, block in self.layers[direction]:
      x = block(x, mask=mask, dropout=drop, between=lambda x, cross=cross: cross(x, seen, drop))
    x = x if at is None else jnp.take(x, at, 1)
    x = self.norms[direction](x).astype(jnp.promote_types(x.dtype, jnp.float32))
    return x @ self.embed.T + self.bias
