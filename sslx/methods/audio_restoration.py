"""Restoration of sound (Lu et al., 2013): a recording from a damaged copy, or from its own code."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import augment, errors, heads
from sslx.augment import audio, spectrum
from sslx.methods import base, pretext, sound

CITE = """@inproceedings{lu2013speech,
  title={Speech Enhancement Based on Deep Denoising Autoencoder},
  author={Lu, Xugang and Tsao, Yu and Matsuda, Shigeki and Hori, Chiori},
  booktitle={Interspeech}, year={2013}}"""


class Restorer(nn.Module):
  """An encoder of sound and a decoder of its grid to the spectrum of what was damaged: x [B, T] -> [B, T].

  With `skip` the decoder sees that spectrum too, and scales it and adds to it; else the magnitudes come from the grid
  alone and the phases from x.
  """
  encoder: nn.Module
  width: int
  skip: bool

  @nn.compact
  def __call__(self, x, train=False):
    e, wide = self.encoder, jnp.result_type(float)
    conv = lambda y, channels, name: nn.Conv(channels, (3, 3), param_dtype=wide, name=name)(y)
    loudness = jnp.maximum(audio.rms(x), 1e-5)
    s = spectrum.stft(x / loudness, size=e.window, hop=e.hop)                           # [B, F, n]
    grid = e.features(x, train)["grid"]                                                 # [B, h, w, D]
    bands = heads.Decoder((e.mels, s.shape[-1], self.width), self.width, name="decoder")(grid, train)
    filters = spectrum.mel_filters(e.rate, e.window, e.mels, e.low, e.high)             # [mels, F]
    spread = jnp.asarray(filters / filters.sum(0).clip(1e-3), bands.dtype)
    y = jnp.einsum("mf,bmnc->bfnc", spread, bands)                                      # from bands to frequencies
    size = jnp.sqrt(s.real**2 + s.imag**2 + 1e-8)
    if self.skip:
      y = jnp.concatenate([y, *(v[..., None] for v in (jnp.log(size), s.real / size**0.7, s.imag / size**0.7))], -1)
    y = conv(nn.relu(conv(y, self.width, "first")), 3 if self.skip else 1, "second")    # [B, F, n, 1 or 3]
    out = s * (1 + y[..., 0]) + jax.lax.complex(y[..., 1], y[..., 2]) if self.skip else (
        s / size * jnp.exp(jnp.clip(y[..., 0], -10, 5)))
    return spectrum.istft(out, size=e.window, hop=e.hop, length=x.shape[-1]) * loudness


def compressed(s, power=0.3):
  """(magnitudes to a power, the spectrum with such magnitudes), with gradients at 0 too."""
  square = s.real**2 + s.imag**2 + 1e-4
  return square ** (power / 2), s * square ** ((power - 1) / 2)


def distance(out, clean, *, window, hop, share=0.7):
  """How far waveforms [B, T] are apart: squares of compressed spectra, `share` of magnitudes (Braun & Tashev, 2020)."""
  loudness = jnp.maximum(audio.rms(clean), 1e-5)
  (a, x), (b, y) = (compressed(spectrum.stft(v / loudness, size=window, hop=hop)) for v in (out, clean))
  square = lambda z: jnp.mean(z.real**2 + z.imag**2)
  return share * square(a - b) + (1 - share) * square(x - y)


def ratio(out, clean):
  """Signal-to-noise ratio in dB [B] where the clean waveform [B, T] lasts: up to its last sample that is not 0."""
  lasts = jnp.cumsum((clean != 0)[:, ::-1], -1)[:, ::-1] > 0
  power = lambda x: jnp.sum(jnp.where(lasts, x, 0) ** 2, -1)
  return 10 * jnp.log10(jnp.maximum(power(clean), 1e-10) / jnp.maximum(power(out - clean), 1e-10))


def lsd(out, clean, *, window, hop):
  """Log-spectral distance in dB [B]: over frequencies the root of the mean square of the levels' difference.

  A mean over the frames where the clean waveform sounds; levels count from 60 dB below its loudest.
  """
  a, b = (jnp.abs(spectrum.stft(v, size=window, hop=hop)) ** 2 for v in (out, clean))
  loudest = jnp.maximum(jnp.max(b, (-2, -1), keepdims=True), 1e-10)
  level = lambda v: 10 * jnp.log10(jnp.maximum(v / loudest, 1e-6))
  frame = jnp.sqrt(jnp.mean((level(a) - level(b)) ** 2, -2))                            # [B, n]
  sounds = jnp.max(level(b), -2) > -40
  return jnp.sum(jnp.where(sounds, frame, 0), -1) / jnp.maximum(jnp.sum(sounds, -1), 1)


def make(encoder, *, snr=(0.0, 10.0), gaps=0, gap=0.03, band=(), skip=True, width=16):
  """Restoration on an encoder of sound with a grid.

  Args:
    snr: range of decibels that white noise is below the recording; () for none.
    gaps, gap: how many are cut out, and how long each is, as a share of the example. Where nothing else is damaged the
      gaps' places are known, and what is around them stays as it is.
    band: range of the share of frequencies that is left, the lowest ones; () for all.
    skip: whether the decoder sees the damaged spectrum, or the encoder's grid alone; where nothing is damaged it must
      be False, and the method is an autoencoder.
    width: channels of the decoder.
  """
  sound.needs(encoder, "audio_restoration")
  sound.check(snr=snr, band=band)
  pretext.needs_grid(encoder.trunk, "audio_restoration")
  damaged = bool(len(snr) or gaps or len(band))
  if skip and not damaged:
    raise errors.UsageError("audio_restoration has nothing to restore: set method.snr, gaps or band; or method.skip to "
                            "False, which makes it an autoencoder")
  only_gaps = gaps and not len(snr) and not len(band)
  net, sizes = Restorer(encoder, width, skip), {"window": encoder.window, "hop": encoder.hop}

  def views(rng, batch):
    clean, keys = augment.to_float(batch["audio"]), jax.random.split(rng, 3)
    x = audio.random_low_pass(keys[0], clean, share=band) if len(band) else clean
    x = audio.random_silence(keys[1], x, gaps=gaps, size=gap) if gaps else x
    views = {"audio": audio.random_noise(keys[2], x, decibels=snr) if len(snr) else x, "clean": clean}
    return views | ({"lost": x != clean} if only_gaps else {})

  def restore(params, state, views, rng=None):
    out, stats = base.forward(net, params["net"], state["net"], views["audio"], rng=rng)
    return jnp.where(views["lost"], out, views["audio"]) if only_gaps else out, stats

  def init(rng, batch):
    params, stats = base.init(net, rng, jax.eval_shape(views, rng, batch)["audio"])
    return {"net": params}, {"net": stats}

  def loss(params, state, views, rng, progress):
    out, stats = restore(params, state, views, rng)
    metrics, clean = {}, views["clean"]
    for name, x in (("", jax.lax.stop_gradient(out)), *([("_damaged", views["audio"])] if damaged else [])):
      metrics |= {f"snr{name}": jnp.mean(ratio(x, clean)), f"lsd{name}": jnp.mean(lsd(x, clean, **sizes))}
    return distance(out, views["clean"], **sizes), ({"net": stats}, metrics)

  def show(params, state, views):
    out, _ = restore(params, state, views)
    waves = {"original": views["clean"], **({"damaged": views["audio"]} if damaged else {}),
             "restored" if damaged else "output": out.clip(-1, 1)}
    return ({k: sound.upright(encoder.picture(x)) for k, x in waves.items()}
            | {f"{k}, sound": base.Sound(x, encoder.rate) for k, x in waves.items()})

  kept = lambda params, state: base.kept("net", params, state, "audio")
  return base.Method(init, views, loss, kept, ("audio",), show=show)
