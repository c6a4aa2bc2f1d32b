"""Audio-MAE (Huang et al., 2022): MAE on the log-mel spectrogram, a picture whose patches are hidden."""

import dataclasses

import jax
import jax.numpy as jnp

from sslx import augment
from sslx.augment import audio
from sslx.methods import mae, sound

CITE = """@inproceedings{huang2022audiomae,
  title={Masked Autoencoders that Listen},
  author={Huang, Po-Yao and Xu, Hu and Li, Juncheng and Baevski, Alexei and Auli, Michael and Galuba, Wojciech and
    Metze, Florian and Feichtenhofer, Christoph},
  booktitle={NeurIPS}, year={2022}}"""


def make(encoder, *, ratio=0.8, normalise=True, width=512, depth=8, heads=16, speed=(1.0, 1.0)):
  """MAE on an audio ViT.

  Args:
    ratio, normalise, width, depth, heads: as of `mae`.
    speed: range of the speeds at which recordings are read, with silence before or behind the faster ones; pitch moves
      with it. (1, 1), as in the paper, leaves them as they are.
  """
  sound.needs(encoder, "audio_mae")
  sound.check(speed=speed)
  inner = mae.make(encoder.trunk, ratio=ratio, normalise=normalise, width=width, depth=depth, heads=heads,
                   aug=lambda key, image: image)
  pictures = lambda views: {"image": encoder.picture(views["audio"]), "mask": views["mask"]}

  def views(rng, batch):
    r_crop, r_mask = jax.random.split(rng)
    wave = augment.to_float(batch["audio"])
    if tuple(speed) != (1, 1):
      wave = audio.random_crop(r_crop, wave, size=wave.shape[-1], speed=speed)
    blank = jax.eval_shape(encoder.picture, wave)
    return {"audio": wave, "mask": inner.views(r_mask, {"image": jnp.zeros(blank.shape, blank.dtype)})["mask"]}

  def init(rng, batch):
    return inner.init(rng, {"image": jax.eval_shape(lambda b: pictures(views(rng, b))["image"], batch)})

  def loss(params, state, views, rng, progress):
    return inner.loss(params, state, pictures(views), rng, progress)

  def show(params, state, views):
    return {k: sound.upright(x) for k, x in inner.show(params, state, pictures(views)).items()}

  return dataclasses.replace(inner, init=init, views=views, loss=loss, reads=("audio",), show=show,
                             encoder=lambda params, state: sound.kept(inner.encoder(params, state)))
