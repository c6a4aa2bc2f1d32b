"""Methods written for images, of video."""

import dataclasses


def reading(method, key="video"):
  """A Method written for batches of "image" that reads `key` in its place, which names the encoder's tower, too."""
  named = lambda batch: {"image" if k == key else k: v for k, v in batch.items()}
  return dataclasses.replace(
      method, reads=tuple(key if k == "image" else k for k in method.reads),
      init=lambda rng, batch: method.init(rng, named(batch)), views=lambda rng, batch: method.views(rng, named(batch)),
      encoder=lambda params, state: {key: method.encoder(params, state)["image"]})
