"""Transformer over tokens (Vaswani et al., 2017), pre-norm: both ways as in BERT, or one as in GPT (`causal`)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.encoders.positions import angles_1d
from sslx.encoders.vit import Block

VARIANTS = {  # name: (width, depth, heads)
    "text_ti": (192, 6, 3), "text_s": (384, 6, 6), "text_m": (512, 8, 8), "text_b": (768, 12, 12)}


def make(variant, *, vocab=0, width=0, depth=0, heads=0, hidden=0, pool="mean", causal=False, position="rotary",
         length=512, mlp="gelu", qk_norm=False, dropout=0.1, dtype=None):
  """A transformer of `variant` = (width, depth, heads) over ids [B, T], of which 0 is padding; D = width.

  Padding is seen by no token and counts in no mean: more of it changes nothing.

  Args:
    vocab: number of ids, padding among them; 0 for bytes' 257 or, in a run, for those of data.tokenizer.
    width, depth, heads: 0 for the variant's own; heads must divide the width.
    hidden: the MLP's width; 0 for four times the width.
    pool: "mean" (of the tokens), "token" (a class token before them, after the last norm) or "last" (token).
    causal: no token sees those after it.
    position: "rotary" (Su et al., 2021), "learned", or "none".
    length: the most tokens that learned positions are for.
    mlp: "gelu", "gelu_tanh" or "swiglu"; qk_norm: layer norm of queries and keys; both as of the ViT.
    dropout: share of the embedding's and of each branch's numbers that are dropped in training.
    dtype: of activations and products; None keeps that of the parameters. Softmax and norms are never below float32.
  """
  for name, value, allowed in (("pool", pool, ("mean", "token", "last")), ("mlp", mlp, ("gelu", "gelu_tanh", "swiglu")),
                               ("position", position, ("rotary", "learned", "none"))):
    if value not in allowed:
      raise errors.unknown(name, value, allowed)
  if causal and pool == "token":
    raise errors.UsageError("encoder.pool=token: a class token before the text sees none of it in a causal encoder: "
                            "set encoder.pool to last or mean")
  width, depth, heads = (mine or own for mine, own in zip((width, depth, heads), variant, strict=True))
  if width % heads or (position == "rotary" and width // heads % 2):
    raise errors.UsageError(f"a transformer of width {width} with {heads} heads: heads must divide the width, into "
                            "even parts if positions are rotary")
  if not 0 <= dropout < 1:
    raise errors.UsageError(f"encoder.dropout is {dropout:g}: it must be from 0 to below 1")
  block = {"heads": heads, "dtype": dtype, "hidden": hidden, "mlp": mlp, "qk_norm": qk_norm}
  return Text(vocab or 257, width, depth, pool, causal, position, length, dropout, tuple(block.items()), dtype)


class Text(nn.Module):
  vocab: int
  width: int
  depth: int
  pool: str
  causal: bool
  position: str
  length: int
  dropout: float
  block: tuple
  dtype: Any = None

  def __call__(self, x, train=False):
    """ids [B, T] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False, mask=None, fill=None):
    """ids [B, T] -> {"stage1" .. (one a block) and "tokens" [B, T, D], "pooled" [B, D]}.

    With a class token `tokens` and stages have it first, T + 1 then. mask, fill: where mask [B, T] is True, the token's
    embedding is `fill` [D].
    """
    if not jnp.issubdtype(x.dtype, jnp.integer):
      raise errors.UsageError(f"a text encoder reads ids, integers [B, T]; these are {x.dtype} {list(x.shape)}")
    wide, small, (B, T) = jnp.result_type(float), nn.initializers.normal(0.02), x.shape
    real = x != 0                                                                       # [B, T]
    embed = self.param("embed", small, (self.vocab, self.width), wide)
    x = jnp.take(embed, x, 0).astype(self.dtype or wide)
    if mask is not None:
      x = jnp.where(mask[..., None], fill.astype(x.dtype), x)
    if self.pool == "token":
      token = self.param("token", small, (1, 1, self.width), wide)
      x = jnp.concatenate([jnp.broadcast_to(token, (B, 1, self.width)).astype(x.dtype), x], 1)
      real = jnp.pad(real, ((0, 0), (1, 0)), constant_values=True)
    if self.position == "learned":
      if self.length < T:
        raise errors.UsageError(f"text of {T} tokens on positions for {self.length}: set encoder.length")
      place = self.param("positions", small, (int(self.pool == "token") + self.length, self.width), wide)
      x = x + place[:x.shape[1]].astype(x.dtype)
    turn = angles_1d(x.shape[1], self.width // dict(self.block)["heads"])[None] if self.position == "rotary" else None
    seen = real[:, None]                                                                # [B, 1, T]
    seen = seen & jnp.tri(x.shape[1], dtype=bool) if self.causal else seen              # [B, T, T]
    drop = self.dropout if self.dropout and train and self.has_rng("dropout") else None
    x = x if drop is None else nn.Dropout(drop, deterministic=False)(x)
    stages = {}
    for i in range(1, self.depth + 1):
      x = stages[f"stage{i}"] = Block(**dict(self.block), name=f"block{i}")(x, turn, mask=seen, dropout=drop)
    x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name="norm")(x)
    return {**stages, "tokens": x, "pooled": self.pooled(x, real)}

  def pooled(self, x, real):
    """The representation [B, D] of tokens x [B, T, D], of which those are `real` [B, T] that are no padding."""
    if self.pool == "token":
      return x[:, 0]
    if self.pool == "last":
      last = jnp.max(jnp.where(real, jnp.arange(x.shape[1]), 0), 1)
      return jnp.take_along_axis(x, last[:, None, None], 1)[:, 0]
    share = real / jnp.maximum(real.sum(1, keepdims=True), 1)                           # [B, T]
    return jnp.einsum("bt,btd->bd", share.astype(x.dtype), x)
