"""Vision transformer (Dosovitskiy et al., 2021), pre-norm, with the sine-cosine positions of MoCo v3 and MAE."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors
from sslx.augment.color import normalize

VARIANTS = {  # name: (width, depth, heads)
    "vit_ti": (192, 12, 3), "vit_s": (384, 12, 6), "vit_b": (768, 12, 12), "vit_l": (1024, 24, 16),
    "vit_h": (1280, 32, 16)}


def make(variant, *, patch=16, depth=0, pool="token", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
         dtype=None):
  """A ViT of `variant` = (width, depth, heads); D = width.

  Args:
    patch: side of a patch in pixels; it must divide the image's sides.
    depth: number of blocks, 0 for the variant's own.
    pool: "token" (the class token after the last norm) or "mean" (of the patch tokens).
    mean, std: of the image in [0, 1].
    dtype: of activations and products; None keeps that of the parameters. Softmax and norms are never below float32.
  """
  if pool not in ("token", "mean"):
    raise errors.unknown("pool", pool, ("token", "mean"))
  width, blocks, heads = variant
  return ViT(width, depth or blocks, heads, patch, pool, tuple(mean), tuple(std), dtype)


def sincos(h, w, width):
  """Two-dimensional sine-cosine positions [h * w, width]: a quarter each of sin and cos along y and x."""
  omega = 10000.0 ** -(np.arange(width // 4) / (width // 4))
  y, x = (np.outer(g.ravel(), omega) for g in np.mgrid[:h, :w])
  return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], 1)


class Block(nn.Module):
  heads: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    wide, width = jnp.result_type(float), x.shape[-1]
    dense = lambda n, name: nn.Dense(n, dtype=self.dtype, param_dtype=wide, name=name,
                                     kernel_init=nn.initializers.xavier_uniform())
    norm = lambda name: nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name=name)
    y = dense(3 * width, "qkv")(norm("norm1")(x))
    q, k, v = jnp.moveaxis(y.reshape(*y.shape[:2], 3, self.heads, width // self.heads), 2, 0)   # [B, T, heads, D]
    y = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
    x = x + dense(width, "proj")(y)
    return x + dense(width, "mlp2")(nn.gelu(dense(4 * width, "mlp1")(norm("norm2")(x)), approximate=False))


class ViT(nn.Module):
  width: int
  depth: int
  heads: int
  patch: int
  pool: str
  mean: tuple
  std: tuple
  dtype: Any = None

  def __call__(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> {"stage1" .. (one a block) and "grid" [B, h, w, D], "tokens", "pooled" [B, D]}."""
    B, H, W, _ = x.shape
    if H % self.patch or W % self.patch:
      raise errors.UsageError(f"an image of {H}x{W} does not divide into patches of {self.patch}: "
                              "choose encoder.patch or data.size so that it does")
    wide, (h, w) = jnp.result_type(float), (H // self.patch, W // self.patch)
    x = normalize(x, self.mean, self.std)
    x = nn.Conv(self.width, (self.patch,) * 2, self.patch, padding="VALID", dtype=self.dtype, param_dtype=wide,
                kernel_init=nn.initializers.xavier_uniform((0, 1, 2), 3), name="patches")(x)      # as a dense layer's
    x = x.reshape(B, h * w, self.width)
    x = x + sincos(h, w, self.width).astype(x.dtype)
    if self.pool == "token":
      token = self.param("token", nn.initializers.normal(0.02), (1, 1, self.width), wide)
      x = jnp.concatenate([jnp.broadcast_to(token, (B, 1, self.width)).astype(x.dtype), x], 1)
    first, out = x.shape[1] - h * w, {}
    for i in range(self.depth):
      x = Block(self.heads, self.dtype, name=f"block{i + 1}")(x)
      out[f"stage{i + 1}"] = x[:, first:].reshape(B, h, w, self.width)
    x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name="norm")(x)
    pooled = x[:, 0] if self.pool == "token" else jnp.mean(x, 1)
    return out | {"tokens": x, "grid": x[:, first:].reshape(B, h, w, self.width), "pooled": pooled}
