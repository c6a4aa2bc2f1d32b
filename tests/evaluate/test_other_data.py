"""Text, audio, video and objects through an encoder: embedded, evaluated beside the raw data, refused where unfit."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

from sslx import checkpoint, data, encoders, errors, evaluate
from sslx.evaluate import raw, sets
from sslx.evaluate.embed import usual

ALLOWED = {"text": np.int32, **dict.fromkeys(("audio", "video", "voxels", "points"), np.float32)}


class Reader(nn.Module):
  """An encoder of anything, which knows the type that it must get."""
  key: str

  @nn.compact
  def __call__(self, x, train=False):
    assert x.dtype == ALLOWED[self.key]
    x = nn.Embed(300, 4)(x) if self.key == "text" else x
    return nn.Dense(8)(x.reshape(len(x), -1))


def record(source):
  module = Reader(source.key)
  return checkpoint.of(module, module.init(jax.random.key(0), checkpoint.blank(source.shape, source.key)), source)


@pytest.mark.parametrize("key", ALLOWED)
def test_embedded_and_evaluated(key):
  train, test = (data.load(f"digits_{key}", split=s) for s in ("train", "test"))
  assert (train.key, len(train), len(test)) == (key, 1437, 360)
  encoder = record(train)
  x = train.batch(np.arange(5))[key]
  signal = x if key in ("text", "points") else x.astype(np.float32) / np.iinfo(x.dtype).max
  want = encoder.module.apply(encoder.variables, signal)
  np.testing.assert_allclose(evaluate.embed(encoder, x, batch_size=3), want, atol=1e-5)
  found = evaluate.evaluate(encoder, (train, train.labels), (test, test.labels), protocols=("knn",),
                            random=checkpoint.random_encoder(encoder.__class__(
                                encoder.module, None, encoder.shape, encoder.spec | {"config": {"seed": 1}})))
  assert set(found["knn"]) == {"encoder", "random", "raw"} and found["knn"]["raw"] > 0.2        # chance is 0.1
  with pytest.raises(errors.UsageError, match=f"this encoder of {key} needs \\['N', "):
    evaluate.embed(encoder, x[:, 1:])
  with pytest.raises(errors.UsageError, match="text is int32 tokens"):
    evaluate.embed(encoder, x.astype(np.float32 if key == "text" else np.int32))


def test_long_texts_go_through_few_at_once():
  for length, count in ((72, 256), (128, 256), (1024, 4), (4096, 1)):
    encoder = checkpoint.Encoder(None, None, (length,), {"data": {"key": "text"}})
    assert usual(encoder) == count


def test_large_objects_go_through_few_at_once():
  for key, shape, count in (("voxels", (16, 16, 16, 1), 256), ("voxels", (64, 64, 64, 1), 8), ("points", (512, 3), 256),
                            ("points", (4096, 3), 32)):
    assert usual(checkpoint.Encoder(None, None, shape, {"data": {"key": key}})) == count


def test_objects_as_they_are():
  rng = np.random.default_rng(0)
  grids, sets = rng.random((3, 32, 24, 3, 1)), rng.normal(size=(3, 46, 3))
  found = raw.pooled(grids).reshape(3, 16, 16, 3)
  edges = [n * 24 // 16 for n in range(17)]                  # of 16 cells of 24 voxels
  for i, j in np.ndindex(16, 16):
    want = grids[:, 2 * i:2 * i + 2, edges[j]:edges[j + 1], :, 0].mean((1, 2))
    np.testing.assert_allclose(found[:, i, j], want)
  ranks = raw.ranked(sets).reshape(3, 4, 16)
  np.testing.assert_allclose(ranks[:, :3], np.sort(sets, 1)[:, ::3].transpose(0, 2, 1))
  np.testing.assert_allclose(ranks[:, 3], np.sort(np.sqrt((sets**2).sum(-1)))[:, ::3])
  np.testing.assert_allclose(raw.ranked(sets[:, rng.permutation(46)]), raw.ranked(sets))


def test_counts_of_tokens():
  tokens = np.array([[3, 3, 1, 0], [2000, 0, 0, 0], [0, 0, 0, 0]], np.int32)
  found = raw.counts(tokens, 3000)
  assert raw.counts(tokens[:1], 50).shape == raw.counts(tokens[2:], 50).shape == (1, 50)    # whatever a part holds
  assert found.shape == (3, 1024)
  np.testing.assert_allclose(found[0, [1, 3]], [1 / 3, 2 / 3])
  assert not found[1:].any()


def test_raw_sound_is_what_the_encoder_sees():
  source = data.load("digits_audio", split="test")
  module = encoders.make("audio_resnet10", width=4, rate=4000, window=128, hop=64, mels=16)
  x = source.batch(np.arange(300))["audio"]
  found = raw.raw(x, checkpoint.of(module, {}, source))
  np.testing.assert_allclose(found, module.picture(x.astype(np.float32) / 32767).reshape(300, -1), atol=1e-5)


def test_depth_maps_as_they_are():
  set_ = data.load("digits_pairs", split="test", key="depth")
  encoder = checkpoint.Encoder(None, None, set_.shape, {"data": {"key": "depth"}})
  depth = set_.batch(np.arange(3))["depth"]
  np.testing.assert_allclose(raw.raw(depth, encoder), depth.reshape(3, -1) / 65535, rtol=1e-6)


def test_other_sets_are_read_as_the_runs_own(tmp_path):
  like = {"dir": None, "fit": "crop", "on_error": "raise", "tokenizer": "bytes", "key": "", "length": 4.0, "size": 0}
  for i in range(10):
    np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).random((6, 3)))
  found = sets.load(f"points:{tmp_path}", "train", (8, 8, 1), "image", like)                # pictures of them
  assert found.key == "image" and found.shape == (8, 8, 1) and found.batch(np.arange(2))["points"].shape == (2, 4, 3)
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "0.png")
  (tmp_path / "train.jsonl").write_text('{"image": "0.png", "text": "a b"}\n' * 5)
  with pytest.raises(errors.UsageError, match="none.json"):  # the run's tokenizer, not bytes
    sets.load(f"pairs:{tmp_path}", "train", (8, 8, 3), "image", like | {"tokenizer": str(tmp_path / "none.json")})
