"""Clips [B, T, H, W, C]: image augmentations drawn once a clip, and frames cut, turned round and put out of order."""

import jax
import jax.numpy as jnp

from sslx import errors


def alike(aug):
  """An `aug` of images (key, image [B, H, W, C]) for clips [B, T, H, W, C]: one draw for all frames of a clip.

  Views come as [B, T, h, w, C], or where the aug gives several of them as a tuple of [B, V, T, h, w, C]. Frame after
  frame in a loop, so that it is compiled once.
  """
  def clip(key, video):
    out = jax.lax.map(lambda frame: aug(key, frame), jnp.moveaxis(video, 1, 0))          # [T, B, ...]
    return tuple(jnp.moveaxis(x, 0, 2) for x in out) if isinstance(out, tuple) else jnp.moveaxis(out, 0, 1)
  return clip


def taken(video, index):
  """The frames index [B, n] of clips [B, T, ...]: [B, n, ...]."""
  return jnp.take_along_axis(video, index.reshape(*index.shape, *(1,) * (video.ndim - 2)), 1)


def fits(frames, length):
  """Refuses what takes more frames than a clip has."""
  if not 1 <= frames <= length:
    raise errors.UsageError(f"{frames} frames are to be taken of clips of {length}: set data.length, or fewer frames")


def cut(video, start, frames, step=1):
  """`frames` frames of clips [B, T, ...] from start [B] on, every step-th."""
  fits((frames - 1) * step + 1, video.shape[1])
  return taken(video, start[:, None] + step * jnp.arange(frames))


def random_pair(key, video, *, frames):
  """Two cuts of each clip [B, T, ...], `frames` long: [B, 2, frames, ...], the nearer the likelier (Qian et al., 2021).

  The probability of a distance falls linearly, to none beyond what the clip has room for; either may come first.
  """
  fits(frames, video.shape[1])
  room, B = video.shape[1] - frames, len(video)
  r_apart, r_start, r_first = jax.random.split(key, 3)
  apart = jnp.floor((1 - jnp.sqrt(jax.random.uniform(r_apart, (B,)))) * (room + 1)).astype(jnp.int32)
  start = jax.random.randint(r_start, (B,), 0, room - apart + 1)
  pair = jnp.stack([start, start + apart], 1)                                            # [B, 2]
  pair = jnp.where(jax.random.bernoulli(r_first, shape=(B, 1)), pair[:, ::-1], pair)
  return jnp.stack([cut(video, pair[:, i], frames) for i in range(2)], 1)


def random_order(key, video):
  """(three frames of each clip [B, 3, ...], int32 [B]: 1 if they are in order) (Misra et al., 2016).

  Of five frames a < b < c < d < e of the clip they are b, c, d, or else with a or e in the middle; as often as not all
  backwards, so that the outer two tell nothing. A frame is drawn the likelier the more it differs from its neighbours,
  for nobody can order frames in which nothing moves (the paper's windows of high motion).
  """
  fits(5, video.shape[1])
  B, T = video.shape[:2]
  r_five, r_right, r_outer, r_back = jax.random.split(key, 4)
  change = jnp.mean(jnp.abs(jnp.diff(video.astype(jnp.float32), axis=1)), range(2, video.ndim))     # [B, T - 1]
  moves = jnp.pad(change, ((0, 0), (1, 0)), "edge") + jnp.pad(change, ((0, 0), (0, 1)), "edge")
  score = jnp.log(moves + 1e-6) + jax.random.gumbel(r_five, (B, T))                      # draws without putting back
  five = jnp.sort(jnp.argsort(-score)[:, :5])
  right, outer, back = (jax.random.bernoulli(k, shape=(B,)) for k in (r_right, r_outer, r_back))
  middle = jnp.where(right, five[:, 2], jnp.where(outer, five[:, 0], five[:, 4]))
  three = jnp.stack([five[:, 1], middle, five[:, 3]], 1)
  return taken(video, jnp.where(back[:, None], three[:, ::-1], three)), right.astype(jnp.int32)


def random_arrow(key, video, *, frames):
  """(`frames` frames in a row of each clip [B, frames, ...], int32 [B]: 1 if they run forwards, 0 if backwards)."""
  fits(frames, video.shape[1])
  r_start, r_forwards = jax.random.split(key)
  part = cut(video, jax.random.randint(r_start, (len(video),), 0, video.shape[1] - frames + 1), frames)
  forwards = jax.random.bernoulli(r_forwards, shape=(len(video),))
  return jnp.where(forwards.reshape(-1, *(1,) * (video.ndim - 1)), part, part[:, ::-1]), forwards.astype(jnp.int32)
