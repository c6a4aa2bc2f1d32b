"""What methods of sound have in common: an encoder with a trunk under its spectrogram, ranges, pictures."""

from sslx import errors


def needs(encoder, method):
  """A UsageError for an encoder that is none of sound: without a `picture` of waveforms and a trunk that reads it."""
  if not (hasattr(encoder, "picture") and hasattr(encoder, "trunk")):
    raise errors.UsageError(f"{method} reads sound, and {type(encoder).__name__} does not: set encoder.name to "
                            "audio_resnet10, audio_vit_ti or the like")


def check(segment=1.0, **ranges):
  """A UsageError for a share that is none, or for ranges, name=(low, high), that are none; () is allowed."""
  if not 0 < segment <= 1:
    raise errors.UsageError(f"segment is {segment:g}: a share of the recording, above 0 and at most 1")
  for name, value in ranges.items():
    if len(value) and not (len(value) == 2 and value[0] <= value[1]):
      raise errors.UsageError(f"{name} is {tuple(value)}: a range takes two numbers, the lower one first")


def kept(towers):
  """What `encoder` gives of an encoder of sound whose trunk was trained as one of images."""
  (variables,) = towers.values()
  return {"audio": {k: {"trunk": v} for k, v in variables.items()}}


def upright(picture):
  """Spectrograms [B, F, n, 1] as pictures: low frequencies at the bottom."""
  return picture[:, ::-1]
