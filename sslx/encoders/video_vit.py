"""Video transformer on tubelets (Arnab et al., 2021, ViViT), all of which attend to each other, as VideoMAE's."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import errors
from sslx.augment.color import normalize
from sslx.encoders import positions, vit
from sslx.encoders.layers import Dense

VARIANTS = {f"video_{name}": vit.VARIANTS[name][:3] for name in ("vit_ti", "vit_s", "vit_b", "vit_l")}


def make(variant, *, patch=16, tube=2, width=0, depth=0, heads=0, base=10000.0, mean=(0.485, 0.456, 0.406),
         std=(0.229, 0.224, 0.225), dtype=None):
  """A video ViT of `variant` = (width, depth, heads); D = width, the mean of the last norm's tokens.

  Args:
    patch, tube: side in pixels and length in frames of a tubelet; they must divide the clip's.
    width, depth, heads: 0 for the variant's own; heads and 4 must divide the width.
    base: of sine-cosine positions along y and x (see vit.make), to which those along time are added.
    mean, std: of frames in [0, 1]. dtype: of activations and products; None keeps that of the parameters.
  """
  own = tuple(new or old for new, old in zip((width, depth, heads), variant, strict=True))
  if own[0] % own[2] or own[0] % 4:
    raise errors.UsageError(f"a video ViT of width {own[0]} with {own[2]} heads: heads and 4 must divide the width")
  return VideoViT(*own, patch, tube, base, tuple(mean), tuple(std), dtype)


def tubelets(video, tube, patch):
  """Clips [..., T, H, W, C] as tubelets [..., t h w, tube * patch * patch * C], first along time, then row by row."""
  *batch, T, H, W, C = video.shape
  t, h, w = T // tube, H // patch, W // patch
  x = video.reshape(-1, t, tube, h, patch, w, patch, C).transpose(0, 1, 3, 5, 2, 4, 6, 7)
  return x.reshape(*batch, t * h * w, tube * patch * patch * C)


def untubelets(x, tube, patch, grid):
  """The clips [..., T, H, W, C] that `tubelets` took apart; grid = (t, h, w)."""
  (*batch, _, P), (t, h, w) = x.shape, grid
  x = x.reshape(-1, t, h, w, tube, patch, patch, P // (tube * patch**2)).transpose(0, 1, 4, 2, 5, 3, 6, 7)
  return x.reshape(*batch, t * tube, h * patch, w * patch, x.shape[-1])


class VideoViT(nn.Module):
  width: int
  depth: int
  heads: int
  patch: int
  tube: int
  base: float
  mean: tuple
  std: tuple
  dtype: Any = None

  def __call__(self, x, train=False):
    """x [B, T, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  def grid(self, shape):
    """(t, h, w), the tubelets along a clip of shape [..., T, H, W, C]; UsageError where they do not fit."""
    T, H, W, _ = shape[-4:]
    if T % self.tube or H % self.patch or W % self.patch:
      raise errors.UsageError(f"a clip of {T} frames of {H}x{W} does not divide into tubelets of {self.tube} frames "
                              f"of {self.patch} pixels: set encoder.tube and encoder.patch, or data.length and .size")
    return T // self.tube, H // self.patch, W // self.patch

  @nn.compact
  def features(self, x, train=False, keep=None):
    """x [B, T, H, W, C] in [0, 1] -> {"stage1" .. (one a block) and "grid" [B, t, h, w, D], "tokens", "pooled" [B, D]}.

    "tokens" [B, t h w, D] are in the order of `tubelets`, "frames" [B, t, D] their means over space. keep: [B, K],
    places of the tubelets that are seen; the blocks never compute the others, and there are no maps.
    """
    wide, (t, h, w) = jnp.result_type(float), self.grid(x.shape)
    x = tubelets(normalize(x, self.mean, self.std), self.tube, self.patch)
    x = Dense(self.width, dtype=self.dtype, param_dtype=wide, name="tubelets",
              kernel_init=nn.initializers.xavier_uniform())(x)
    x = x + positions.sincos_3d(t, h, w, self.width, self.base).astype(x.dtype)
    if keep is not None:
      x = jnp.take_along_axis(x, keep[..., None], 1)                                     # [B, K, D]
    stages = []
    for i in range(self.depth):
      x = vit.Block(self.heads, self.dtype, name=f"block{i + 1}")(x)
      stages.append(x)
    x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name="norm")(x)
    out = {"tokens": x, "pooled": jnp.mean(x, 1)}
    if keep is not None:
      return out
    maps = {f"stage{i}": y for i, y in enumerate(stages, 1)} | {"grid": x}
    maps = jax.tree.map(lambda y: y.reshape(len(y), t, h, w, self.width), maps)
    return out | maps | {"frames": jnp.mean(maps["grid"], (2, 3))}
