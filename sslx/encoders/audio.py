"""Encoders of sound: the log-mel spectrogram of a waveform as a one-channel image, and an encoder of images on it."""

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.augment import spectrum

POOLS = {"mean_max": lambda x: jnp.concatenate([jnp.mean(x, (1, 2)), jnp.max(x, (1, 2))], -1)}       # [B, h, w, D]


class Audio(nn.Module):
  """A waveform [B, T] in [-1, 1] -> what the trunk, an encoder of images, gives for `picture`.

  rate: samples a second. window, hop: samples of a frame and from one to the next. mels: bands from low to high Hz.
  patch: of which both sides of the picture are made multiples. pool: see POOLS.
  """
  trunk: nn.Module
  rate: int
  window: int
  hop: int
  mels: int
  low: float
  high: float
  patch: int = 1
  pool: str = "trunk"

  def __call__(self, x, train=False):
    """x [B, T] -> [B, D]."""
    return self.features(x, train)["pooled"]

  def features(self, x, train=False):
    """x [B, T] -> the trunk's features: "grid" [B, h, w, D], h frequency, w time, ...; "pooled" by `pool`."""
    found = self.trunk.features(self.picture(x), train)
    return found | ({"pooled": POOLS[self.pool](found["grid"])} if self.pool in POOLS else {})

  def picture(self, x):
    """Waveforms [..., T] -> [..., mels, T // hop, 1] in [0, 1], low frequencies first; whole patches alone."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
      raise errors.UsageError(f"a waveform of {x.dtype} where floats in [-1, 1] are needed: bring it there by to_float")
    n = x.shape[-1] // self.hop // self.patch * self.patch
    if not n:
      raise errors.UsageError(f"{x.shape[-1]} samples are less than {self.patch} frames of encoder.hop {self.hop}: set "
                              "encoder.hop or encoder.patch lower, or data.length higher")
    decibels = spectrum.log_mel(x, rate=self.rate, size=self.window, hop=self.hop, mels=self.mels, low=self.low,
                                high=self.high)
    return spectrum.picture(decibels)[..., :n, None]


def on(trunk, rate, window, hop, mels, low, high, patch=1, pool="trunk"):
  """The Audio module of these options."""
  if not 1 <= hop <= window // 2:
    raise errors.UsageError(f"encoder.hop is {hop}: it must be from 1 to half of encoder.window, {window // 2}")
  if mels % patch:
    raise errors.UsageError(f"encoder.mels is {mels}: patches of {patch} must divide it")
  empty = (spectrum.mel_filters(rate, window, mels, low, high).sum(1) == 0).sum()
  if empty:
    raise errors.UsageError(f"{empty} of {mels} mel bands are empty, narrower than the steps of a window of {window}: "
                            "set encoder.mels lower or encoder.window higher")
  return Audio(trunk, rate, window, hop, mels, low, high, patch, pool)
