"""Images, filters, maps and charts as pure functions."""

import base64
import io
import types

import numpy as np
import pytest
from PIL import Image

from sslx import config, data, errors
from sslx.methods import base
from sslx.report import figures, looks, pictures, space


def decoded(uri):
  assert uri.startswith("data:image/png;base64,")
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


@pytest.mark.parametrize("shape, dtype, rgb", [
    ((6, 6, 1), "uint8", False), ((6, 6, 3), "uint8", True), ((6, 6, 2), "uint16", False), ((6, 6, 5), "uint16", True),
    ((6, 6), "float32", False), ((6, 9, 3), "float32", True), ((300, 200, 3), "uint8", True)])
def test_thumbnails(shape, dtype, rgb):
  x = np.random.default_rng(0).random(shape)
  x = x.astype(dtype) if dtype == "float32" else (x * np.iinfo(dtype).max).astype(dtype)
  out = decoded(looks.thumbnail(x))
  assert out.ndim == (3 if rgb else 2) and 90 <= max(out.shape[:2]) <= 128
  if max(shape) < 64:                                       # squares: each pixel is a block of equal ones
    k = out.shape[0] // shape[0]
    assert (out == out[::k, ::k].repeat(k, 0).repeat(k, 1)).all()
    wide = x.astype(float) / (1 if dtype == "float32" else np.iinfo(dtype).max)
    wide = wide if wide.ndim == 2 else wide[..., :3] if rgb else wide.mean(2)
    np.testing.assert_array_equal(out[::k, ::k], np.rint(255 * wide).astype(np.uint8))


def test_what_is_out_of_range_or_not_a_number_is_still_a_picture():
  assert looks.rgb(np.array([[np.nan, -1.0, 2.0]])).tolist() == [[0, 0, 255]]


def test_channels_are_explained():
  assert looks.channels(1) is None and looks.channels(3) is None
  assert "first three" in looks.channels(5) and "mean" in looks.channels(2)


def test_spread_takes_all_classes_alike():
  labels = np.repeat([0, 1, 2], [90, 8, 2])
  chosen = pictures.spread(labels, 6, np.random.default_rng(0))
  assert labels[chosen].tolist() == [0, 0, 1, 1, 2, 2] and len(set(chosen)) == 6


def test_filters_prefer_the_stem():
  kernel = lambda c: np.random.default_rng(0).random((3, 3, c, 5))
  found = pictures.filters({"params": {"a": {"kernel": kernel(8)}, "stem_conv": {"kernel": kernel(3)}}})
  assert found["name"] == "stem_conv/kernel" and found["shape"] == (3, 3, 3, 5) and len(found["tiles"]) == 5
  assert decoded(found["tiles"][0]).shape == (48, 48, 3) and found["note"] is None
  found = pictures.filters({"params": {"a": {"kernel": kernel(8)}, "b": np.zeros(3)}})
  assert found["name"] == "a/kernel" and "mean over its 8" in found["note"]
  tile = decoded(found["tiles"][0])
  assert tile.min() == 0 and tile.max() == 255
  with pytest.raises(errors.UsageError, match="no convolution"):
    pictures.filters({"params": {"b": np.zeros((3, 3))}})


def test_charts_come_light_and_dark():
  chart = figures.curve([1], [0.5])
  assert decoded(chart["light"]).shape == (2 * chart["height"], 2 * chart["width"], 4)
  assert (decoded(chart["light"]) != decoded(chart["dark"])).any() and decoded(chart["dark"])[0, 0, 3] == 0


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e9, 1e-9], [-1.0, 3.0]])
def test_curves_of_any_range(values):
  figures.curve([1, 2], values, floor=0, mark=2)


def test_many_classes_share_a_colour_for_the_rest():
  labels = np.concatenate([np.arange(30), np.arange(25), [7] * 5])
  groups = figures.class_groups(labels, {i: f"name {i}" for i in range(30)})
  assert len(groups) == 20 and groups[-1][0] == "others" and "name 7" in [g[0] for g in groups]
  assert sum(len(g[2]) for g in groups) == len(labels)


def test_heat_of_any_matrix():
  figures.heat(np.eye(4) * 7)
  figures.heat(np.eye(4), np.array([0, 0, 1, 1]), {0: "a long class name", 1: "b"}, halves=True)


def embedded(n=24, labelled=True):
  rng = np.random.default_rng(0)
  labels = np.arange(n) % 3
  x = space.unit(np.eye(3)[labels] + 0.01 * rng.random((n, 3)))
  images = rng.random((n, 4, 4, 1)).astype(np.float32)
  return {"train": (images, labels if labelled else None), "test": (images, labels if labelled else None),
          "encoder": (x, x), "raw": (x, x[::-1]), "titles": {"encoder": "Encoder", "raw": "Raw pixels"},
          "see": looks.thumbnail}


def test_neighbours():
  found = space.neighbours(embedded(), {i: f"class {i}" for i in range(3)}, 0)
  (title, share, rows), (_, wrong, _) = found["spaces"]
  assert title == "Encoder" and share == 1 and wrong < 1 and len(rows) == space.QUERIES
  query, nearest = rows[0]
  assert len(nearest) == space.NEIGHBOURS and nearest[0][0] == query[0] and all(n[2] for n in nearest)
  assert {q[1] for q, _ in rows} == {"class 0", "class 1", "class 2"}
  unlabelled = space.neighbours(embedded(labelled=False), {}, 0)["spaces"][0]
  assert unlabelled[1] is None and unlabelled[2][0][1][0][1:] == (None, None)


def test_maps():
  found = space.maps(embedded(), {i: str(i) for i in range(3)}, 0)
  assert [t for t, _ in found["charts"]] == ["Encoder, t-SNE", "Raw pixels, t-SNE", "Encoder, PCA", "Raw pixels, PCA"]
  assert [n for n, _ in found["legend"]] == ["0", "1", "2"]
  assert not space.maps(embedded(labelled=False), {}, 0)["legend"]


def test_no_map_of_a_point_or_of_few():
  same = embedded() | {"encoder": (np.ones((24, 3)), np.ones((24, 3)))}
  with pytest.raises(errors.UsageError, match="collapsed"):
    space.maps(same, {}, 0)
  with pytest.raises(errors.UsageError, match="too few"):
    space.maps(embedded(5), {}, 0)


def test_pictures_over_training_are_those_that_the_network_changes():
  class Saved:
    """Ten checkpoints whose only parameter is their step; one is damaged."""
    steps = staticmethod(lambda: list(range(10, 110, 10)))

    def restore_plain(self, step):
      if step == 30:
        raise errors.RunError("damaged")
      return step, {"params": step, "state": {}}

  images = np.full((4, 2, 2, 1), 0.5, np.float32)
  show = lambda params, state, made: {"input": made, "output": made * params / 100, "matrix": np.ones((4, 4)) * params}
  method = types.SimpleNamespace(show=show)
  given, found = pictures.over_training(Saved(), 100, {"params": 100, "state": {}}, method, images, 4)
  assert list(given) == ["input"] and list(found) == ["output"] and list(found["output"]) == [10, 50, 70, 90, 100]
  for step, x in found["output"].items():
    np.testing.assert_allclose(x, images * step / 100)
  one = types.SimpleNamespace(steps=lambda: [100])
  assert not pictures.over_training(one, 100, {"params": 100, "state": {}}, method, images, 4)[1]


def test_what_a_method_that_captions_shows():
  source, images = data.load("digits", split="test"), np.zeros((2, 8, 8, 1))
  shown = lambda params, state, views: {"said": base.Captioned(images, [["a <b> dog\0", "a dog"], ["a cat", ""]])}
  method = types.SimpleNamespace(reads=("image",), spaces=None, views=lambda key, batch: batch, show=shown)
  saved, tree = types.SimpleNamespace(steps=lambda: [2, 4], restore_plain=lambda step: (step, tree)), {
      "params": {}, "state": {}}
  found = pictures.drawn(saved, 4, tree, method, config.default(), source, {i: str(i) for i in range(10)})
  assert found["columns"] == ["original"] and not found["training"]["rows"]
  (name, cells), = found["captioned"]
  assert name == "said" and cells == [(looks.thumbnail(images[0]), ["a <b> dog\ufffd", "a dog"]),
                                      (looks.thumbnail(images[1]), ["a cat", ""])]


def test_what_a_method_of_sound_shows():
  source = data.load("digits_audio", split="test")
  shown = lambda params, state, views: {
      "lines": base.Text(["so it goes"]), "tone": base.Sound(views["audio"] / 32767, 4000),
      "clip": np.zeros((len(views["audio"]), 3, 8, 8, 1))}
  method = types.SimpleNamespace(reads=("audio",), views=lambda key, batch: batch, show=shown, spaces=None)
  saved, tree = types.SimpleNamespace(steps=lambda: [4]), {"params": {}, "state": {}}
  found = pictures.drawn(saved, 4, tree, method, config.default(), source, {i: str(i) for i in range(10)})
  assert found["columns"][:2] == ["original", "clip"] and "tone" not in found["columns"]
  (name, players), = found["sounds"]
  assert name == "tone" and len(players) == pictures.FEW and players[0].startswith("data:audio/wav")
  (_, drawn), = found["strips"]
  assert drawn == [looks.text("so it goes")]
