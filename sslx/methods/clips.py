"""What methods of video have in common: methods written for images on clips, and clips as pictures."""

import dataclasses

import jax.numpy as jnp


def reading(method, key="video"):
  """A Method written for batches of "image" that reads `key` in its place, which names the encoder's tower, too."""
  named = lambda batch: {"image" if k == key else k: v for k, v in batch.items()}
  return dataclasses.replace(
      method, reads=tuple(key if k == "image" else k for k in method.reads),
      init=lambda rng, batch: method.init(rng, named(batch)), views=lambda rng, batch: method.views(rng, named(batch)),
      encoder=lambda params, state: {key: method.encoder(params, state)["image"]})


def strip(video):
  """Clips [B, T, H, W, C] as pictures [B, H, T W, C], the frames side by side; what is no clip as it is."""
  if video.ndim < 5:
    return video
  B, T, H, W, C = video.shape
  return jnp.moveaxis(video, 1, 2).reshape(B, H, T * W, C)


def strips(method):
  """A Method that shows clips as pictures."""
  def show(params, state, views):
    return {name: strip(x) for name, x in method.show(params, state, views).items()}
  return dataclasses.replace(method, show=show)
