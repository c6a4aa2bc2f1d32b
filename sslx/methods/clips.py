"""What methods of video have in common: methods written for images on what is none, and the right kind of encoder."""

import dataclasses

from sslx import errors


def reading(method, key="video"):
  """A Method written for batches of "image" that reads `key` in its place, which names the encoder's tower, too."""
  named = lambda batch: {"image" if k == key else k: v for k, v in batch.items()}
  return dataclasses.replace(
      method, reads=tuple(key if k == "image" else k for k in method.reads),
      init=lambda rng, batch: method.init(rng, named(batch)), views=lambda rng, batch: method.views(rng, named(batch)),
      encoder=lambda params, state: {key: method.encoder(params, state)["image"]})


def needs_video(encoder, method):
  """A UsageError for one of our encoders of images."""
  home = type(encoder).__module__
  if home.startswith("sslx.encoders.") and not home.startswith("sslx.encoders.video"):
    raise errors.UsageError(f"{method} reads clips, and {type(encoder).__name__} images: set encoder.name to an "
                            "encoder of video, such as r2plus1d_18, frames_resnet18 or video_vit_s")
