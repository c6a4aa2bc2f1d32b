"""What methods of sound have in common: an encoder with a trunk under its spectrogram, ranges, pictures."""

import jax

from sslx import errors
from sslx.augment import audio
from sslx.methods import base


def needs(encoder, method):
  """A UsageError for an encoder that is none of sound: without a `picture` of waveforms and a trunk that reads it."""
  if not (hasattr(encoder, "picture") and hasattr(encoder, "trunk")):
    raise errors.UsageError(f"{method} reads sound, and {type(encoder).__name__} does not: set encoder.name to "
                            "audio_resnet10, audio_vit_ti or the like")


def check(segment=1.0, **ranges):
  """A UsageError for a share that is none, or for ranges, name=(low, high), that are none; () is allowed."""
  if not 0 < segment <= 1:
    raise errors.UsageError(f"segment is {segment:g}: a share of the recording, above 0 and at most 1")
  base.ranges(**ranges)


def view(segment=1.0, speed=(1.0, 1.0), snr=(), mixed=(), gain=()):
  """(key, waves [B, T]) -> [B, S]: a stretch, at a speed of its own, below it another recording or noise; see cola."""
  check(segment=segment, speed=speed, snr=snr, mixed=mixed, gain=gain)

  def aug(key, wave):
    keys = jax.random.split(key, 3)
    x = audio.random_crop(keys[0], wave, size=round(segment * wave.shape[-1]), speed=speed)
    x = audio.random_mix(keys[1], x, decibels=mixed) if mixed else x
    x = audio.random_gain(jax.random.fold_in(key, 3), x, decibels=gain) if gain else x
    return audio.random_noise(keys[2], x, decibels=snr) if snr else x
  return aug


def kept(towers):
  """What `encoder` gives of an encoder of sound whose trunk was trained as one of images."""
  (variables,) = towers.values()
  return {"audio": {k: {"trunk": v} for k, v in variables.items()}}


def upright(picture):
  """Spectrograms [B, F, n, 1] as pictures: low frequencies at the bottom."""
  return picture[:, ::-1]
