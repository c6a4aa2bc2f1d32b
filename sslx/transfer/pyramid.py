"""Pyramids of an encoder's stages: joined from coarse to fine, and fused to one map."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

BINS = (1, 2, 3, 6)          # sides of the grids that the coarsest map is pooled to


def top_down(maps, conv, finish, method="nearest"):
  """{name: [B, h, w, D]} of `maps`, from fine to coarse, each with what comes from above it (Lin et al., 2017).

  conv: (name, side of its window) -> a convolution to D channels; finish: (name, map) -> what is kept of a level.
  """
  up, out = None, {}
  for name in list(maps)[::-1]:
    h = conv(f"lateral_{name}", 1)(maps[name])
    up = h if up is None else jax.image.resize(up, h.shape, method) + h
    out[name] = finish(name, conv(f"smooth_{name}", 3)(up))
  return dict(reversed(out.items()))


class Fused(nn.Module):
  """{stage: map} from fine to coarse -> [B, h, w, width] at the finest: UPerNet's head (Xiao et al., 2018).

  The coarsest map is seen at several sizes at once (Zhao et al., 2017), all are joined from coarse to fine, and fused.
  """
  width: int

  @nn.compact
  def __call__(self, maps):
    wide, (*_, last) = jnp.result_type(float), maps
    conv = lambda name, side: nn.Conv(self.width, (side, side), param_dtype=wide, name=name)
    norm = lambda name: nn.GroupNorm(num_groups=math.gcd(8, self.width), param_dtype=wide, name=name)
    finish = lambda name, h: nn.relu(norm(f"norm_{name}")(h))
    fit = lambda h, like: jax.image.resize(h, (*like.shape[:3], h.shape[-1]), "bilinear")
    top = maps[last]
    bins = [fit(nn.relu(conv(f"bin{n}", 1)(binned(top, n))), top) for n in BINS]
    maps = maps | {last: finish("bins", conv("bins", 3)(jnp.concatenate([top, *bins], -1)))}
    levels = list(top_down(maps, conv, finish, "bilinear").values())
    return finish("fused", conv("fused", 3)(jnp.concatenate([fit(h, levels[0]) for h in levels], -1)))


def binned(x, n):
  """x [B, h, w, D] -> [B, n, n, D]: means over windows that cover it, from floor(i h / n) to ceil((i + 1) h / n)."""
  def windows(size):
    first, end = np.arange(n) * size // n, -(-(np.arange(n) + 1) * size // n)
    inside = (np.arange(size) >= first[:, None]) & (np.arange(size) < end[:, None])
    return jnp.asarray(inside / inside.sum(1, keepdims=True), x.dtype)                                   # [n, size]
  return jnp.einsum("ih,jw,bhwd->bijd", windows(x.shape[1]), windows(x.shape[2]), x)


def spread(maps):
  """Maps of one and the same grid (a ViT's) at 4, 2, 1 and 1/2 times its sides, the later the coarser; others as they
  are (Bao et al., BEiT, 2022, by interpolation)."""
  if len(maps) < 2 or len({h.shape[1:3] for h in maps.values()}) > 1:
    return maps
  scales = [2.0 ** (len(maps) - 2 - i) for i in range(len(maps))]
  side = lambda n, scale: max(1, round(n * scale))
  return {k: jax.image.resize(h, (len(h), *(side(n, s) for n in h.shape[1:3]), h.shape[3]), "bilinear")
          for s, (k, h) in zip(scales, maps.items(), strict=True)}
