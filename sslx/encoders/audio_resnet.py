"""ResNet (He et al., 2016) on the log-mel spectrogram of a waveform."""

from sslx import errors
from sslx.encoders import audio, resnet

VARIANTS = {f"audio_{name}": resnet.VARIANTS[name] for name in ("resnet10", "resnet18", "resnet34", "resnet50")}


def make(variant, *, width=64, stem="imagenet", rate=16000, window=512, hop=160, mels=64, low=0.0, high=0.0,
         pool="mean", mean=(0.25,), std=(0.3,), dtype=None, axis_name=None):
  """A ResNet of `variant` that reads waveforms [B, T].

  Args:
    width, stem, dtype, axis_name: as of `resnet`.
    rate: samples a second, as of the data.
    window, hop: samples of a frame of the spectrogram and from one to the next.
    mels: bands of the mel scale from `low` to `high` Hz, 0 for half the rate.
    pool: what the representation is: "mean" over the maps, or "mean_max", mean and maximum side by side, which keeps
      short sounds. Methods that train the trunk alone, such as COLA, do so on the mean.
    mean, std: of the spectrogram, whose 80 dB below the loudest are [0, 1].
  """
  if pool not in ("mean", *audio.POOLS):
    raise errors.unknown("pool", pool, ("mean", *audio.POOLS))
  trunk = resnet.make(variant, width=width, stem=stem, mean=mean, std=std, dtype=dtype, axis_name=axis_name)
  return audio.on(trunk, rate, window, hop, mels, low, high, pool=pool)
