"""Methods of sound: what they show the encoder, measures against NumPy, MAE on pictures; what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import augment, encoders, errors, methods
from sslx.methods import audio_restoration, base, cola, mae

FRONT = {"rate": 4000, "window": 64, "hop": 32, "mels": 8}
TIME = np.arange(512) / 4000
X = np.stack([8000 * np.sin(2 * np.pi * f * TIME) for f in (210, 530, 910, 1490)]).astype(np.int16)
X[0, 300:] = 0
CLEAN = np.asarray(augment.to_float(X))
BATCH, KEY = {"audio": X}, jax.random.key(3)


@pytest.fixture(scope="module")
def resnet():
  return encoders.make("audio_resnet10", width=4, stem="small", **FRONT)


@pytest.fixture(scope="module")
def vit():
  return encoders.make("audio_vit_ti", patch=4, width=16, depth=1, heads=2, **FRONT)


@pytest.mark.parametrize("temperature, batch", [(0.0, False), (0.2, True)])
def test_cola_tells_stretches_apart(resnet, temperature, batch):
  method = methods.make("cola", resnet, segment=0.5, speed=(1.0, 1.0), snr=(), stripes=0, width=8,
                        temperature=temperature, batch_norm=batch)
  views = method.views(KEY, BATCH)
  assert views["audio"].shape == (4, 2, 256) and not views["mask"].any()
  for i in (1, 2, 3):                                                # each stretch lies in its own recording
    places = np.lib.stride_tricks.sliding_window_view(CLEAN[i], 256)
    assert all(np.abs(places - s).max(1).min() < 1e-6 for s in views["audio"][i])
  params, state = jax.jit(method.init)(KEY, BATCH)
  value, (_, metrics) = method.loss(params, state, views, KEY, 0.5)
  z = base.encode(base.Network(resnet.trunk, cola.Projector(8, batch)), params["net"],
                  state["net"], (resnet.picture(views["audio"]),))[0]
  z = np.asarray(z, np.float64)
  if temperature:
    z = z / np.linalg.norm(z, axis=2, keepdims=True)
    logits = z[0] @ z[1].T / temperature
  else:
    logits = z[0] @ np.asarray(params["similarity"]["kernel"], np.float64) @ z[1].T
  want = -np.mean(np.diag(logits) - np.log(np.exp(logits).sum(1)))
  np.testing.assert_allclose(value, want, rtol=1e-4)
  np.testing.assert_allclose(metrics["accuracy"], np.mean(logits.argmax(1) == np.arange(4)))


def test_cola_makes_louder(resnet):
  plain = {"segment": 0.5, "snr": (), "stripes": 0, "width": 8}
  a, b = (np.asarray(methods.make("cola", resnet, **plain, **own).views(KEY, BATCH)["audio"])
          for own in ({}, {"gain": (-12.0, -6.0)}))
  ratio = np.sqrt((b**2).mean(-1)[1:] / (a**2).mean(-1)[1:])          # the first one is silent
  assert (ratio > 10 ** (-12.1 / 20)).all() and (ratio < 10 ** (-5.9 / 20)).all() and ratio.std() > 0.01


def test_cola_hides_stripes(resnet):
  method = methods.make("cola", resnet, stripes=2, widest=0.5, width=8)
  views = method.views(KEY, BATCH)
  shown = method.show(None, None, views)
  hidden = np.asarray(views["mask"])[:, 0, ::-1]
  assert 0 < hidden.mean() < 1 and not np.asarray(shown["stretch 1"])[hidden].any()


@pytest.mark.parametrize("options, check", [
  ({"snr": (3.0, 3.0)}, lambda x: np.allclose(audio_restoration.ratio(x, CLEAN)[1:], 3, atol=0.1)),
  ({"snr": (), "gaps": 3, "gap": 0.1}, lambda x: np.all(np.sum(x == 0, 1) >= 51) and np.all((x == 0) | (x == CLEAN))),
  ({"snr": (), "band": (0.5, 0.5)}, lambda x: np.abs(np.fft.rfft(x))[:, 129:].max() < 1e-3),
  ({"snr": (), "skip": False}, lambda x: np.array_equal(x, CLEAN)),
])
def test_damages(resnet, options, check):
  views = methods.make("audio_restoration", resnet, **options).views(KEY, BATCH)
  np.testing.assert_allclose(views["clean"], CLEAN, atol=1e-7)
  assert check(np.asarray(views["audio"]))


def test_what_surrounds_known_gaps_stays(resnet):
  method = methods.make("audio_restoration", resnet, snr=(), gaps=3, gap=0.1, width=4)
  params, state = jax.jit(method.init)(KEY, BATCH)
  views = method.views(KEY, BATCH)
  restored = np.asarray(method.show(params, state, views)["restored, sound"].samples)
  damaged, lost = np.asarray(views["audio"]), np.asarray(views["lost"])
  assert lost.any() and np.array_equal(lost, damaged != CLEAN)
  assert np.array_equal(restored[~lost], damaged[~lost].clip(-1, 1)) and np.all(restored[lost] != 0)
  assert "lost" not in methods.make("audio_restoration", resnet, gaps=3).views(KEY, BATCH)       # noise is everywhere


def test_restored_sound_is_measured(resnet):
  noisy = CLEAN + np.random.default_rng(0).normal(0, 0.1, CLEAN.shape).astype(np.float32)
  want = [10 * np.log10(np.sum(c[:n]**2) / np.sum((c[:n] - x[:n])**2)) for c, x, n in
          zip(CLEAN, noisy, (300, 512, 512, 512), strict=True)]
  np.testing.assert_allclose(audio_restoration.ratio(noisy, CLEAN), want, atol=0.3)        # 300: to its last sample
  np.testing.assert_allclose(audio_restoration.ratio(noisy, CLEAN)[1:], want[1:], atol=1e-3)
  sizes = {"window": 64, "hop": 32}
  assert np.allclose(audio_restoration.lsd(CLEAN, CLEAN, **sizes), 0)
  loud = audio_restoration.lsd(2 * noisy, noisy, **sizes)
  np.testing.assert_allclose(loud, 20 * np.log10(2), atol=0.1)
  assert audio_restoration.distance(CLEAN, CLEAN, **sizes) == 0
  assert audio_restoration.distance(noisy, CLEAN, **sizes) > 0.1


@pytest.mark.slow
def test_restoration_starts_and_learns(resnet):
  method = methods.make("audio_restoration", resnet, snr=(0.0, 0.0), width=4)
  params, state = jax.jit(method.init)(KEY, BATCH)
  views = method.views(KEY, BATCH)
  run = jax.jit(jax.value_and_grad(lambda p: method.loss(p, state, views, KEY, 0.5), has_aux=True))
  (first, (_, metrics)), _ = run(params)
  assert metrics["snr_damaged"] == pytest.approx(0, abs=0.5)
  for _ in range(30):
    params = jax.tree.map(lambda p, g: p - 0.1 * g, params, run(params)[1])
  (last, (_, after)), _ = run(params)
  assert last < 0.8 * first and after["snr"] > metrics["snr"] + 0.5
  shown = method.show(params, state, views)
  assert set(shown) == {n + s for n in ("original", "damaged", "restored") for s in ("", ", sound")}
  assert shown["restored, sound"].samples.shape == X.shape and shown["restored, sound"].rate == 4000
  assert np.array_equal(shown["original"], resnet.picture(views["clean"])[:, ::-1])


def test_audio_mae_is_mae_on_pictures(vit):
  options = {"ratio": 0.5, "width": 8, "depth": 1, "heads": 2}
  method = methods.make("audio_mae", vit, **options)
  images = mae.make(vit.trunk, aug=lambda key, x: x, **options)
  params, state = jax.jit(method.init)(KEY, BATCH)
  views = method.views(KEY, BATCH)
  assert np.array_equal(views["audio"], CLEAN) and np.all(views["mask"].sum((1, 2)) == 4)
  pictures = {"image": vit.picture(CLEAN), "mask": views["mask"]}
  value = method.loss(params, state, views, KEY, 0.5)[0]
  np.testing.assert_allclose(value, images.loss(params, state, pictures, KEY, 0.5)[0], rtol=1e-6)
  (variables,) = method.encoder(params, state).values()
  np.testing.assert_allclose(vit.apply(variables, CLEAN), vit.trunk.apply(
      {"params": params["net"]["encoder"]}, pictures["image"]), atol=1e-5)
  assert np.array_equal(method.show(params, state, views)["original"], pictures["image"][:, ::-1])


@pytest.mark.parametrize("name, options, message", [
  ("cola", {"segment": 0.0}, "segment is 0: a share"), ("cola", {"speed": (2.0, 1.0)}, "speed is .2.0, 1.0.: a range"),
  ("audio_restoration", {"snr": ()}, "nothing to restore"), ("audio_restoration", {"snr": (1.0,)}, "snr is .1.0,.: a"),
  ("audio_mae", {}, "set encoder.name to a ViT"),
])
def test_wrong(resnet, name, options, message):
  with pytest.raises(errors.UsageError, match=message):
    methods.make(name, resnet, **options)


@pytest.mark.parametrize("name", ["cola", "audio_restoration", "audio_mae"])
def test_encoders_of_images_are_refused(name):
  with pytest.raises(errors.UsageError, match=f"{name} reads sound, and ResNet does not"):
    methods.make(name, encoders.make("resnet10"))


def test_silence_is_no_trouble(resnet):
  batch = {"audio": jnp.zeros((2, 512), jnp.int16)}
  method = methods.make("audio_restoration", resnet, width=4)
  params, state = jax.jit(method.init)(KEY, batch)
  run = jax.jit(jax.value_and_grad(lambda p: method.loss(p, state, method.views(KEY, batch), KEY, 0.5)[0]))
  value, slope = run(params)
  assert np.isfinite(value) and all(np.isfinite(g).all() for g in jax.tree.leaves(slope))
