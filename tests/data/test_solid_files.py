"""Voxel grids and point sets in folders: what examples are, and what is wrong in one line."""

import pickle

import numpy as np
import pytest

from sslx import data, errors, inputs
from sslx.augment import space
from sslx.data import solid

RNG = np.random.default_rng(0)


def put(file, x):
  file.parent.mkdir(parents=True, exist_ok=True)
  np.save(file, x, allow_pickle=True)


def test_grids_are_full_at_255_and_pooled_by_means(tmp_path):
  full = RNG.random((6, 4, 4, 4)) < 0.3
  for i, x in enumerate(full):
    folder = tmp_path / ("train" if i < 4 else "test") / ("cup" if i % 2 else "box")
    put(folder / f"{i}.npy", x if i else x.astype(np.uint8))
  train, test = (data.load(f"voxels:{tmp_path}", split=s) for s in ("train", "test"))
  assert (train.key, train.shape, train.dtype) == ("voxels", (4, 4, 4, 1), "uint8")
  assert (len(train), len(test)) == (4, 2)
  assert train.class_names == ("box", "cup") and train.labels.tolist() == [0, 0, 1, 1]
  np.testing.assert_array_equal(train.batch(np.arange(4))["voxels"][..., 0], 255 * full[[0, 2, 1, 3]])
  small = data.load(f"voxels:{tmp_path}", split="test", size=2)[0]["voxels"][..., 0]
  want = [full[4][a:a + 2, b:b + 2, c:c + 2].mean() for a in (0, 2) for b in (0, 2) for c in (0, 2)]
  np.testing.assert_array_equal(small.reshape(-1), np.rint(255 * np.array(want)))
  assert data.load(f"voxels:{tmp_path}", size=2).fingerprint != train.fingerprint
  inputs.check_images(train)
  with pytest.raises(errors.UsageError, match="data.size=3 does not divide"):
    data.load(f"voxels:{tmp_path}", size=3)


@pytest.mark.parametrize("x, kept", [
  (np.full((2, 2, 2), 7, np.uint8), 7), (np.full((2, 2, 2), 0.5), np.float32(0.5)),
  (np.ones((2, 2, 2), np.int64), 255)])
def test_grids_of_other_types(tmp_path, x, kept):
  put(tmp_path / "a.npy", x)
  assert (solid.grid(tmp_path / "a.npy") == kept).all()


def test_points_are_centred_drawn_alike_and_repeated(tmp_path):
  sets = [RNG.normal(size=(n, 3)) * 5 + 9 for n in (7, 5, 9, 8, 6)]
  for i, x in enumerate(sets):
    put(tmp_path / f"{i}.npy", x)
  train = data.load(f"points:{tmp_path}")
  assert (train.key, train.shape, train.dtype, train.labels) == ("points", (5, 3), "float32", None)
  every = [solid.cloud(p) for p in train.paths]
  for x, path in zip(every, train.paths, strict=True):
    raw = np.load(path) - np.load(path).mean(0)
    raw /= np.linalg.norm(raw, axis=1).max()
    np.testing.assert_allclose(sorted(x.tolist()), sorted(raw.tolist()), atol=1e-6)
  for x, whole in zip(train.batch(np.arange(len(train)))["points"], every, strict=True):
    assert len(np.unique(x, axis=0)) == 5 and {tuple(p) for p in x} <= {tuple(p) for p in whole}
  many = data.load(f"points:{tmp_path}", length=20)
  assert many.shape == (20, 3)
  np.testing.assert_array_equal(np.unique(many[0]["points"], axis=0), np.unique(every[0], axis=0))
  np.testing.assert_array_equal(pickle.loads(pickle.dumps(many)).batch([0, 1])["points"], many.batch([0, 1])["points"])
  inputs.check_images(train)                                 # below 0 and no image


def test_points_with_pictures(tmp_path):
  for i in range(5):
    put(tmp_path / f"{i}.npy", RNG.normal(size=(30, 3)))
  source = data.load(f"points:{tmp_path}", key="image", size=16)
  assert (source.key, source.shape, source.dtype) == ("image", (16, 16, 1), "uint8")
  batch = source.take([2, 1]).batch(np.arange(2))
  np.testing.assert_array_equal(batch["image"], np.rint(255 * np.asarray(space.render(batch["points"], size=16))))
  assert batch["image"].max() > 100


@pytest.mark.parametrize("kind, x, says", [
  ("voxels", np.zeros((2, 3)), "has shape \\[2, 3\\]: a voxel grid has three sides"),
  ("voxels", np.full((2, 2, 2), 3), "holds int64 from 3 to 3: voxels are"),
  ("voxels", np.full((2, 2, 2), np.nan), "holds float64 from nan"),
  ("voxels", np.ones((2, 2, 3)), "arrays of .* are not alike"),
  ("points", np.zeros((4, 4)), "has shape \\[4, 4\\]: points are \\[N, 3\\]"),
  ("points", np.full((4, 3), np.inf), "not finite"), ("points", np.array([["a"] * 3]), "holds <U1: points are")])
def test_what_does_not_fit(tmp_path, kind, x, says):
  put(tmp_path / "train" / "0.npy", np.ones((2, 2, 2)) if kind == "voxels" else np.ones((4, 3)))
  put(tmp_path / "train" / "1.npy", x)
  put(tmp_path / "test" / "2.npy", x)
  with pytest.raises(errors.UsageError, match=says):
    data.load(f"{kind}:{tmp_path}")


class Bomb:
  def __reduce__(self):
    return (exec, ("raise SystemExit",))


@pytest.mark.parametrize("kind, shape", [("voxels", (2, 2, 2)), ("points", (4, 3))])
def test_corrupt_files_are_named_or_left_out_and_nothing_is_unpickled(tmp_path, kind, shape):
  for i in range(6):
    put(tmp_path / f"{i}.npy", RNG.random(shape))
  put(tmp_path / "4.npy", np.array([Bomb()], object))
  (tmp_path / "5.npy").write_bytes((tmp_path / "3.npy").read_bytes()[:-5])
  for _ in range(2):
    with pytest.raises(errors.RunError, match="[45].npy is corrupt.*data.on_error=skip"):
      [data.load(f"{kind}:{tmp_path}", split=s) for s in ("train", "test")]
  parts = [data.load(f"{kind}:{tmp_path}", split=s, on_error="skip") for s in ("train", "test")]
  assert sum(map(len, parts)) == 4 and sum(s.skipped for s in parts) == 2
  (tmp_path / "empty").mkdir()
  with pytest.raises(errors.UsageError, match="empty has no arrays: .npy files"):
    data.load(f"{kind}:{tmp_path}/empty")


def test_large_sets_stay_in_their_files(tmp_path, monkeypatch):
  for i in range(5):
    put(tmp_path / f"{i}.npy", RNG.random((2, 2, 2)))
  kept = data.load(f"voxels:{tmp_path}")
  monkeypatch.setattr(solid, "KEPT", 40)
  late = data.load(f"voxels:{tmp_path}")
  assert kept.in_memory and not late.in_memory
  np.testing.assert_array_equal(late.batch([1, 3])["voxels"], kept.batch([1, 3])["voxels"])
