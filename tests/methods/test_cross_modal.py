"""An image with its sound, its depth and the clip around it: against NumPy, and what does not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import augment, checkpoint, config, data, encoders, errors, frozen, methods, train
from sslx.augment import spectrum
from sslx.methods import ambient_sound

RNG = np.random.default_rng(0)
PLAIN = lambda key, image: augment.to_float(image)
PAIRS = {k: v for k, v in data.load("digits_pairs").batch(np.arange(12)).items() if k in ("image", "audio", "depth")}
SPECTROGRAM = {"rate": 4000, "window": 128, "hop": 64, "mels": 16}


def image_encoder():
  return encoders.make("resnet10", width=4, stem="small", mean=(0.3,), std=(0.4,))


def measured(method, batch, params, state):
  """(loss, metrics, new state) of a batch seen as it is."""
  views = method.views(jax.random.key(1), batch)
  loss, (state, metrics) = jax.jit(method.loss)(params, state, views, jax.random.key(2), 0.5)
  return loss, metrics, state


@pytest.fixture(scope="module")
def corresponding():
  audio = encoders.make("audio_resnet10", width=4, stem="small", **SPECTROGRAM)
  method = methods.make("audio_visual", image_encoder(), audio=audio, target="correspondence", width=8, hidden=8,
                        aug=PLAIN)
  return method, *method.init(jax.random.key(0), PAIRS)


def test_what_has_no_sound_corresponds_to_nothing(corresponding):
  method, params, state = corresponding
  silent = PAIRS | {"audio": np.where(np.arange(12)[:, None] < 4, 0, PAIRS["audio"])}
  loss, metrics, _ = measured(method, silent, params, state)
  moved = silent | {"image": silent["image"].copy()}
  moved["image"][:4] = moved["image"][3::-1]                 # the same batch, so batch norm sees the same
  assert loss == pytest.approx(float(measured(method, moved, params, state)[0]), abs=1e-6)
  assert 0 < metrics["correspondence_accuracy"] < 1 and np.isfinite(loss)
  none = PAIRS | {"audio": np.zeros_like(PAIRS["audio"])}
  assert measured(method, none, params, state)[0] == 0
  assert method.spaces is None and set(method.encoder(params, state)) == {"image", "audio"}


def test_correspondence_is_told_of_own_and_foreign_sounds(corresponding):
  method, params, state = corresponding
  params = jax.tree.map(jnp.zeros_like, params)              # the answer is the last layer's bias for all pairs
  last = max(params["objective"], key=lambda k: params["objective"][k]["bias"].shape == (1,))
  params["objective"][last]["bias"] = jnp.full(1, 0.7)
  loss, metrics, _ = measured(method, PAIRS, params, state)
  p = 1 / (1 + np.exp(-0.7))
  assert loss == pytest.approx(-(np.log(p) + np.log(1 - p)) / 2, abs=1e-6)           # half belong together
  assert metrics["correspondence_accuracy"] == 0.5


def test_statistics_of_sound_against_numpy():
  picture = RNG.random((3, 5, 14, 1))
  halves = picture[:, :, :14, 0].reshape(3, 5, 2, 7)
  wanted = np.concatenate([halves.mean(-1), halves.std(-1)], 1).reshape(3, -1)
  np.testing.assert_allclose(ambient_sound.statistics(jnp.asarray(picture), 2), wanted, rtol=1e-5)
  with pytest.raises(errors.UsageError, match="method.parts is 15: the spectrograms have 14 frames"):
    ambient_sound.statistics(jnp.asarray(picture), 15)


def test_clusters_are_those_of_k_means_over_the_stream():
  method = methods.make("ambient_sound", image_encoder(), clusters=3, aug=PLAIN, **SPECTROGRAM)
  params, state = method.init(jax.random.key(0), PAIRS)
  batches = [PAIRS | {"audio": RNG.permutation(PAIRS["audio"])} for _ in range(3)]
  batches[0]["audio"][0] = 0                                 # silence starts no cluster and moves none
  centroids, counts = None, np.zeros(3)
  for batch in batches:
    decibels = spectrum.log_mel(augment.to_float(batch["audio"]), rate=4000, size=128, hop=64, mels=16)
    x = np.asarray(ambient_sound.statistics(spectrum.picture(decibels)[..., None], 1), float)
    x = x[np.any(batch["audio"] != 0, 1)]
    centroids = x[:3].copy() if centroids is None else centroids
    label = np.argmin(((x[:, None] - centroids) ** 2).sum(-1), 1)
    for row, c in zip(x, label, strict=True):                # Sculley's rate: one over how many the centroid was given
      counts[c] += 1
      centroids[c] += (row - centroids[c]) / counts[c]
    _, _, state = measured(method, batch, params, state)
  np.testing.assert_array_equal(state["count"], counts)
  np.testing.assert_allclose(state["centroids"], centroids, atol=1e-4)
  unseen = PAIRS | {"image": np.zeros_like(PAIRS["image"])}
  assert measured(method, unseen, params, state)[0] == 0
  with pytest.raises(errors.UsageError, match="method.clusters lower or batch_size higher"):
    measured(method, {k: v[:2] for k, v in PAIRS.items()}, params, method.init(jax.random.key(0), PAIRS)[1])


def test_unknown_depths_do_not_count_and_scale_is_forgiven():
  make = lambda **options: methods.make("image_depth", image_encoder(), target="depth", reduce=1, decoder=4, aug=PLAIN,
                                        **options)
  method = make(far=19_000)
  params, state = method.init(jax.random.key(0), PAIRS)
  depth = PAIRS["depth"].copy()
  loss, metrics, new = measured(method, PAIRS, params, state)
  other = np.where(depth >= 19_000, 40_000, depth).astype(np.uint16)
  assert measured(method, PAIRS | {"depth": other}, params, state)[0] == loss
  known = depth[depth < 19_000].astype(float)
  assert new["mean"] == pytest.approx(np.log(known).mean(), rel=1e-5) and len(known) < depth.size
  assert metrics["rmse_log_of_mean"] == pytest.approx(np.log(known).std(), rel=1e-4)
  nearer = (depth // 2 * 2 * (depth < 19_000)).astype(np.uint16)
  half = (nearer // 2).astype(np.uint16)
  forgiving = make(share=1.0)                                # all depths halved: only the mean so far differs
  a, b = (measured(forgiving, PAIRS | {"depth": d}, params, state)[0] for d in (nearer, half))
  assert a == pytest.approx(float(b), rel=1e-4)


def test_depth_beside_holes_is_that_of_what_is_known():
  smaller = lambda key, image: augment.resize(image, (4, 4))
  method = methods.make("image_depth", image_encoder(), target="depth", reduce=1, decoder=4, aug=smaller)
  holes = RNG.random(PAIRS["depth"].shape) < 0.2
  batch = PAIRS | {"depth": np.where(holes, 0, 5000).astype(np.uint16)}
  _, metrics, new = measured(method, batch, *method.init(jax.random.key(0), batch))
  assert new["mean"] == pytest.approx(np.log(5000), rel=1e-5) and metrics["rmse_log_of_mean"] < 1e-3


@pytest.mark.slow
def test_a_frame_is_none_of_the_clip_around_it(tmp_path):
  c = config.load("configs/video_frame.py:tiny")
  c.method.aug.update(scale=(1.0, 1.0), jitter_p=0.0, grayscale_p=0.0, flip_p=0.0)
  encoder, method = train.build(c)
  clip = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None, None] * 20, (64, 10, 4, 4, 1))
  frame, around = method.views(jax.random.key(0), {"video": clip})["image"]
  number = lambda x: np.rint(np.asarray(x).mean((-3, -2, -1)) * 255 / 20).astype(int)[:, 0]
  all_ = np.sort(np.concatenate([number(frame), number(around)], 1))                        # [64, 6]
  assert np.array_equal(all_, all_[:, :1] + np.arange(6)) and len(np.unique(all_[:, 0])) == 5
  assert np.any(number(frame) == all_[:, :1]) and np.any(number(frame) == all_[:, -1:])
  with pytest.raises(errors.UsageError, match="have 1 to 9 around one"):
    methods.make("video_frame", encoder, frames=10).views(jax.random.key(0), {"video": clip})

  c.total_steps, c.online_probe, c.checkpoint.every = 2, False, 0
  whole = train.train(c, tmp_path)
  image = checkpoint.load_encoder(tmp_path / "towers" / "image")
  x = data.load("digits_video").batch(np.arange(4))["video"] / 255
  assert image.reads == "image" and image.shape == (12, 12, 1)
  np.testing.assert_allclose(image.module.apply(image.variables, x[:, 0], train=False),
                             whole.module.apply(whole.variables, x[:, :1], train=False), atol=1e-6)
  with pytest.raises(errors.UsageError, match="the encoder reads image, digits_video holds video"):
    frozen.load_data(image, None, "test")


def test_what_video_frame_and_audio_visual_cannot_take():
  with pytest.raises(errors.UsageError, match="set encoder.name to frames_resnet18"):
    methods.make("video_frame", image_encoder())
  with pytest.raises(errors.UsageError, match="contrast"):
    methods.make("audio_visual", image_encoder(), target="contrasts")
  with pytest.raises(errors.UsageError, match="reads sound"):
    methods.make("audio_visual", image_encoder(), audio={"name": "resnet10"})
