"""embed: any sizes, types and counts give what one image at a time gives, with one compile."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sslx import checkpoint, errors
from sslx.evaluate import Embedder, embed
from sslx.evaluate.embed import compiled

TRACES = []


class Small(nn.Module):
  """A tiny encoder that counts its traces."""
  width: int = 6

  @nn.compact
  def features(self, x, train=False):
    TRACES.append(x.shape)
    assert x.dtype == jnp.float32
    stage1 = nn.relu(nn.Conv(4, (3, 3))(x))
    grid = nn.relu(nn.Conv(self.width, (3, 3), strides=(2, 2))(stage1))
    return {"stage1": stage1, "grid": grid, "pooled": grid.mean((1, 2)), "half": grid.astype(jnp.bfloat16)}

  def __call__(self, x, train=False):
    return self.features(x, train)["pooled"]


def record(shape=(8, 8, 3), **options):
  module = Small(**options)
  variables = module.init(jax.random.key(0), jnp.ones((1, *shape)))
  return types.SimpleNamespace(module=module, shape=shape, variables=variables)


RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (37, 8, 8, 3), np.uint8)


def direct(encoder, x):
  return np.asarray(encoder.module.apply(encoder.variables, jnp.asarray(x, jnp.float32), train=False))


def test_types_and_last_batch():
  e = record()
  want = direct(e, IMAGES / np.float32(255))
  for x in (IMAGES, IMAGES.astype(np.uint16) * 257, IMAGES / np.float32(255), IMAGES / np.float64(255), list(IMAGES)):
    got = embed(e, x, batch_size=16)
    assert got.dtype == np.float32 and got.shape == (37, 6)
    np.testing.assert_allclose(got, want, atol=1e-6)
  for batch_size in (1, 37, 64):
    np.testing.assert_allclose(embed(e, IMAGES, batch_size=batch_size), want, atol=1e-6)


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_odd_sizes_equal_one_by_one(fit):
  e = record()
  e.spec = {"config": {"data": {"fit": fit}}}
  images = [RNG.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((5, 9), (8, 8), (30, 3), (16, 16), (1, 1))]
  images += [RNG.integers(0, 256, (12, 7), np.uint8), RNG.integers(0, 256, (12, 7, 1), np.uint8)]
  together = embed(e, images, batch_size=4)
  np.testing.assert_allclose(together, np.concatenate([embed(e, [x], batch_size=4) for x in images]), atol=1e-6)
  box = lambda h, w: ((w - min(h, w)) / 2, (h - min(h, w)) / 2, (w + min(h, w)) / 2, (h + min(h, w)) / 2)
  resized = np.stack([np.asarray(Image.fromarray(x).resize(
      (8, 8), Image.Resampling.BILINEAR, box(*x.shape[:2]) if fit == "crop" else None)) for x in images[:5]])
  np.testing.assert_allclose(together[:5], direct(e, resized / 255), atol=1e-6)
  mixed = embed(e, [images[0], images[1] / 255.0, images[2].astype(np.uint16) * 257])
  np.testing.assert_allclose(mixed, together[:3], atol=5e-3)                     # no rounding to 8 bits in between
  np.testing.assert_allclose(embed(e, np.stack([images[3]] * 2)), together[[3, 3]], atol=1e-6)


def test_an_encoder_whose_images_are_not_square():
  e = record((8, 4, 3))
  images = [RNG.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((8, 4), (16, 8), (9, 30), (31, 7))]
  resized = [np.asarray(Image.fromarray(x).resize((4, 8), Image.Resampling.BILINEAR, box)) for x, box in zip(
      images, (None, None, (12.75, 0, 17.25, 9), (0, 8.5, 7, 22.5)), strict=True)]
  np.testing.assert_allclose(embed(e, images), direct(e, np.stack(resized) / 255), atol=1e-6)


def test_resizing_is_antialiased():
  e = record()
  checks = np.indices((64, 64)).sum(0) % 2
  fine = np.repeat((255 * checks).astype(np.uint8)[..., None], 3, 2)
  grey = np.full((8, 8, 3), 127.5 / 255, np.float32)
  np.testing.assert_allclose(embed(e, [fine]), direct(e, grey[None]), atol=0.01)


def test_grey_becomes_rgb():
  e = record()
  np.testing.assert_allclose(embed(e, IMAGES[..., :1]), embed(e, np.repeat(IMAGES[..., :1], 3, 3)), atol=1e-6)


def test_layers():
  e = record()
  f = e.module.apply(e.variables, jnp.asarray(IMAGES / np.float32(255)), train=False, method="features")
  np.testing.assert_allclose(embed(e, IMAGES, layer="stage1"), np.mean(f["stage1"], (1, 2)), atol=1e-6)
  np.testing.assert_allclose(embed(e, IMAGES, layer="pooled"), f["pooled"], atol=1e-6)
  assert embed(e, IMAGES, layer="half").dtype == np.float32
  with pytest.raises(errors.UsageError, match="unknown layer 'stage9': did you mean stage1.*pooled"):
    embed(e, IMAGES, layer="stage9")


def test_repeated_calls_do_not_trace_again():
  e = record(width=5)
  TRACES.clear()
  for _ in range(3):
    embed(e, IMAGES, batch_size=16)
    embed(record(width=5), IMAGES[:3], batch_size=16)      # an equal module, other variables; init traces batch 1
  assert len([s for s in TRACES if s[0] == 16]) == 1
  assert compiled(Small(width=5), None) is compiled(e.module, None)


@pytest.mark.parametrize("images, match", [
  (np.zeros((0, 8, 8, 3), np.uint8), "no images"), ([], "no images"),
  (np.zeros((8, 8, 3), np.uint8), r"must be \[N, H, W, C\]"),
  (np.zeros((2, 8, 8, 4), np.uint8), r"image 0 .*\(8, 8, 4\)"),
  ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 2), np.uint8)], r"image 1 .*\(8, 8, 2\)"),
  ([np.zeros((0, 8, 3), np.uint8)], "image 0"),
  (np.zeros((2, 8, 8, 3), np.int64), "int64"), (np.full((2, 8, 8, 3), 255.0), r"from 255 to 255; .* \[0, 1\]"),
  (np.full((2, 8, 8, 3), np.nan), "from nan"),
])
def test_what_is_no_image_is_one_clear_line(images, match):
  with pytest.raises(errors.UsageError, match=match) as e:
    embed(record(), images)
  assert "\n" not in str(e.value)


def test_scikit_learn_pipeline():
  e = record()
  y = np.arange(37) % 2
  pipeline = make_pipeline(Embedder(e, batch_size=16), LogisticRegression()).fit(IMAGES, y)
  assert pipeline.predict(IMAGES).shape == (37,)
  np.testing.assert_allclose(pipeline[:-1].transform(IMAGES), embed(e, IMAGES, batch_size=16), atol=1e-6)
  assert list(pipeline[:-1].get_feature_names_out()) == [f"embedder{i}" for i in range(6)]
  assert len(Embedder(e, layer="stage1").get_feature_names_out()) == 4
  copy = clone(Embedder(e, layer="stage1"))
  np.testing.assert_allclose(copy.transform(IMAGES), embed(e, IMAGES, layer="stage1"), atol=1e-6)
  assert set(copy.get_params()) == {"encoder", "layer", "batch_size"}


def test_embedder_loads_a_workdir_once(monkeypatch):
  loads, e = [], record()
  monkeypatch.setattr(checkpoint, "load_encoder", lambda path: loads.append(path) or e)
  embedder = Embedder("some/run")
  embedder.transform(IMAGES)
  assert embedder.transform(IMAGES).shape == (37, 6) and loads == ["some/run"]
