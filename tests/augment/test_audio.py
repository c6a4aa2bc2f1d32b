"""Sound: spectra against NumPy and recorded values of librosa, what the operations do, what holds for all of them."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import IN_A_RUN
from jax.sharding import NamedSharding, PartitionSpec

from sslx import errors
from sslx.augment import audio, spectrum

PUBLIC = {n: f for n, f in vars(audio).items()
          if inspect.isfunction(f) and f.__module__ == audio.__name__ and not n.startswith("_")}
RANDOM = [n for n in PUBLIC if n.startswith("random_")]
RNG = np.random.default_rng(0)
X = RNG.uniform(-0.5, 0.5, (8, 256)).astype(np.float32)
X[6], X[7, 100:] = 0, 0                                              # silence, and silence behind a recording
KEY = jax.random.key(7)
FRONT = {"size": 32, "hop": 12}
LIBROSA = np.array([[21.56057, -13.26156, -66.92240, -75.52068],
                    [1.93561, 23.02536, -49.04379, -69.12940],
                    [-6.51912, 22.63034, 12.61171, -57.06112],
                    [-11.64770, -19.23355, 25.47237, 1.35931],
                    [-14.65266, -56.50166, 11.20254, 25.28718]])


def bound(name):
  """The function with every option that has no default."""
  needs = inspect.signature(PUBLIC[name]).parameters
  return lambda key, wave: PUBLIC[name](key, wave, **({"size": 200, "speed": (0.7, 1.5)} if "speed" in needs else {}))


@pytest.mark.parametrize("name", PUBLIC)
def test_signature(name):
  parameters = list(inspect.signature(PUBLIC[name]).parameters.values())
  assert PUBLIC[name].__doc__
  if name in RANDOM:
    assert [p.name for p in parameters[:2]] == ["key", "wave"]
    assert all(p.kind == p.KEYWORD_ONLY for p in parameters[2:])
  else:
    assert parameters[0].name == "wave"


@pytest.mark.parametrize("name", RANDOM)
def test_random(name):
  """Draws depend on the key and the place alone, whatever the batch and the number of devices."""
  f = bound(name)
  slope = lambda wave: jnp.sum(f(KEY, wave) * jnp.cos(jnp.arange(f(KEY, wave).size)).reshape(f(KEY, wave).shape))
  run = jax.jit(lambda key, wave: (f(key, wave), f(key, wave[:2]), jax.grad(slope)(wave)), compiler_options=IN_A_RUN)
  out, first, gradient = run(KEY, X)
  assert out.shape[0] == 8 and out.dtype == X.dtype and np.abs(out).max() <= 1
  assert np.isfinite(gradient).all() and gradient[0].any()
  assert not np.array_equal(out, run(jax.random.key(8), X)[0])
  if name != "random_mix":
    np.testing.assert_allclose(first, out[:2], atol=5e-7)
  if name not in ("random_noise", "random_mix"):
    assert not np.any(out[6])                                        # silence stays silent
  mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
  spread = jax.jit(f, compiler_options=IN_A_RUN)(KEY, jax.device_put(X, NamedSharding(mesh, PartitionSpec("d"))))
  assert np.array_equal(spread, out)


@pytest.mark.parametrize("name", RANDOM)
def test_keeps_the_float_type(name):
  of = lambda dtype: jax.eval_shape(bound(name), KEY, jax.ShapeDtypeStruct(X.shape, dtype)).dtype
  assert of(jnp.float32) == jnp.float32 and of(jnp.bfloat16) == jnp.bfloat16
  with jax.enable_x64(True):
    assert of(jnp.float64) == jnp.float64


def decibels(a, b):
  return 20 * np.log10(np.sqrt(np.mean(a**2, -1)) / np.sqrt(np.mean(b**2, -1)))


def test_levels():
  np.testing.assert_allclose(audio.rms(X)[:, 0], [*np.sqrt(np.mean(X[:6]**2, -1)), 0, np.sqrt(np.mean(X[7, :100]**2))],
                             rtol=1e-4)
  np.testing.assert_allclose(audio.gain(X[0], -6.0), X[0] * 10 ** (-6 / 20), rtol=1e-5)
  assert np.abs(audio.gain(X, 40.0)).max() == 1
  level = np.linspace(5, 20, 6)
  noise = audio.mix(0.1 * X[:6], RNG.normal(0, 1, (6, 256)), level) - 0.1 * X[:6]
  np.testing.assert_allclose(decibels(0.1 * X[:6], noise), level, atol=0.01)
  assert np.array_equal(audio.mix(X[:6], np.zeros(256), 0.0), X[:6])
  out = audio.random_noise(KEY, 0.1 * X[:6], decibels=(10.0, 12.0)) - 0.1 * X[:6]
  assert np.all((decibels(0.1 * X[:6], out) > 9.9) & (decibels(0.1 * X[:6], out) < 12.1))


def test_crop_reads_between_samples():
  for start, speed in ((0.0, 1.0), (7.25, 1.5), (-3.0, 0.5), (250.0, 1.0)):
    want = np.interp(start + speed * np.arange(40), np.arange(-50, 400), np.pad(X[0], (50, 144)))
    np.testing.assert_allclose(audio.crop(X[0], start, size=40, speed=speed), want, atol=1e-6)
  whole = audio.random_crop(KEY, X[:6], size=128, speed=(2.0, 2.0))
  np.testing.assert_allclose(whole, X[:6, ::2], atol=1e-6)           # there is no room to choose from


def test_silence_and_low_pass():
  out = audio.silence(X[:2], np.array([[3, 100], [250, 0]]), size=10)
  want = X[:2].copy()
  want[0, 3:13] = want[0, 100:110] = want[1, 250:] = want[1, :10] = 0
  assert np.array_equal(out, want)
  lost = np.sum(np.asarray(audio.random_silence(KEY, X[:6], gaps=2, size=0.1)) == 0, -1)
  assert np.all((lost >= 26) & (lost <= 52))
  kept = np.abs(np.fft.rfft(np.asarray(audio.low_pass(0.1 * X[:2], np.array([0.5, 1.0])))))
  full = np.abs(np.fft.rfft(0.1 * X[:2]))
  np.testing.assert_allclose(kept[0, :65], full[0, :65], atol=1e-4)
  assert kept[0, 65:].max() < 1e-4
  np.testing.assert_allclose(kept[1], full[1], atol=1e-4)


@pytest.mark.parametrize("size, hop, samples", [(32, 12, 256), (32, 16, 250), (30, 7, 101)])
def test_stft_is_a_sum_and_comes_back(size, hop, samples):
  x = X[:2, :samples].astype(np.float64)
  padded = np.pad(x, [(0, 0), (size // 2, size // 2)], mode="reflect")
  window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
  wave = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size)
  want = np.stack([(padded[:, i:i + size] * window) @ wave.T for i in range(0, samples + 1, hop)], -1)
  with jax.enable_x64(True):
    got = spectrum.stft(x, size=size, hop=hop)
    assert got.dtype == np.complex128
    np.testing.assert_allclose(got, want, atol=1e-10)
    np.testing.assert_allclose(spectrum.istft(got, size=size, hop=hop, length=samples), x, atol=1e-9)


def test_log_mel_is_librosas():
  """librosa 0.11's power_to_db(melspectrogram(htk=True, norm=None, pad_mode="reflect"), top_db=None), some frames."""
  t = np.arange(800) / 4000
  with jax.enable_x64(True):
    chirp = 0.5 * np.sin(2 * np.pi * (100 * t + 4000 * t**2))
    got = spectrum.log_mel(chirp, rate=4000, size=128, hop=80, mels=5, low=50.0)
    np.testing.assert_allclose(got[:, ::3], LIBROSA, atol=1e-4)


def test_mel_filters():
  filters = spectrum.mel_filters(4000, 128, 5, 50.0)
  mel = lambda f: 2595 * np.log10(1 + f / 700)
  peaks = np.linspace(mel(50), mel(2000), 7)[1:-1]
  assert filters.shape == (5, 65) and filters.min() == 0 and filters.max() <= 1
  assert np.all(np.abs(mel(filters.argmax(1) * 4000 / 128) - peaks) < mel(700) - mel(668))
  for low, high in ((100, 100), (0, 2001), (-1, 50)):
    with pytest.raises(errors.UsageError, match="mel bands from"):
      spectrum.mel_filters(4000, 128, 5, low, high)


def test_pictures_do_not_know_loudness():
  level = spectrum.log_mel(X[:6], rate=4000, mels=8, **FRONT)
  seen, quiet = (spectrum.picture(v) for v in (level, spectrum.log_mel(0.5 * X[:6], rate=4000, mels=8, **FRONT)))
  assert np.all(seen.max((1, 2)) == 1) and seen.min() >= 0
  np.testing.assert_allclose(seen, quiet, atol=1e-5)
  assert not np.any(spectrum.picture(spectrum.log_mel(X[6], rate=4000, mels=8, **FRONT)))


def test_stripes_cross_the_whole_picture():
  mask = np.asarray(spectrum.random_stripes(KEY, (50, 20, 30), time=1, frequency=1, widest=0.25))
  rows, columns = mask.all(2), mask.all(1)
  assert np.array_equal(mask, rows[:, :, None] | columns[:, None, :])
  assert set(rows.sum(1)) == set(range(6)) and columns.sum(1).max() == 7 and columns.sum(1).min() == 0
  assert not np.any(spectrum.random_stripes(KEY, (4, 20, 30), time=0, frequency=0))


def test_too_short():
  with pytest.raises(errors.UsageError, match="too short for windows of 32"):
    spectrum.stft(X[:, :16], **FRONT)
