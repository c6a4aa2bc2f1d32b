"""Time and frequency. Waveforms are floats [..., T], their spectra [..., F, n]: low frequencies first, n frames.

The definitions are torchaudio's, and librosa's with htk=True, norm=None: frames about every hop-th sample, the ends
mirrored, a periodic Hann window. Spectra are never below float32.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors


def frames(wave, *, size, hop):
  """The stretches [..., n, size] of a waveform from every hop-th sample on; slices put together, so no gather."""
  n, k = (wave.shape[-1] - size) // hop + 1, -(-size // hop)
  need = (n + k - 1) * hop
  x = jnp.pad(wave, [(0, 0)] * (wave.ndim - 1) + [(0, max(0, need - wave.shape[-1]))])[..., :need]
  x = x.reshape(*x.shape[:-1], n + k - 1, hop)
  return jnp.concatenate([x[..., i:i + n, :] for i in range(k)], -1)[..., :size]


def overlap_add(frames, *, hop):
  """The waveform [..., (n - 1) hop + size] that is the sum of stretches [..., n, size] at every hop-th sample."""
  *batch, n, size = frames.shape
  k = -(-size // hop)
  x = jnp.pad(frames, [(0, 0)] * (frames.ndim - 1) + [(0, k * hop - size)]).reshape(*batch, n, k, hop)
  x = sum(jnp.pad(x[..., i, :], [(0, 0)] * len(batch) + [(i, k - 1 - i), (0, 0)]) for i in range(k))
  return x.reshape(*batch, -1)[..., :(n - 1) * hop + size]


def hann(size):
  """A periodic Hann window [size]."""
  return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)


def stft(wave, *, size, hop):
  """The complex spectrum [..., size // 2 + 1, 1 + T // hop] of a waveform [..., T], T > size // 2."""
  if wave.shape[-1] <= size // 2:
    raise errors.UsageError(f"a waveform of {wave.shape[-1]} samples is too short for windows of {size}: it needs more "
                            "than half as many; set encoder.window lower or data.length higher")
  x = jnp.asarray(wave, jnp.promote_types(wave.dtype, jnp.float32))
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(size // 2, size // 2)], mode="reflect")
  return jnp.swapaxes(jnp.fft.rfft(frames(x, size=size, hop=hop) * hann(size).astype(x.dtype)), -1, -2)


def istft(spectrum, *, size, hop, length):
  """The waveform [..., length] whose `stft` is nearest to the spectrum in squares (Griffin & Lim, 1984)."""
  x = jnp.fft.irfft(jnp.swapaxes(spectrum, -1, -2), size)
  window = jnp.asarray(hann(size), x.dtype)
  weight = overlap_add(jnp.broadcast_to(window**2, x.shape[-2:]), hop=hop)
  wave = overlap_add(x * window, hop=hop) / jnp.maximum(weight, 1e-6)
  return wave[..., size // 2:size // 2 + length]


def mel_filters(rate, size, mels, low=0.0, high=0.0):
  """Triangles on the mel scale 2595 log10(1 + f / 700) of O'Shaughnessy (1987): NumPy [mels, size // 2 + 1].

  rate: samples a second. low, high: in Hz, where the first begins and the last ends; high=0 is half the rate.
  """
  high = high or rate / 2
  if not 0 <= low < high <= rate / 2:
    raise errors.UsageError(f"mel bands from {low:g} to {high:g} Hz: they must rise and end at {rate / 2:g} Hz at most")
  ends = 2595 * np.log10(1 + np.array([low, high]) / 700)
  edges = 700 * (10 ** (np.linspace(*ends, mels + 2) / 2595) - 1)[:, None]
  bins = np.linspace(0, rate / 2, size // 2 + 1)
  up, down = ((bins - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - bins) / (edges[2:] - edges[1:-1]))
  return np.maximum(0, np.minimum(up, down))


def log_mel(wave, *, rate, size, hop, mels, low=0.0, high=0.0):
  """The power in mel bands in decibels, [..., mels, 1 + T // hop], -100 at least, of a waveform [..., T]."""
  spectrum = stft(wave, size=size, hop=hop)
  power = spectrum.real**2 + spectrum.imag**2
  filters = jnp.asarray(mel_filters(rate, size, mels, low, high), power.dtype)
  return 10 * jnp.log10(jnp.maximum(jnp.einsum("mf,...fn->...mn", filters, power, precision="highest"), 1e-10))


def picture(decibels, *, span=80.0, floor=-20.0):
  """Decibels [..., F, n] as values in [0, 1]: the loudest is 1, what is `span` below it 0, so loudness drops out.

  floor: decibels that the loudest counts as at least, so that silence stays black.
  """
  loudest = jnp.maximum(jnp.max(decibels, (-2, -1), keepdims=True), floor)
  return jnp.clip(1 + (decibels - loudest) / span, 0, 1)


def random_stripes(key, shape, *, time=2, frequency=2, widest=0.2):
  """Masks of shape [..., F, n], True in stripes across all frequencies or all frames (SpecAugment, Park et al., 2019).

  time, frequency: how many of each. widest: share of the axis; widths are uniform from 0 to it.
  """
  def stripes(key, full, number):                                                       # [..., full]
    key_width, key_start = jax.random.split(key)
    drawn = (*shape[:-2], number, 1)
    width = jax.random.randint(key_width, drawn, 0, int(widest * full) + 1)
    start = jnp.floor(jax.random.uniform(key_start, drawn) * (full - width + 1))
    at = jnp.arange(full)
    return jnp.any((at >= start) & (at < start + width), -2)
  keys = jax.random.split(key)
  return stripes(keys[0], shape[-2], frequency)[..., :, None] | stripes(keys[1], shape[-1], time)[..., None, :]
