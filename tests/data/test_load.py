import gzip
import sys

import images
import numpy as np
import pytest

from sslx import data, errors
from sslx.data import memory, source


def test_digits():
  train, test = data.load("digits"), data.load("digits", split="test")
  assert (len(train), len(test)) == (1437, 360) and train.shape == (8, 8, 1) and train.dtype == "uint8"
  image = train[0]["image"]
  assert image.min() == 0 and max(train[i]["image"].max() for i in range(9)) == 255
  assert train.class_names == tuple("0123456789") and np.abs(np.bincount(test.labels) - 36).max() <= 2
  assert train.fingerprint == data.load("digits").fingerprint != test.fingerprint
  assert data.load("digits", split="validation").fingerprint == test.fingerprint
  assert not {x.tobytes() for x in data.arrays(train)[0]} & {x.tobytes() for x in data.arrays(test)[0]}


def test_limit_and_size():
  a, b = (data.load("digits", limit=100, seed=s) for s in (0, 1))
  assert len(a) == len(b) == 100 and (a.labels != b.labels).any()
  assert (a.labels == data.load("digits", limit=100).labels).all() and len(data.load("digits", limit=10**6)) == 1437
  assert (data.load("digits", limit=30).labels == a.labels[:30]).all()
  assert data.load("digits", size=12)[0]["image"].shape == (12, 12, 1)


@pytest.mark.parametrize(("options", "match"), [
    ({"split": "tets"}, "unknown split 'tets': did you mean test"), ({"fit": "cut"}, "unknown data.fit 'cut'"),
    ({"on_error": "ignore"}, "unknown data.on_error"), ({"size": -1}, "data.size is -1"),
    ({"limit": -1}, "data.limit is -1")])
def test_options_that_cannot_be(options, match):
  with pytest.raises(errors.UsageError, match=match):
    data.load("digits", **options)


@pytest.mark.parametrize(("name", "match"), [
    ("text:PATH", "data.name is still 'text:PATH': set it to where your data lie, text:FOLDER_OR_FILE"),
    ("digit", "unknown data set 'digit': did you mean digits"), ("folder:", "write folder:PATH"),
    ("npz:nowhere.npz", "no such file: nowhere.npz"), ("no.such", "no such module"), ("tfds:A B", "write tfds:NAME")])
def test_names_that_cannot_be(name, match, tmp_path):
  with pytest.raises(errors.UsageError, match=match):
    data.load(name, dir=tmp_path)


def test_a_path_gets_a_hint(tmp_path):
  with pytest.raises(errors.UsageError, match=f"is a path: write folder:{tmp_path}"):
    data.load(str(tmp_path), dir=tmp_path)


X, Y = images.pixels(0, 20, 6, 5, 3), np.arange(20) % 2


@pytest.mark.parametrize("keys", [("images", "labels"), ("image", "label"), ("x", "y"), ("x_train", "y_train"),
                                  ("train_images", "train_labels")])
def test_npz_without_a_test_part(tmp_path, keys):
  np.savez(tmp_path / "a.npz", **dict(zip(keys, (X, Y), strict=True)))
  train, test = (data.load(f"npz:{tmp_path / 'a.npz'}", split=s) for s in ("train", "test"))
  assert (len(train), len(test)) == (16, 4) and train.shape == (6, 5, 3) and np.bincount(test.labels).tolist() == [2, 2]


@pytest.mark.parametrize("keys", ["train_images train_labels test_images test_labels", "x_train y_train x_test y_test",
                                  "images labels val_images val_labels"])
def test_npz_with_a_test_part(tmp_path, keys):
  np.savez(tmp_path / "a.npz", **dict(zip(keys.split(), (X, Y, X[:3], Y[:3]), strict=True)))
  train, test = (data.load(f"npz:{tmp_path / 'a.npz'}", split=s) for s in ("train", "test"))
  assert (len(train), len(test)) == (20, 3) and (test[2]["image"] == X[2]).all() and test[2]["label"] == Y[2]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_npz_types(tmp_path, dtype):
  x = X[..., 0] if "u" in dtype else X[..., 0] / 255
  np.savez(tmp_path / "a.npz", images=x.astype(dtype))
  s = data.load(f"npz:{tmp_path / 'a.npz'}")
  assert s.shape == (6, 5, 1) and s.dtype == dtype.replace("64", "32") and s.labels is None


@pytest.mark.parametrize(("arrays", "match"), [
    ({"images": X / 1.0}, r"float images lie in \[0, 1\], this one in \[0, 255\]"), ({"labels": Y}, "no images"),
    ({"images": X.astype(int)}, "this one is int64"), ({"images": X[0, 0]}, r"must be \[N, H, W\]"),
    ({"images": X, "labels": Y[:3]}, "labels must be 20 integers"), ({"images": X, "labels": Y / 2}, "integers"),
    ({"images": np.array([{}, {}])}, "without pickles")])
def test_npz_that_cannot_be(tmp_path, arrays, match):
  np.savez(tmp_path / "a.npz", **arrays)
  with pytest.raises(errors.UsageError, match=match):
    data.load(f"npz:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
def test_what_is_no_npz(tmp_path, content):
  (tmp_path / "a.npz").write_bytes(content)
  with pytest.raises(errors.UsageError, match="cannot be read as .npz"):
    data.load(f"npz:{tmp_path / 'a.npz'}")


def test_a_single_array_is_no_npz(tmp_path):
  np.save(tmp_path / "a.npy", X)
  with pytest.raises(errors.UsageError, match="single array"):
    data.load(f"npz:{tmp_path / 'a.npy'}")


def idx(path, array):
  head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
  path.write_bytes(gzip.compress(head + array.tobytes()))


def test_fashion_mnist_from_idx_files(tmp_path, monkeypatch):
  monkeypatch.setattr(memory, "FASHION", str(tmp_path / "none"))
  with pytest.raises(errors.UsageError, match="apt install dataset-fashion-mnist.*sslx data prepare"):
    data.load("fashion_mnist", dir=tmp_path)
  assert "fashion_mnist" not in [s["name"] for s in data.listing(tmp_path)]
  monkeypatch.setattr(memory, "FASHION", str(tmp_path))
  for part, n in (("train", 6), ("t10k", 4)):
    idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images.pixels(n, n, 28, 28))
    idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8))
  s = data.load("fashion_mnist", split="test", dir=tmp_path)
  assert len(s) == 4 and s.shape == (28, 28, 1) and s[3]["label"] == 3 and s.class_names[3] == "Dress"
  assert (s[3]["image"][..., 0] == images.pixels(4, 4, 28, 28)[3]).all()
  assert data.listing(tmp_path)[1]["splits"] == {"train": 6, "test": 4}
  (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bcut")
  with pytest.raises(errors.RunError, match="not a whole gzipped IDX file"):
    data.load("fashion_mnist", dir=tmp_path)


OWN = """
import numpy as np
from sslx.data import source

def load(*, split="train", size=0):
  n = 8 if split == "train" else 2
  return [{"image": np.full((size or 4,) * 2 + (3,), i, np.uint8), "label": i % 2} for i in range(n)]

def plain():
  return source.from_array("mine", np.zeros((5, 4, 4, 1), np.uint8))

def wrong(*, split="train"):
  return 3
"""


def test_a_factory_of_the_users(tmp_path, monkeypatch):
  (tmp_path / "own_set.py").write_text(OWN)
  monkeypatch.syspath_prepend(tmp_path)
  s = data.load("own_set.load", dir=tmp_path, size=6, limit=4)
  assert len(s) == 4 and s.shape == (6, 6, 3) and s[1]["label"] == s.labels[1] == s.rows[1] % 2
  assert len(data.load("own_set.load", split="test", dir=tmp_path)) == 2
  assert data.load("own_set.plain", dir=tmp_path).name == "mine"
  with pytest.raises(errors.UsageError, match="unknown option of data set own_set.plain 'split'"):
    data.load("own_set.plain", split="test", dir=tmp_path)
  with pytest.raises(errors.UsageError, match="it needs a length"):
    data.load("own_set.wrong", dir=tmp_path)
  with pytest.raises(errors.UsageError, match="data set 'own_set.missing': no such module"):
    data.load("own_set.missing", dir=tmp_path)
  sys.modules.pop("own_set")


def test_directory(monkeypatch, tmp_path):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "env"))
  assert data.directory() == str(tmp_path / "env") and data.directory(tmp_path) == str(tmp_path)
  monkeypatch.delenv("TFDS_DATA_DIR")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert data.directory() == str(tmp_path / "sslx" / "data")


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("classes", [0, 3, 60])
def test_split(count, classes):
  labels = np.arange(count) % classes if classes else None
  train, test = source.split(count, labels)
  assert sorted([*train, *test]) == list(range(count)) and len(test) == (-(-count // 5) if count > 1 else 0)
  assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()


def test_prepare_has_nothing_to_do_for_arrays():
  report = data.prepare("digits")
  assert report["splits"] == {"train": 1437, "test": 360} and report["path"] is None


def test_numbered():
  given = source.from_array("x", X, [[3, 7, 90][i % 3] for i in range(20)], map(str, range(8)))
  found, classes = data.numbered(given)
  assert classes == 3 and found.labels.tolist() == [i % 3 for i in range(20)] and found.labels.dtype == np.int32
  assert found.class_names == ("3", "7") and found[1]["label"] == 1 and given[1]["label"] == 7
  assert found.fingerprint == given.fingerprint
  for unlabelled in (source.from_array("x", X), source.from_array("x", X, [-1] + [4] * 19)):
    assert data.numbered(unlabelled) == (unlabelled, None)
