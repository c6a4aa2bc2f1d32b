"""Masks over grids of patches: booleans [..., h, w], True where hidden, with one count for all images.

Random ones take `key` first and shape = (*batch, h, w) next, options keyword-only; as with images, each draw depends on
the key and the position in the batch alone. The grid may also be the pixels.
"""

import math

import jax
import jax.numpy as jnp

from sslx.augment import boxes, crop
from sslx.augment.exact import exp, rounded


def lowest(order, count):
  """The `count` (one, or [...]) places of each grid [..., h, w] whose values are lowest; among equals the first."""
  flat = order.reshape(*order.shape[:-2], -1)
  return (jnp.argsort(jnp.argsort(flat)) < jnp.asarray(count)[..., None]).reshape(order.shape)


def split(mask, count):
  """(kept [..., T - count], hidden [..., count], restore [..., T]) of masks [..., h, w] with `count` hidden, T = h w.

  Places in reading order; concatenated, kept and hidden patches taken at `restore` are the grid again.
  """
  order = jnp.argsort(mask.reshape(*mask.shape[:-2], -1))
  kept = order.shape[-1] - count
  return order[..., :kept], order[..., kept:], jnp.argsort(order)


def _checked(shape, count, most=None):
  most = shape[-2] * shape[-1] if most is None else most
  if not 0 <= count <= most:
    raise ValueError(f"a grid of {tuple(shape[-2:])} cannot have {count} such patches, at most {most}")


def share_out(key, counts, images):
  """Which image gets which of the `counts`: [images], the same ones in every group of len(counts) images.

  Counts differ from image to image then, and their sums over groups do not. len(counts) must divide `images`.
  """
  order = jnp.argsort(jax.random.uniform(key, (images // len(counts), len(counts))))
  return jnp.asarray(counts)[order].reshape(-1)


def random_patches(key, shape, *, count):
  """`count` patches anywhere, all choices alike (MAE, He et al., 2022)."""
  _checked(shape, count)
  return lowest(jax.random.uniform(key, shape), count)


def random_regions(key, shape, *, count, grain=4):
  """`count` patches in smooth regions of any form, about `grain` patches wide (Pathak et al., 2016)."""
  _checked(shape, count)
  *batch, h, w = shape
  coarse = jax.random.uniform(key, (*batch, -(-h // grain) + 1, -(-w // grain) + 1, 1))
  return lowest(crop.resize(coarse, (h, w), method="bicubic")[..., 0], count)


def _placed(drawn, height, width, shape):
  """The boxes [..., h, w] of these sides at places drawn [..., 2] in [0, 1)."""
  room = shape[-2] - height + 1, shape[-1] - width + 1
  top, left = (jnp.floor(drawn[..., i] * r) for i, r in enumerate(room))
  return boxes.inside((top, left, height, width), shape[-2:])


def random_blocks(key, shape, *, count, smallest=16, ratio=(0.3, 1 / 0.3), blocks=32):
  """`count` patches in blocks, each of an area uniform from `smallest` to what is missing (BEiT, Bao et al., 2022).

  count: one for all images, or integers [*batch] such as `share_out` draws. The log of height / width is uniform in
  `ratio`. Blocks come until `count` is reached, at most `blocks`; the last is cut to fit, and what is still missing
  then lies anywhere.
  """
  if jnp.ndim(count) == 0:
    _checked(shape, count)
  *batch, h, w = shape
  key_blocks, key_rest = jax.random.split(key)
  drawn = jnp.moveaxis(jax.random.uniform(key_blocks, (*batch, blocks, 4)), -2, 0)
  low, high = (math.log(r) for r in ratio)

  def add(turn, new):                                                                   # turn [..., h, w]: which block
    i, drawn = new
    missing = count - jnp.sum(turn < blocks, (-2, -1))
    area = smallest + rounded(drawn[..., 0] * jnp.maximum(missing - smallest, 0))
    root = exp((low + rounded(drawn[..., 1] * (high - low))) / 2)
    height, width = (jnp.clip(jnp.round(v), 1, n) for v, n in ((jnp.sqrt(area) * root, h), (jnp.sqrt(area) / root, w)))
    return jnp.minimum(turn, jnp.where(_placed(drawn[..., 2:], height, width, shape), i, blocks)), None
  first = add(jnp.full(shape, blocks), (0, drawn[0]))[0]
  turn = jax.lax.scan(add, first, (jnp.arange(1, blocks), drawn[1:]))[0]
  rest = jax.random.uniform(key_rest, shape)
  return lowest(turn + jnp.where(turn == blocks, rest, 0), count)


def random_targets(key, shape, *, targets=4, count=None, context=None, ratio=(0.75, 1.5), scale=(0.85, 1.0)):
  """(context [..., h, w], targets [..., V, h, w]), True where seen and where predicted (I-JEPA, Assran et al., 2023).

  Args:
    targets: V blocks, which may overlap. count: patches of each, by default 0.175 of the grid; height / width is
      uniform in `ratio`, and the last row may be short.
    context: patches seen, by default those left if no targets overlap. They are drawn from a block of a share of the
      grid uniform in `scale`, without the targets; only where it has too few, from around it.
  """
  *batch, h, w = shape
  count = round(0.175 * h * w) if count is None else count
  _checked(shape, count)
  context = h * w - targets * count if context is None else context
  _checked(shape, context, h * w - targets * count)
  key_target, key_context, key_kept = jax.random.split(key, 3)
  drawn = jax.random.uniform(key_target, (*batch, targets, 3))
  aspect = ratio[0] + rounded(drawn[..., 0] * (ratio[1] - ratio[0]))
  height = jnp.clip(jnp.round(jnp.sqrt(count * aspect)), -(-count // w), h)
  predicted = lowest(~_placed(drawn[..., 1:], height, jnp.ceil(count / jnp.maximum(height, 1)), shape), count)
  drawn = jax.random.uniform(key_context, (*batch, 3))
  root = jnp.sqrt(scale[0] + rounded(drawn[..., 0] * (scale[1] - scale[0])))
  block = _placed(drawn[..., 1:], jnp.round(root * h), jnp.round(root * w), shape)
  rank = jnp.where(jnp.any(predicted, -3), 2, jnp.where(block, 0, 1))
  return lowest(rank + jax.random.uniform(key_kept, shape), context), predicted
