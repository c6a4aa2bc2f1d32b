"""Vision transformer (Dosovitskiy et al., 2021), pre-norm, with the sine-cosine positions of MoCo v3 and MAE."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors
from sslx.augment.color import normalize
from sslx.encoders.attention import attend
from sslx.encoders.convolution import patched
from sslx.encoders.layers import Dense, gelu
from sslx.encoders.positions import angles_2d, resized, sincos_2d, turned

VARIANTS = {  # name: (width, depth, heads), and the MLP's hidden width where it is not four times the width
    "vit_ti": (192, 12, 3), "vit_s": (384, 12, 6), "vit_b": (768, 12, 12), "vit_l": (1024, 24, 16),
    "vit_h": (1280, 32, 16), "vit_g": (1408, 40, 16, 6144)}


def make(variant, *, patch=16, width=0, depth=0, heads=0, pool="token", class_token=False, norm="tokens",
         position="sincos", base=10000.0, grid=0, rotary=False, registers=0, mlp="gelu", layer_scale=0.0,
         drop_path=0.0, qk_norm=False, remat=False, scan=False, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
         dtype=None):
  """A ViT of `variant` = (width, depth, heads); D = width.

  Args:
    patch: side of a patch in pixels; it must divide the image's sides.
    width, depth, heads: 0 for the variant's own; heads must divide the width.
    pool: "token" (the class token after the last norm) or "mean" (of the patch tokens).
    class_token: whether there is one where the mean is pooled, too, as in MAE.
    norm: the last one is of the "tokens", or of their mean, "pooled"; the grid is without it then.
    position: "sincos", "learned" or "none". Learned ones are resized to images of another size.
    base: of sine-cosine positions, whose waves are 2 pi to 2 pi times it long, in patches; on grids of few patches 10
      tells neighbours apart where 10,000 hardly does.
    grid: side of the grid of learned positions, to be set where views are smaller than the images; 0 for the images'.
    rotary: turn queries and keys by their places along y and x (Heo et al., 2024, axial).
    registers: number of extra tokens that are thrown away at the end (Darcet et al., 2024).
    mlp: "gelu", its approximation "gelu_tanh", or "swiglu" (Shazeer, 2020) at two thirds of the hidden width.
    layer_scale: initial value of a factor a channel on each branch (Touvron et al., 2021); 0 for none.
    drop_path: probability that an example skips the last block's branches, rising from 0 at the first one's.
    qk_norm: layer norm of queries and keys in each head (Dehghani et al., 2023).
    remat: compute activations again in the backward pass, a block at a time: less memory, more time.
    scan: one compiled block for all, its parameters stacked in "blocks": deep models compile fast.
    mean, std: of the image in [0, 1].
    dtype: of activations and products; None keeps that of the parameters. Softmax and norms are never below float32.
  """
  for name, value, allowed in (("pool", pool, ("token", "mean")), ("position", position, ("sincos", "learned", "none")),
                               ("mlp", mlp, ("gelu", "gelu_tanh", "swiglu")), ("norm", norm, ("tokens", "pooled"))):
    if value not in allowed:
      raise errors.unknown(name, value, allowed)
  own_width, own_depth, own_heads, *hidden = variant
  if (pool, norm) == ("token", "pooled"):
    raise errors.UsageError("encoder.norm=pooled is of the mean of the tokens: set encoder.pool to mean")
  width, heads = width or own_width, heads or own_heads
  if width % (4 if position == "sincos" else 1) or width % heads or (rotary and width // heads % 4):
    raise errors.UsageError(f"a ViT of width {width} with {heads} heads: heads must divide the width, and 4 divide the "
                            "width (sine-cosine positions) or the width of a head (rotary ones)")
  hidden = hidden[0] if hidden and width == own_width else 4 * width
  block = {"heads": heads, "dtype": dtype, "hidden": hidden, "mlp": mlp, "layer_scale": layer_scale, "qk_norm": qk_norm}
  return ViT(width, depth or own_depth, patch, pool, position, grid, rotary, registers, drop_path, remat, scan,
             tuple(block.items()), tuple(mean), tuple(std), dtype, base, pool == "token" or class_token, norm)


def attention(encoder, variables, x):
  """How much the class token looks at each patch in a ViT's last block: images [B, H, W, C] -> [B, heads, h, w]."""
  if encoder.pool != "token":
    raise errors.UsageError("this ViT has no class token whose attention could be shown: set encoder.pool to token")
  out, kept = encoder.apply(variables, x, method="features", mutable=["attention"])
  kept = kept["attention"]
  last = kept["blocks"]["token"][-1] if "blocks" in kept else kept[f"block{encoder.depth}"]["token"]
  h, w = out["grid"].shape[1:3]
  return last[..., -h * w:].reshape(*last.shape[:2], h, w)


class Block(nn.Module):
  """Attention and MLP, each a branch: x [B, T, D] -> [B, T, D]. hidden: the MLP's width, 0 for 4 D."""
  heads: int
  dtype: Any
  hidden: int = 0
  mlp: str = "gelu"
  layer_scale: float = 0.0
  qk_norm: bool = False

  @nn.compact
  def __call__(self, x, angle=None, drop=None, mask=None, dropout=None, between=None):
    """angle: of rotary positions, [1 or B, T, D / heads / 2]; drop: probability that an example skips a branch.

    mask: [1 or B, 1 or T, T], True where a token (second axis) sees another; dropout: share of each branch's numbers
    that are dropped; between: a function of x [B, T, D] that comes between the two branches, such as cross-attention.
    """
    wide, width = jnp.result_type(float), x.shape[-1]
    dense = lambda n, name: Dense(n, dtype=self.dtype, param_dtype=wide, name=name,
                                  kernel_init=nn.initializers.xavier_uniform())
    norm = lambda name: nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name=name)

    def branch(y, name):
      y = y if dropout is None else nn.Dropout(dropout, deterministic=False)(y)
      if self.layer_scale:
        y = y * self.param(name, nn.initializers.constant(self.layer_scale), (width,), wide).astype(y.dtype)
      if drop is not None:
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - drop, (len(y), 1, 1))
        y = jnp.where(kept, y / (1 - drop), 0).astype(y.dtype)
      return y
    y = jnp.split(dense(3 * width, "qkv")(norm("norm1")(x)), 3, -1)
    q, k, v = (a.reshape(*a.shape[:2], self.heads, width // self.heads) for a in y)              # [B, T, heads, D]
    q, k = (norm("norm_q")(q), norm("norm_k")(k)) if self.qk_norm else (q, k)
    q, k = (q, k) if angle is None else (turned(q, angle), turned(k, angle))
    if self.is_mutable_collection("attention") and not self.is_initializing():
      scores = jnp.einsum("bhd,bthd->bht", *(a.astype(wide) for a in (q[:, 0], k))) / (width // self.heads) ** 0.5
      self.sow("attention", "token", jax.nn.softmax(scores), reduce_fn=lambda _, new: new)
    y = attend(q, k, v, mask).reshape(x.shape)
    x = x + branch(dense(width, "proj")(y), "scale1")
    x = x if between is None else between(x)
    y, hidden = norm("norm2")(x), self.hidden or 4 * width
    if self.mlp == "swiglu":
      gate, y = jnp.split(dense(2 * (-(-hidden * 2 // 24) * 8), "mlp1")(y), 2, -1)              # to a multiple of 8
      y = nn.silu(gate) * y
    else:
      y = dense(hidden, "mlp1")(y)
      y = gelu(y) if self.mlp == "gelu" else nn.gelu(y)
    return x + branch(dense(width, "mlp2")(y), "scale2")


class ViT(nn.Module):
  width: int
  depth: int
  patch: int
  pool: str
  position: str
  grid: int
  rotary: bool
  registers: int
  drop_path: float
  remat: bool
  scan: bool
  block: tuple
  mean: tuple
  std: tuple
  dtype: Any = None
  base: float = 10000.0
  class_token: bool = True
  norm: str = "tokens"

  def __call__(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False, keep=None, mask=None, fill=None):
    """x [B, H, W, C] in [0, 1] -> {"stage1" .. (one a block) and "grid" [B, h, w, D], "tokens", "pooled" [B, D]}.

    With a class token, "class_tokens" [B, depth, D] are those after each block, through the norm of the last. Tokens
    are the class token, registers and patches in reading order. For masked images:
      keep: [B, K], places of the patches that are seen; the blocks never compute the others, and there are no maps.
      mask, fill: where mask [B, h, w] is True, the patch's embedding is `fill` [D].
    """
    B, H, W, _ = x.shape
    if H % self.patch or W % self.patch:
      raise errors.UsageError(f"an image of {H}x{W} does not divide into patches of {self.patch}: "
                              "choose encoder.patch or data.size so that it does")
    wide, (h, w) = jnp.result_type(float), (H // self.patch, W // self.patch)
    small = nn.initializers.normal(0.02)
    x = normalize(x, self.mean, self.std)
    x = nn.Conv(self.width, (self.patch,) * 2, self.patch, padding="VALID", dtype=self.dtype, param_dtype=wide,
                kernel_init=nn.initializers.variance_scaling(1.0, "fan_in", "uniform", (0, 1, 2), 3),
                conv_general_dilated=patched,
                name="patches")(x)                           # MAE's at ViT-B/16; small patches are as loud as places
    x = x.reshape(B, h * w, self.width)
    if mask is not None:
      x = jnp.where(mask.reshape(B, h * w, 1), fill.astype(x.dtype), x)
    place, turn = None, angles_2d(h, w, self.width // dict(self.block)["heads"])[None] if self.rotary else None
    if self.position == "sincos":
      x = x + sincos_2d(h, w, self.width, self.base).astype(x.dtype)
    elif self.position == "learned":
      prefix = int(self.class_token)
      new = self.grid ** 2 or h * w
      if not self.grid and h != w and round(new ** 0.5) ** 2 == new:
        raise errors.UsageError(f"learned positions of {h}x{w} patches would be taken for a square's: set encoder.grid")
      place = (self.get_variable("params", "positions") if self.has_variable("params", "positions") else
               self.param("positions", small, (1, prefix + new, self.width), wide))
      place = resized(place, prefix, h, w).astype(x.dtype)
      x = x + place[:, prefix:]
    if keep is not None:
      x = jnp.take_along_axis(x, keep[..., None], 1)                                             # [B, K, D]
      turn = None if turn is None else jnp.asarray(turn)[0][keep]
    if self.registers:
      tokens = self.param("registers", small, (1, self.registers, self.width), wide)
      x = jnp.concatenate([jnp.broadcast_to(tokens, (B, *tokens.shape[1:])).astype(x.dtype), x], 1)
    if self.class_token:
      token = self.param("token", small, (1, 1, self.width), wide)
      token = token if place is None else token + place[:, :1]
      x = jnp.concatenate([jnp.broadcast_to(token, (B, 1, self.width)).astype(x.dtype), x], 1)
    first = int(self.class_token) + self.registers
    turn = None if turn is None else jnp.pad(jnp.asarray(turn, wide), ((0, 0), (first, 0), (0, 0)))
    x, stages = self.blocks(x, turn, train)
    norm = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name="norm")
    after = jnp.stack([y[:, 0] for y in stages], 1) if self.class_token and keep is None else None
    x = norm(x) if self.norm == "tokens" else x
    pooled = x[:, 0] if self.pool == "token" else jnp.mean(x[:, first:], 1)
    pooled = norm(pooled) if self.norm == "pooled" else pooled
    out = {"tokens": x, "pooled": pooled}
    if keep is not None:
      return out
    if self.class_token:
      out["class_tokens"] = norm(after) if self.norm == "tokens" else after
    maps = {f"stage{i}": y for i, y in enumerate(stages, 1)} | {"grid": x}
    return out | {k: y[:, first:].reshape(B, h, w, self.width) for k, y in maps.items()}

  def blocks(self, x, turn, train):
    """(the tokens after all blocks, [those after each one])."""
    rates = np.linspace(0, self.drop_path, self.depth)
    drop = self.drop_path and train and self.has_rng("dropout")
    kind = nn.remat(Block, prevent_cse=not self.scan) if self.remat else Block
    if self.scan:
      def step(block, x, turn, rate):
        x = block(x, turn, rate)
        return x, x
      run = nn.scan(step, variable_axes={"params": 0, "attention": 0}, split_rngs={"params": True, "dropout": True},
                    in_axes=(nn.broadcast, 0), length=self.depth)
      return run(kind(**dict(self.block), name="blocks"), x, turn, jnp.asarray(rates, x.dtype) if drop else None)
    stages = []
    for i in range(self.depth):
      x = kind(**dict(self.block), name=f"block{i + 1}")(x, turn, rates[i] if drop else None)
      stages.append(x)
    return x, stages
