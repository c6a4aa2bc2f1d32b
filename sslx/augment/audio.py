"""Sound. Waveforms are floats [..., T] in [-1, 1], one channel; amounts are scalars or one a waveform ([...]).

As with images, random functions take `key` first and the waveform next, options keyword-only, and each draw depends on
the key and the position in the batch alone. What would be louder than 1 is clipped.
"""

import math

import jax
import jax.numpy as jnp

from sslx.augment.exact import exp, rounded, total, uniform


def _each(amount, wave):
  """An amount a waveform [...] made to broadcast against [..., T]."""
  amount = jnp.asarray(amount, wave.dtype)
  return amount[..., None] if amount.ndim else amount


def _factor(decibels):
  """The factor of an amplitude."""
  return exp(decibels * (math.log(10) / 20))


def rms(wave):
  """The root of the mean square [..., 1] of what is not exactly 0: silence behind a recording does not count."""
  peak, count = jnp.max(jnp.abs(wave), -1, keepdims=True), jnp.sum(wave != 0, -1, keepdims=True)
  part = wave / jnp.where(peak > 0, peak, 1)
  mean = total(rounded(part * part), -1) / jnp.maximum(count, 1).astype(wave.dtype)
  return rounded(peak * jnp.sqrt(jnp.where(mean > 0, mean, 1)))


def gain(wave, decibels):
  """The waveform louder by so many decibels."""
  return jnp.clip(wave * _factor(_each(decibels, wave)), -1, 1)


def mix(wave, other, decibels):
  """Adds another waveform, made so loud that the first is `decibels` above it; what is silent adds nothing."""
  other = jnp.asarray(other, wave.dtype)
  loudness = rms(other)
  scale = rms(wave) / jnp.where(loudness > 0, loudness, 1) / _factor(_each(decibels, wave))
  return jnp.clip(wave + rounded(scale * other), -1, 1)


def crop(wave, start, *, size, speed=1.0):
  """`size` samples from `start` on, read `speed` times as fast, so higher too; linear between them, silent outside."""
  exact = jnp.promote_types(wave.dtype, jnp.float32)                                    # counts samples exactly
  start, speed = (_each(v, jax.ShapeDtypeStruct((), exact)) for v in (start, speed))
  at = start + rounded(speed * jnp.arange(size, dtype=exact))                           # [..., size]
  low = jnp.floor(at)
  part, place = (at - low).astype(wave.dtype), low.astype(jnp.int32)
  def read(place):
    known = (place >= 0) & (place < wave.shape[-1])
    index = jnp.broadcast_to(jnp.clip(place, 0, wave.shape[-1] - 1), (*wave.shape[:-1], size))
    return jnp.where(known, jnp.take_along_axis(wave, index, -1, mode="promise_in_bounds"), 0)
  first = read(place)
  return first + rounded(part * (read(place + 1) - first))


def low_pass(wave, share):
  """Nothing is left above `share` of the band, 1 for all of it: the lowest of the frequencies up to half the rate."""
  wide = jnp.promote_types(wave.dtype, jnp.float32)
  spectrum = jnp.fft.rfft(wave.astype(wide))
  kept = jnp.arange(spectrum.shape[-1]) <= _each(share, wave) * (spectrum.shape[-1] - 1)
  return jnp.clip(jnp.fft.irfft(jnp.where(kept, spectrum, 0), wave.shape[-1]), -1, 1).astype(wave.dtype)


def silence(wave, start, *, size):
  """Zero in `size` samples, a scalar or one a gap, from each of start [..., gaps] on."""
  start, size, at = jnp.asarray(start)[..., None], jnp.asarray(size)[..., None], jnp.arange(wave.shape[-1])
  return jnp.where(jnp.any((at >= start) & (at < start + size), -2), 0, wave)


def random_gain(key, wave, *, decibels=(-6.0, 6.0)):
  """gain by decibels uniform in the range."""
  return gain(wave, uniform(key, wave.shape[:-1], wave.dtype, *decibels))


def random_noise(key, wave, *, decibels=(0.0, 20.0)):
  """mix with white noise, the waveform louder by decibels uniform in the range: the signal-to-noise ratio."""
  key_noise, key_level = jax.random.split(key)
  noise = jax.random.normal(key_noise, wave.shape, wave.dtype)
  return mix(wave, noise, uniform(key_level, wave.shape[:-1], wave.dtype, *decibels))


def random_mix(key, wave, *, decibels=(0.0, 20.0)):
  """mix of each waveform of a batch [B, T] with the one before it, at decibels uniform in the range."""
  if wave.ndim != 2:
    raise ValueError(f"mixing takes a batch of waveforms [B, T], not {wave.shape}")
  return mix(wave, jnp.roll(wave, 1, 0), uniform(key, wave.shape[:-1], wave.dtype, *decibels))


def random_crop(key, wave, *, size, speed=(1.0, 1.0)):
  """crop at a speed uniform in the range and anywhere; what is then longer than the waveform has silence around it."""
  key_start, key_speed = jax.random.split(key)
  exact = jnp.promote_types(wave.dtype, jnp.float32)
  fast = uniform(key_speed, wave.shape[:-1], exact, *speed)
  room = wave.shape[-1] - rounded(fast * size)
  start = jnp.floor(rounded(jax.random.uniform(key_start, wave.shape[:-1], exact) * room))
  return crop(wave, start, size=size, speed=fast)


def random_low_pass(key, wave, *, share=(0.25, 0.75)):
  """low_pass at a share of the band uniform in the range."""
  return low_pass(wave, uniform(key, wave.shape[:-1], wave.dtype, *share))


def random_silence(key, wave, *, gaps=4, size=0.02):
  """silence in gaps at random places, each a share `size` of the waveform long; they may overlap."""
  length = max(1, round(size * wave.shape[-1]))
  return silence(wave, jax.random.randint(key, (*wave.shape[:-1], gaps), 0, wave.shape[-1] - length + 1), size=length)
