"""Few labels for training: stratified, seeded, the same for all, in and out of files."""

import json

import numpy as np
import pytest
from PIL import Image

from sslx import cli, config, data, errors, inputs
from sslx.data import names
from sslx.evaluate import split
from sslx.evaluate.few_label import draws

LABELS = np.random.default_rng(0).permutation(np.repeat([7, 3, 5], [200, 100, 60]))


@pytest.mark.parametrize(("setting", "wanted"), [("1%", (2, 1, 1)), ("10%", (20, 10, 6)), ("12.5%", (25, 12, 8)),
                                                 ("20%", (40, 20, 12)), ("5", (5, 5, 5))])
def test_each_class_gives_its_share(setting, wanted):
  index = split.labelled(setting, LABELS, seed=3)
  assert (np.diff(index) > 0).all()
  assert tuple(np.sum(LABELS[index] == c) for c in (7, 3, 5)) == wanted
  assert np.array_equal(index, split.labelled(setting, LABELS, seed=3))
  assert not np.array_equal(index, split.labelled(setting, LABELS, seed=4))
  first = next(draws(setting, np.unique(LABELS, return_inverse=True)[1], 3))[0]
  assert set(index) == set(first)


@pytest.mark.parametrize("name", ["s.txt", "s.json"])
def test_files_in_and_out(tmp_path, name):
  split.write(tmp_path / name, [4, 1, 9])
  assert split.labelled(tmp_path / name, LABELS).tolist() == [1, 4, 9]
  assert split.labelled(str(tmp_path / name), None).tolist() == [1, 4, 9]
  (tmp_path / "d.json").write_text(json.dumps({"index": [2, 0]}))
  assert split.labelled(tmp_path / "d.json", LABELS).tolist() == [0, 2]


@pytest.mark.parametrize(("setting", "text", "says"), [
    ("none.txt", None, "neither 10% nor 5"), ("a.txt", "1\ntwo\n", "is no split: "),
    ("b.txt", "1\n1\n", "at most once"),
    ("c.json", "[0, 360]", "from 0 to 360 - 1"), ("d.txt", "", "at least one"), ("e.json", "{}", "is no split: "),
    ("100%", None, "less than 100"), ("0", None, "more than 0"), ("60", None, "the smallest class has 60"),
    ("0.1%", None, "too few for a share"), ("ten", None, "nor a file")])
def test_what_is_no_split(tmp_path, setting, text, says):
  if text is not None:
    (tmp_path / setting).write_text(text)
  with pytest.raises(errors.UsageError, match=says):
    split.labelled(tmp_path / setting if "." in setting and "%" not in setting else setting, LABELS)


def test_a_draw_needs_labels():
  with pytest.raises(errors.UsageError, match="these data have none"):
    split.labelled("10%", None)


def test_a_run_sees_its_labelled_examples_alone(tmp_path):
  c = config.default()
  c.data.labels, c.seed = "10", 2
  few, whole = inputs.load(c, "train"), data.load("digits")
  assert len(few) == 100 and len(inputs.load(c, "test")) == 360
  index = split.labelled("10", whole.labels, 2)
  assert np.array_equal(few.batch(np.arange(100))["image"], whole.batch(index)["image"])
  split.write(tmp_path / "mine.txt", index)
  c.data.labels = str(tmp_path / "mine.txt")
  assert inputs.load(c, "train").fingerprint == few.fingerprint != whole.fingerprint


def test_names_of_files_in_and_out(tmp_path, capsys):
  for part, label, i in [(p, c, i) for p, n in (("train", 10), ("test", 2)) for c in ("n01", "n02") for i in range(n)]:
    file = tmp_path / "photos" / part / label / f"{label}_{i}.png"                 # as ImageNet's files are called
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8 + i, 9), (i, 20, 5)).save(file)
  c = config.default()
  c.data.name, c.data.dir, c.data.size, c.seed = f"folder:{tmp_path}/photos", str(tmp_path / "prepared"), 8, 3
  whole, out = inputs.load(c, "train"), str(tmp_path / "30percent.txt")
  ask = ["data", "split", c.data.name, "--labels", "30%", "--seed", "3", "--dir", c.data.dir, "--out"]
  assert cli.main([*ask, out]) == 0
  index = split.labelled("30%", whole.labels, 3)
  names = (tmp_path / "30percent.txt").read_text().split()
  assert len(names) == 6 and names == [whole.paths[i].rpartition("/")[2] for i in index]
  assert cli.main([*ask, f"{tmp_path}/30percent.json"]) == 0
  for c.data.labels in (out, f"{tmp_path}/30percent.json"):
    assert inputs.load(c, "train").paths == [whole.paths[i] for i in index]
  (tmp_path / "other.txt").write_text(f"{names[1]}\nn03_1.png\nn03_2.png\n")
  c.data.labels = str(tmp_path / "other.txt")
  with pytest.raises(errors.UsageError, match=r"names n03_1.png, which is not in this set \(nor are 1 more"):
    inputs.load(c, "train")
  capsys.readouterr()
  assert cli.main(ask[:3]) == 2 and "--labels 10% or 5 and --out" in capsys.readouterr().err


def test_a_name_is_as_long_as_it_must_be():
  paths = ["/x/cats/1.png", "/x/dogs/1.png", "/x/dogs/2.png"]
  assert names.short(paths) == ["cats/1.png", "dogs/1.png", "dogs/2.png"]
  assert names.short(paths[1:]) == ["1.png", "2.png"]
  assert names.positions(["2.png", "dogs/1.png", "./cats/1.png"], paths, "f") == [2, 1, 0]
  with pytest.raises(errors.UsageError, match="f names 1.png, which 2 files of this set are called: .* cats/1.png"):
    names.positions(["1.png"], paths, "f")
