"""An image encoder on every frame of a clip (Karpathy et al., 2014): the mean over time, or a transformer over it."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.encoders import positions, resnet, vit

VARIANTS = {f"frames_{name}": resnet.VARIANTS[name] for name in ("resnet10", "resnet18", "resnet34", "resnet50")}


def make(variant, *, time="mean", depth=2, heads=4, width=64, stem="imagenet", mean=(0.485, 0.456, 0.406),
         std=(0.229, 0.224, 0.225), dtype=None):
  """A ResNet of `variant` (resnet.VARIANTS) on every frame; `Frames` takes any other image encoder.

  Args:
    time: "mean" over the frames, which knows no order; or "transformer", whose mean does.
    depth, heads: of the transformer's blocks; heads must divide the frames' D, and 2 must.
    width, stem, mean, std, dtype: see resnet.make.
  """
  if time not in ("mean", "transformer"):
    raise errors.unknown("time", time, ("mean", "transformer"))
  image = resnet.make(variant, width=width, stem=stem, mean=mean, std=std, dtype=dtype)
  return Frames(image, depth if time == "transformer" else 0, heads, dtype)


def of_frame(options):
  """The name and options of the image encoder on each frame, from those of an encoder of video, or {}."""
  name = options.get("name", "")
  if name not in VARIANTS:
    return {}
  own = {k: v for k, v in options.items() if k not in ("time", "depth", "heads")}
  return own | {"name": name.removeprefix("frames_")}


class Frames(nn.Module):
  """`image` on each frame, then `depth` transformer blocks over the frames and a norm; 0 for none."""
  image: nn.Module
  depth: int = 0
  heads: int = 4
  dtype: Any = None

  def __call__(self, x, train=False):
    """x [B, T, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    """x [B, T, H, W, C] in [0, 1] -> {the image encoder's maps as [B, T, h, w, D], "pooled" [B, D]}.

    "frames" [B, T, D] is one vector a frame; "tokens" are the same.
    """
    B, T = x.shape[:2]
    found = self.image.features(x.reshape(B * T, *x.shape[2:]), train)                   # time goes into the batch
    frames = found["pooled"].reshape(B, T, -1)
    if self.depth:
      wide, width = jnp.result_type(float), frames.shape[-1]
      if width % self.heads or width % 2:
        raise errors.UsageError(f"frames of width {width} with {self.heads} heads: heads and 2 must divide the width")
      frames = frames + positions.sincos_1d(T, width).astype(frames.dtype)
      for i in range(self.depth):
        frames = vit.Block(self.heads, self.dtype, name=f"time{i + 1}")(frames)
      frames = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, param_dtype=wide, name="norm")(frames)
    maps = {k: v.reshape(B, T, *v.shape[1:]) for k, v in found.items() if k not in ("pooled", "tokens")}
    return maps | {"frames": frames, "tokens": frames, "pooled": jnp.mean(frames, 1)}
