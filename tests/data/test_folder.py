import json
import logging
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import textwrap

import images
import numpy as np
import pytest

from sslx import data, errors


@pytest.fixture(autouse=True)
def quiet(caplog):
  caplog.set_level(logging.ERROR, "sslx.data")


def load(path, tmp_path, **options):
  return data.load(f"folder:{path}", dir=tmp_path / "d", **options)


def test_class_folders_are_split_alike_each_time(tmp_path):
  path = images.classes(tmp_path / "set", ("cat", "dog", "eel"), each=10)
  train, test = (load(path, tmp_path, split=s) for s in ("train", "test"))
  assert (len(train), len(test)) == (24, 6)
  assert train.class_names == ("cat", "dog", "eel") and train.shape == (8, 8, 3) and train.dtype == "uint8"
  assert np.bincount(test.labels).tolist() == [2, 2, 2] and not set(train.paths) & set(test.paths)
  for s in (train, test):
    for i in range(len(s)):
      k, n = s.labels[i], int(pathlib.Path(s.paths[i]).stem)
      np.testing.assert_array_equal(s[i]["image"], images.pixels(100 * k + n, 8, 8, 3))
      assert s[i]["label"] == k and s.paths[i] == os.path.join(path, s.class_names[k], f"{n}.png")
  again = data.load(f"folder:{path}", dir=tmp_path / "other", seed=9, split="val")
  assert again.paths == test.paths and again.fingerprint == test.fingerprint != train.fingerprint


@pytest.mark.parametrize(("held", "split"), [("test", "test"), ("val", "validation"), ("valid", "test"),
                                             ("validation", "val")])
@pytest.mark.parametrize("flat", [False, True])
def test_parts(tmp_path, held, split, flat):
  for k, part in enumerate(("train", held)):
    images.classes(tmp_path / "set" / part, ("",) if flat else ("a", "b"), first=10 * k)
  train, test = load(tmp_path / "set", tmp_path), load(tmp_path / "set", tmp_path, split=split)
  assert len(train) == len(test) == (5 if flat else 10)
  assert all("/train/" in p for p in train.paths) and all(f"/{held}/" in p for p in test.paths)
  assert (train.labels is None) == flat and ("label" in train[0]) != flat and train.class_names == (None if flat else (
      "a", "b"))


def test_train_alone_is_split_and_a_class_may_be_called_train(tmp_path):
  images.classes(tmp_path / "one" / "train", each=10)
  assert (len(load(tmp_path / "one", tmp_path)), len(load(tmp_path / "one", tmp_path, split="test"))) == (16, 4)
  images.classes(tmp_path / "two", ("bus", "train"))
  assert load(tmp_path / "two", tmp_path).class_names == ("bus", "train")


def test_all_three_parts(tmp_path):
  for k, part in enumerate(("train", "val", "test")):
    images.classes(tmp_path / "set" / part, first=k)
  found = [load(tmp_path / "set", tmp_path, split=s).paths[0].split("/")[-3] for s in ("train", "validation", "test")]
  assert found == ["train", "val", "test"]


def test_unlabelled(tmp_path):
  images.classes(tmp_path / "set", ("",), each=10)
  s = load(tmp_path / "set", tmp_path)
  assert len(s) == 8 and s.labels is None and s.class_names is None and set(s[0]) == {"image", "index"}
  assert set(next(data.batches(s, batch_size=4, seed=0))) == {"image", "index"}


def test_sizes(tmp_path):
  for i in range(10):
    images.write(tmp_path / "set" / f"{i}.png", images.pixels(i, 8 + i, 12, 3))
  with pytest.raises(errors.UsageError, match=r"differ in size \(8x12, 17x12, ...\): set data.size"):
    load(tmp_path / "set", tmp_path)
  for fit in ("crop", "squash"):
    s = load(tmp_path / "set", tmp_path, size=6, fit=fit)
    assert s.shape == s[0]["image"].shape == (6, 6, 3)


def test_grey_stays_grey_unless_mixed_with_colour(tmp_path):
  for i in range(5):
    images.write(tmp_path / "set" / f"{i}.png", images.pixels(i, 8, 8))
  assert load(tmp_path / "set", tmp_path).shape == (8, 8, 1)
  images.write(tmp_path / "set" / "5.png", images.pixels(5, 8, 8, 3))
  assert load(tmp_path / "set", tmp_path)[0]["image"].shape == (8, 8, 3)
  assert data.prepare(f"folder:{tmp_path / 'set'}", dir=tmp_path / "d")["notes"] == [
      "5 grey images among 1 in colour: all are read as RGB"]


@pytest.mark.parametrize(("other", "match"), [
    (np.zeros((8, 8, 3), np.uint16), "different number formats: uint16 in 5.npy, uint8 in 0.png"),
    (np.zeros((8, 8, 7), np.uint8), "different channels: 3 in 0.png, 7 in 5.npy")])
def test_mixtures_that_cannot_be(tmp_path, other, match):
  images.classes(tmp_path / "set", ("",))
  np.save(tmp_path / "set" / "5.npy", other)
  with pytest.raises(errors.UsageError, match=match):
    load(tmp_path / "set", tmp_path)


def test_many_channels(tmp_path):
  (tmp_path / "set").mkdir()
  for i in range(5):
    np.save(tmp_path / "set" / f"{i}.npy", images.pixels(i, 8, 8, 11, dtype=np.uint16))
  s = load(tmp_path / "set", tmp_path)
  assert s.shape == (8, 8, 11) and s.dtype == "uint16" == str(s[0]["image"].dtype)
  np.testing.assert_array_equal(s[0]["image"], np.load(s.paths[0]))


def corrupted(tmp_path):
  path = images.classes(tmp_path / "set")
  (tmp_path / "set/a/text.jpg").write_text("hello")
  (tmp_path / "set/a/zero.png").write_bytes(b"")
  (tmp_path / "set/b/cut.jpg").write_bytes(images.encoded(images.pixels(0, 64, 64, 3), "JPEG")[:-900])
  (tmp_path / "set/b/link.png").symlink_to("nowhere.png")
  return path


def test_corrupt_images_raise_by_name(tmp_path):
  path = corrupted(tmp_path)
  with pytest.raises(errors.RunError, match=r"corrupt image .*/a/text.jpg: not an image.*3 more.*on_error=skip") as e:
    load(path, tmp_path)
  assert "\n" not in str(e.value)
  with pytest.raises(errors.RunError, match="text.jpg"):
    data.prepare(f"folder:{path}", dir=tmp_path / "d")


def test_corrupt_images_are_skipped_counted_and_listed(tmp_path):
  path = corrupted(tmp_path)
  s = load(path, tmp_path, on_error="skip")
  assert s.skipped == 4 and len(s) == 8
  with pytest.raises(errors.RunError, match="text.jpg"):
    load(path, tmp_path)                                   # known from the preparation that skipped them
  report = data.prepare(f"folder:{path}", dir=tmp_path / "d", on_error="skip")
  assert report["skipped"] == 4 and report["splits"] == {"train": 8, "test": 2}
  lines = (pathlib.Path(report["path"]) / "skipped.txt").read_text().splitlines()
  assert [x.split(":")[0] for x in lines] == ["a/text.jpg", "a/zero.png", "b/cut.jpg", "b/link.png"]
  for file in ("a/text.jpg", "a/zero.png", "b/cut.jpg", "b/link.png"):
    (tmp_path / "set" / file).unlink()
  assert load(path, tmp_path).skipped == 0                 # repaired: seen, and prepared again


def test_all_corrupt(tmp_path):
  (tmp_path / "set").mkdir()
  (tmp_path / "set/x.jpg").write_text("hello")
  with pytest.raises(errors.RunError, match="all images of .*set/ are corrupt; x.jpg: not an image"):
    load(tmp_path / "set", tmp_path, on_error="skip")


def test_other_files_are_ignored_and_counted(tmp_path):
  path = images.classes(tmp_path / "set")
  for file in ("Thumbs.db", "readme.txt", "a/.hidden.png", "a/notes.txt"):
    (tmp_path / "set" / file).write_text("x")
  (tmp_path / "set/.cache").mkdir()
  assert data.prepare(f"folder:{path}", dir=tmp_path / "d")["ignored"] == 4


def test_a_changed_folder_is_prepared_again(tmp_path):
  path = images.classes(tmp_path / "set", each=10)
  first = load(path, tmp_path)
  file = pathlib.Path(first.paths[0])
  stat = file.stat()
  seen = []
  data.prepare(f"folder:{path}", dir=tmp_path / "d", progress=lambda *a: seen.append(a))
  assert not seen                                          # nothing changed, nothing done
  images.write(file, images.pixels(77, 8, 8, 3))
  os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
  second = load(path, tmp_path)
  assert second.fingerprint != first.fingerprint and (second[0]["image"] == images.pixels(77, 8, 8, 3)).all()
  images.write(tmp_path / "set/a/new.png", images.pixels(5, 8, 8, 3))
  assert len(load(path, tmp_path)) + len(load(path, tmp_path, split="test")) == 21
  (tmp_path / "set/a/new.png").unlink()
  assert load(path, tmp_path).fingerprint == second.fingerprint
  assert len(os.listdir(tmp_path / "d/folders")) == 1


def test_a_name_of_its_own(tmp_path):
  path, seen = images.classes(tmp_path / "set"), []
  report = data.prepare(f"folder:{path}", dir=tmp_path / "d", as_name="flowers", progress=lambda *a: seen.append(a))
  assert seen[-1] == (10, 10)
  assert report == {"name": "flowers", "path": str(tmp_path / "d/folders/flowers"), "splits": {"train": 8, "test": 2},
                    "shape": (8, 8, 3), "dtype": "uint8", "classes": ("a", "b"), "skipped": 0, "ignored": 0,
                    "notes": []}
  assert report in data.listing(tmp_path / "d")
  assert data.load("flowers", dir=tmp_path / "d").paths == load(path, tmp_path).paths
  assert os.listdir(tmp_path / "d/folders") == ["flowers"]           # folder:PATH found it
  with pytest.raises(errors.UsageError, match="'flowers' is already prepared, from .*/set: choose another name"):
    data.prepare("folder:" + images.classes(tmp_path / "other"), dir=tmp_path / "d", as_name="flowers")
  images.write(tmp_path / "set/a/new.png", images.pixels(5, 8, 8, 3))
  assert data.prepare("flowers", dir=tmp_path / "d")["splits"] == {"train": 8, "test": 3}
  shutil.rmtree(path)
  assert len(data.load("flowers", dir=tmp_path / "d")) == 8          # the copy outlives its folder
  with pytest.raises(errors.UsageError, match="unknown data set 'flower': did you mean flowers"):
    data.load("flower", dir=tmp_path / "d")


@pytest.mark.parametrize("name", ["digits", "a.b", "a/b", "", "ä"])
def test_names_that_cannot_be(tmp_path, name):
  with pytest.raises(errors.UsageError, match="as_name"):
    data.prepare("folder:" + images.classes(tmp_path / "set"), dir=tmp_path / "d", as_name=name)


def test_a_killed_preparation_leaves_nothing_readable(tmp_path):
  path = images.classes(tmp_path / "set", each=150)
  code = textwrap.dedent(f"""
      import os, signal
      from sslx import data
      data.prepare("folder:{path}", dir="{tmp_path / 'd'}", as_name="x",
                   progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
  """)
  run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert run.returncode == -signal.SIGKILL, run.stderr
  left = os.listdir(tmp_path / "d/folders")
  assert len(left) == 1 and left[0].startswith(".x.")
  assert all(s["name"] != "x" for s in data.listing(tmp_path / "d"))
  with pytest.raises(errors.UsageError, match="unknown data set 'x'"):
    data.load("x", dir=tmp_path / "d")
  data.prepare(f"folder:{path}", dir=tmp_path / "d", as_name="x")
  assert os.listdir(tmp_path / "d/folders") == ["x"]       # and what was left is gone


def test_an_interrupted_preparation_cleans_up(tmp_path):
  def stop(done, total):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    data.prepare("folder:" + images.classes(tmp_path / "set"), dir=tmp_path / "d", progress=stop)
  assert os.listdir(tmp_path / "d/folders") == []


def test_a_broken_meta_is_prepared_again(tmp_path):
  path = images.classes(tmp_path / "set")
  report = data.prepare(f"folder:{path}", dir=tmp_path / "d")
  meta = pathlib.Path(report["path"]) / "meta.json"
  meta.write_text(json.dumps(json.loads(meta.read_text()) | {"format": 0}))
  assert len(load(path, tmp_path)) == 8
  meta.write_text("{")
  assert len(load(path, tmp_path)) == 8


def test_a_directory_that_cannot_be_written(tmp_path):
  (tmp_path / "d").write_text("a file")
  with pytest.raises(errors.UsageError, match="cannot write to .*set data.dir or TFDS_DATA_DIR"):
    load(images.classes(tmp_path / "set"), tmp_path)


def test_a_full_disk(tmp_path):
  path = images.classes(tmp_path / "set", each=40, side=64)
  old = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    with pytest.raises(errors.RunError, match="the disk is full: preparing .*make room"):
      load(path, tmp_path)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)
  assert os.listdir(tmp_path / "d/folders") == []


def empty(path):
  path.mkdir()


def empty_class(path):
  images.classes(path)
  (path / "c").mkdir()


def both(path):
  images.classes(path)
  images.write(path / "x.png", images.pixels(0, 8, 8, 3))


def unlike(path):
  images.classes(path / "train")
  images.classes(path / "test", ("",))


def twice(path):
  for part in ("train", "val", "valid"):
    images.classes(path / part)


def text_only(path):
  path.mkdir()
  (path / "a.txt").write_text("x")


def one(path):
  images.write(path / "x.png", images.pixels(0, 8, 8, 3))


@pytest.mark.parametrize(("make", "match"), [
    (lambda path: None, "no such folder: .*set"),
    (lambda path: path.write_text("x"), "is a file; folder:PATH needs a folder"),
    (empty, "has no images$"), (text_only, "has no images, only 1 other files"),
    (empty_class, "class folder .*/c has no image"),
    (both, r"has images \(x.png, ...\) beside folders of images \(a/\)"),
    (unlike, "test and train must be alike"), (twice, "more than one folder for validation"),
    (one, "no images to hold out")])
def test_folders_that_cannot_be(tmp_path, make, match):
  make(tmp_path / "set")
  with pytest.raises(errors.UsageError, match=match) as e:
    load(tmp_path / "set", tmp_path, split="test")
  assert "\n" not in str(e.value)
