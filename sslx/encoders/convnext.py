"""ConvNeXt (Liu et al., 2022) and ConvNeXt V2 (Woo et al., 2023), whose blocks have a global response normalisation."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors
from sslx.augment.color import normalize
from sslx.encoders.layers import Dense, gelu

_SIZES = {  # name: (blocks a stage, width of the first stage)
    "atto": ((2, 2, 6, 2), 40), "femto": ((2, 2, 6, 2), 48), "pico": ((2, 2, 6, 2), 64), "nano": ((2, 2, 8, 2), 80),
    "tiny": ((3, 3, 9, 3), 96), "base": ((3, 3, 27, 3), 128), "large": ((3, 3, 27, 3), 192)}
VARIANTS = {  # name: (blocks a stage, width of the first stage, whether it is V2)
    **{f"convnext_{k}": (*v, False) for k, v in _SIZES.items()}, "convnext_small": ((3, 3, 27, 3), 96, False),
    "convnext_xlarge": ((3, 3, 27, 3), 256, False),
    **{f"convnextv2_{k}": (*v, True) for k, v in _SIZES.items()}, "convnextv2_huge": ((3, 3, 27, 3), 352, True)}


def make(variant, *, width=0, stem=4, layer_scale=1e-6, drop_path=0.0, mean=(0.485, 0.456, 0.406),
         std=(0.229, 0.224, 0.225), dtype=None):
  """A ConvNeXt of `variant` = (blocks a stage, width, whether it is V2); D = 8 * width.

  Args:
    width: channels of the first stage; 0 for the variant's own.
    stem: side and stride of the first convolution: 4, or 1 or 2 for images of 64 pixels or less.
    layer_scale: initial value of a factor a channel on each branch of V1; 0 for none.
    drop_path: probability that an example skips the last block's branch, rising from 0 at the first one's.
    mean, std: of the image in [0, 1].
    dtype: of activations and products; None keeps that of the parameters. Norms are never below float32.
  """
  if stem not in (1, 2, 4):
    raise errors.unknown("stem", stem, (1, 2, 4))
  blocks, own, second = variant
  return ConvNeXt(tuple(blocks), width or own, stem, second, layer_scale, drop_path, tuple(mean), tuple(std), dtype)


class Block(nn.Module):
  """Depthwise convolution and MLP, one branch: x [B, h, w, D] -> [B, h, w, D]."""
  second: bool
  layer_scale: float
  dtype: Any

  @nn.compact
  def __call__(self, x, drop=None):
    """drop: probability that an example skips the branch."""
    wide, width = jnp.result_type(float), x.shape[-1]
    options = {"dtype": self.dtype, "param_dtype": wide, "kernel_init": nn.initializers.truncated_normal(0.02)}
    y = nn.Conv(width, (7, 7), padding=3, feature_group_count=width, name="conv", **options)(x)
    y = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name="norm")(y)
    y = gelu(Dense(4 * width, name="mlp1", **options)(y))
    if self.second:
      scale, bias = (self.param(n, nn.initializers.zeros, (4 * width,), wide).astype(y.dtype)
                     for n in ("response_scale", "response_bias"))
      square = jnp.sum(jnp.square(y.astype(jnp.promote_types(y.dtype, jnp.float32))), (1, 2), keepdims=True)
      length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)                # [B, 1, 1, 4D]
      y = y + scale * (y * (length / (length.mean(-1, keepdims=True) + 1e-6)).astype(y.dtype)) + bias
    y = Dense(width, name="mlp2", **options)(y)
    if self.layer_scale and not self.second:
      y = y * self.param("scale", nn.initializers.constant(self.layer_scale), (width,), wide).astype(y.dtype)
    if drop is not None:
      kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - drop, (len(y), 1, 1, 1))
      y = jnp.where(kept, y / (1 - drop), 0).astype(y.dtype)
    return x + y


class ConvNeXt(nn.Module):
  blocks: tuple
  width: int
  stem: int
  second: bool
  layer_scale: float
  drop_path: float
  mean: tuple
  std: tuple
  dtype: Any = None

  def __call__(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> {"stage1" .. "stage4" and "grid" [B, h, w, Di], "pooled" [B, D]}."""
    if min(x.shape[1:3]) < 8 * self.stem:
      raise errors.UsageError(f"images of {x.shape[1]}x{x.shape[2]} are too small for a ConvNeXt with encoder.stem="
                              f"{self.stem}, which needs {8 * self.stem} pixels: choose a smaller stem, 1 at least")
    wide = jnp.result_type(float)
    norm = lambda name: nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name=name)
    conv = lambda n, side, name: nn.Conv(n, (side, side), side, padding="VALID", dtype=self.dtype, param_dtype=wide,
                                         kernel_init=nn.initializers.truncated_normal(0.02), name=name)
    rates = iter(np.linspace(0, self.drop_path, sum(self.blocks)))
    drop = self.drop_path and train and self.has_rng("dropout")
    x = norm("stem_norm")(conv(self.width, self.stem, "stem_conv")(normalize(x, self.mean, self.std)))
    out = {}
    for stage, count in enumerate(self.blocks):
      if stage:
        x = conv(self.width * 2 ** stage, 2, f"stage{stage + 1}_conv")(norm(f"stage{stage + 1}_norm")(x))
      for i in range(count):
        block = Block(self.second, self.layer_scale, self.dtype, name=f"stage{stage + 1}_block{i + 1}")
        rate = next(rates)
        x = block(x, rate if drop else None)
      out[f"stage{stage + 1}"] = x
    return out | {"grid": x, "pooled": norm("norm")(jnp.mean(x, (1, 2)))}
