import io
import json
import logging
import pathlib
import sys

import images
import numpy as np
import pytest

from sslx import data, errors


@pytest.fixture(scope="module", autouse=True)
def builders():
  import tensorflow_datasets as tfds

  class SslxPng(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    shape = (8, 8, 3)

    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
          "image": tfds.features.Image(shape=self.shape), "label": tfds.features.ClassLabel(names=["cat", "dog"]),
          "id": tfds.features.Text()}))

    def _split_generators(self, manager):
      return {"train": self._generate_examples(20), "test": self._generate_examples(10)}

    def _generate_examples(self, n):
      for i in range(n):
        yield i, {"image": io.BytesIO(images.encoded(images.pixels(i, *self.side(i), 3))), "label": i % 2, "id": str(i)}

    def side(self, i):
      return 8, 8

  class SslxSizes(SslxPng):
    shape = (None, None, 3)

    def side(self, i):
      return 8 + i, 9

    def _split_generators(self, manager):
      return {"train": self._generate_examples(20)}

  class SslxRaw(SslxPng):
    def _generate_examples(self, n):
      for i in range(n):
        yield i, {"image": images.pixels(i, 8, 8, 3), "label": 0, "id": ""}

  class SslxOffline(SslxPng):
    def _split_generators(self, manager):
      import requests
      raise requests.ConnectionError("no route to host\nand more")

  class SslxNeeds(SslxPng):
    def _split_generators(self, manager):
      import no_such_package  # noqa: F401

  class SslxText(SslxPng):
    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"id": tfds.features.Text()}))

    def _generate_examples(self, n):
      for i in range(n):
        yield i, {"id": str(i)}

  return SslxPng, SslxSizes, SslxRaw, SslxOffline, SslxNeeds, SslxText


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  return tmp_path_factory.mktemp("tfds")


@pytest.fixture(autouse=True)
def quiet(caplog):
  caplog.set_level(logging.ERROR, "sslx.data")


def test_prepared_and_read_without_tensorflow(root, capfd):
  train, test = (data.load("tfds:sslx_png", split=s, dir=root) for s in ("train", "test"))
  assert (len(train), len(test)) == (20, 10) and train.shape == (8, 8, 3) and train.class_names == ("cat", "dog")
  known = {images.pixels(i, 8, 8, 3).tobytes(): i for i in range(20)}
  found = [known[train[i]["image"].tobytes()] for i in range(20)]
  assert sorted(found) == list(range(20)) and (train.labels == np.array(found) % 2).all()
  assert train[3]["label"] == train.labels[3] and train.fingerprint != test.fingerprint
  again = data.load("tfds:sslx_png:1.0.0", split="validation", dir=root)
  assert len(again) == 10 and (again.labels == test.labels).all()              # labels kept beside the set
  assert "tensorflow" not in sys.modules
  out = capfd.readouterr()
  assert out.out == "" and out.err == ""


def test_batches_and_workers(root):
  s = data.load("tfds:sslx_png", dir=root)
  its = [data.batches(s, batch_size=6, seed=0, workers=w) for w in (0, 1)]
  for _ in range(4):
    a, b = map(next, its)
    assert a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)
  its[1].close()


def test_sizes_and_a_set_with_no_test_part(root):
  with pytest.raises(errors.UsageError, match="tfds:sslx_sizes differ in size: set data.size"):
    data.load("tfds:sslx_sizes", dir=root)
  train, test = (data.load("tfds:sslx_sizes", split=s, size=8, dir=root) for s in ("train", "test"))
  assert (len(train), len(test)) == (16, 4) and train.shape == train[0]["image"].shape == (8, 8, 3)


def test_listing_and_prepare(root):
  report = data.prepare("tfds:sslx_png", dir=root)
  assert report["splits"] == {"train": 20, "test": 10} and report["classes"] == ("cat", "dog")
  assert report["shape"] == (8, 8, 3) and report in data.listing(root)


def test_read_when_its_code_is_not_there(root, tmp_path):
  """A set prepared elsewhere and copied: nothing of its code is needed."""
  data.prepare("tfds:sslx_png", dir=root)
  target = tmp_path / "copied_set" / "1.0.0"
  target.parent.mkdir()
  for file in (root / "sslx_png/1.0.0").iterdir():
    target.mkdir(exist_ok=True)
    text = file.name.endswith("json")
    (target / file.name.replace("sslx_png", "copied_set")).write_bytes(
        file.read_bytes().replace(b"sslx_png", b"copied_set") if text else file.read_bytes())
  assert len(data.load("tfds:copied_set", dir=tmp_path)) == 20


@pytest.mark.parametrize(("name", "error", "match"), [
    ("sslx_raw", errors.UsageError, r"needs TensorFlow to be prepared .*`pip install 'sslx\[tfds-prepare\]'` and then "
                                    "`sslx data prepare tfds:sslx_raw`"),
    ("sslx_offline", errors.RunError, "not be downloaded .ConnectionError: no route to host.; .*sslx data prepare"),
    ("sslx_needs", errors.UsageError, "needs the package 'no_such_package'"),
    ("sslx_png:9.0.0", errors.UsageError, "cannot be loaded at version 9.0.0"),
    ("sslx_png/none", errors.UsageError, "BuilderConfig none not found"),
    ("sslx_pgn", errors.UsageError, "unknown TFDS data set 'sslx_pgn': did you mean sslx_png"),
    ("sslx_text", errors.UsageError, "has no images: its features are id")])
def test_what_cannot_be_had(root, name, error, match):
  with pytest.raises(error, match=match) as e:
    data.load(f"tfds:{name}", dir=root)
  assert "\n" not in str(e.value)
  assert all("sslx_raw" not in s["name"] for s in data.listing(root))


def test_tfrecord_files_need_tensorflow(root, tmp_path):
  data.prepare("tfds:sslx_png", dir=root)
  where = tmp_path / "sslx_png" / "1.0.0"
  where.mkdir(parents=True)
  for file in ("dataset_info.json", "features.json"):
    (where / file).write_bytes((root / "sslx_png/1.0.0" / file).read_bytes())
  info = json.loads((where / "dataset_info.json").read_text())
  pathlib.Path(where / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
  with pytest.raises(errors.UsageError, match="as tfrecord, which needs TensorFlow to be read: `pip install"):
    data.load("tfds:sslx_png", dir=tmp_path)
  assert all(s["name"] != "tfds:sslx_png" for s in data.listing(tmp_path))


def test_a_directory_that_cannot_be_written(tmp_path):
  (tmp_path / "d").write_text("a file")
  with pytest.raises(errors.UsageError, match="cannot write to"):
    data.load("tfds:sslx_png", dir=tmp_path / "d")
