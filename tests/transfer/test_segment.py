"""Segmentation: masks from folders, warped with their images, measured as NumPy does, trained and shown."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from sources import exported

from sslx import cli, config, data, encoders, errors, inputs, transfer
from sslx.transfer import choice, segment

SIZE = (12, 16)


def folder(path, counts=(("train", 10), ("test", 6)), ignore=True):
  """Images whose left part, of a random width, is red and of class 1, the rest dark; a corner without class."""
  rng = np.random.default_rng(0)
  for split, count in counts:
    for kind in ("images", "masks"):
      (path / split / kind).mkdir(parents=True)
    for i in range(count):
      mask = np.zeros(SIZE, np.uint8)
      mask[:, :rng.integers(4, 12)] = 1
      image = rng.integers(0, 60, (*SIZE, 3), np.uint8)
      image[mask == 1, 0] += 180
      if ignore:
        mask[:3, -3:] = 9
      Image.fromarray(image).save(path / split / "images" / f"{i:02}.png")
      Image.fromarray(mask).save(path / split / "masks" / f"{i:02}.png")
  (path / "classes.json").write_text(json.dumps({"classes": ["dark", "red"], "ignore_index": 9}))
  return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  return folder(tmp_path_factory.mktemp("masks") / "photos")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return exported(tmp_path_factory.mktemp("source"), "own.encoder", shape=(8, 8, 3))[0]


def test_a_folder_of_masks(photos):
  found = data.load(f"masks:{photos}")
  assert (len(found), found.shape, found.class_names) == (10, (*SIZE, 3), ("dark", "red"))
  batch = found.batch([3, 1])
  assert batch["mask"].dtype == np.uint8 and batch["mask"].shape == (2, *SIZE)
  assert np.array_equal(batch["mask"][0], np.asarray(Image.open(photos / "train/masks/03.png")))
  assert np.array_equal(batch["image"][1], np.asarray(Image.open(photos / "train/images/01.png")))
  assert len(data.load(f"masks:{photos}", split="val")) == 6                              # the one held-out part
  small = data.load(f"masks:{photos}", size=6)
  squashed = data.load(f"masks:{photos}", size=6, fit="squash")
  assert small[0]["mask"].shape == squashed[0]["mask"].shape == (6, 6)
  middle = np.asarray(Image.open(photos / "train/masks/00.png"))[:, 2:14]                 # what crop keeps
  assert np.array_equal(small[0]["mask"], middle[1::2, 1::2])
  assert small.fingerprint != squashed.fingerprint != found.fingerprint


def broken(path, how):
  folder(path)
  if how == "size":
    Image.new("L", (5, 5)).save(path / "train/masks/02.png")
  elif how == "sizes":
    for kind in ("images", "masks"):
      Image.new("RGB" if kind == "images" else "L", (5, 5)).save(path / f"train/{kind}/02.png")
  elif how == "value":
    Image.fromarray(np.full(SIZE, 2, np.uint8)).save(path / "test/masks/02.png")
  elif how == "lost":
    (path / "train/masks/02.png").unlink()
  elif how == "empty":
    shutil.rmtree(path / "train/images")
    (path / "train/images").mkdir()
  elif how == "colour":
    Image.new("RGB", SIZE[::-1]).save(path / "train/masks/02.png")
  elif how == "train":
    shutil.rmtree(path / "train")
  elif how == "json":
    (path / "classes.json").write_text("{}")
  elif how == "ignored":
    (path / "classes.json").write_text('{"classes": ["a"], "ignore_index": 3}')
    for mask in path.glob("*/masks/*"):
      Image.fromarray(np.full(SIZE, 3, np.uint8)).save(mask)
  return path


@pytest.mark.parametrize(("how", "says"), [
    ("size", "02.png is 5x5, its image 16x12"), ("sizes", "set data.size"), ("lost", "no mask for 1 of 10 images, 02"),
    ("value", "02.png has the value 2: classes go from 0 to 1, and 9 marks"), ("empty", "there are no images in"),
    ("colour", "of mode RGB: masks are grey or palette"), ("train", "has no train"), ("json", "list of class names"),
    ("ignored", "all pixels of all masks are 3")])
def test_what_is_wrong_with_a_folder(tmp_path, how, says):
  path = broken(tmp_path / "set", how)
  c = config.default().unlock()
  c.method = {"num_classes": 0, "ignore": -1}
  c.data.name = f"masks:{path}"
  with pytest.raises(errors.UsageError, match=says):
    segment.prepare(c, inputs.load(c, "train"), inputs.load(c, "test"))


@pytest.mark.parametrize("how", ["size", "lost", "colour", "corrupt"])
def test_what_is_wrong_is_left_out_when_asked(tmp_path, how):
  path = broken(tmp_path / "set", how)
  if how == "corrupt":
    file = path / "train/images/02.png"
    file.write_bytes(file.read_bytes()[:100])
  found = data.load(f"masks:{path}", on_error="skip")
  assert len(found) == 9 and found.skipped == 1 and not any("02.png" in p for p in found.paths)


def test_the_ignored_class_has_no_iou():
  truth = np.array([[[0, 0, 1, 2]]], np.uint8)               # class 1 is ignored, and sometimes found
  guess = np.array([[[0, 1, 1, 2]]])
  test = data.from_array("masks", np.zeros((1, 1, 4, 3), np.uint8))
  test = dataclasses.replace(test, read=lambda rows: {"image": np.zeros((len(rows), 1, 4, 3)), "mask": truth[rows]},
                             class_names=("a", "void", "c"))
  options = config.ConfigDict({"num_classes": 3, "ignore": 1})
  found = segment.measure(lambda x: np.eye(3)[guess], None, test, options)
  assert found["classes"] == {"a": 0.5, "c": 1.0} and found["miou"] == 0.75


def test_masks_go_with_their_images():
  """An image that is its mask, as grey levels, stays so under every warp."""
  rng = np.random.default_rng(0)
  mask = rng.integers(0, 4, (32, 4, 4), np.uint8).repeat(8, 1).repeat(8, 2)               # blocks of 8 x 8
  image = (mask[..., None] / 4).astype(np.float32)
  view = lambda **options: map(np.asarray, segment.viewed(jax.random.key(0), image, mask, jitter=0.0, **options))
  out, warped = view(scale=(0.25, 1.0), flip_p=0.5)
  assert warped.dtype == np.int32 and set(np.unique(warped)) <= {0, 1, 2, 3}
  assert (np.abs(4 * out[..., 0] - warped) < 1e-4).mean() > 0.7                           # all but borders of blocks
  assert (warped != mask).any((1, 2)).sum() > 24
  plain, same = view(scale=(1.0, 1.0), flip_p=0.0)
  assert np.array_equal(same, mask) and np.allclose(plain, image)
  _, mirrored = view(scale=(1.0, 1.0), flip_p=1.0)
  assert np.array_equal(mirrored, mask[:, :, ::-1])


def test_iou_by_hand():
  rng = np.random.default_rng(0)
  truth, predicted = rng.integers(0, 4, (2, 3, 20, 20))
  truth[truth == 3] = 7                                      # ignored; class 3 is predicted, but nowhere true
  table = segment.confusions(predicted, truth, 5, 7).sum(0)
  known = truth != 7
  for c in range(5):
    both = np.sum((truth == c) & (predicted == c) & known)
    union = np.sum(((truth == c) | (predicted == c)) & known)
    assert np.isclose(segment.iou(table)[c], both / union) if union else np.isnan(segment.iou(table)[c])
  assert segment.iou(table)[3] == 0 and np.isnan(segment.iou(table)[4]) and table.sum() == known.sum()


def test_the_loss_leaves_ignored_pixels_out():
  method = segment.make(encoders.make("own.encoder", width=3), strategy="scratch", num_classes=2, ignore=9)
  batch = {"image": np.random.default_rng(0).random((2, *SIZE, 3)).astype(np.float32)}
  params, state = method.init(jax.random.key(0), batch)
  loss = lambda mask: method.loss(params, state, {"image": batch["image"], "mask": mask}, jax.random.key(1), 0.5)
  mask = np.ones((2, *SIZE), int)
  mask[:, :6] = 9
  value, (_, metrics) = loss(mask)
  net, variables = method.project(params, state)
  z, _ = net.apply(variables, batch["image"], train=True, mutable=["batch_stats"])
  z = np.asarray(z, np.float64)[:, 6:]
  wanted = np.mean(np.log(np.exp(z).sum(-1)) - z[..., 1])
  assert np.isclose(value, wanted, rtol=1e-5)
  assert np.isclose(metrics["pixel_accuracy"], (z.argmax(-1) == 1).mean())
  assert loss(np.full((2, *SIZE), 9))[0] == 0


@pytest.mark.parametrize(("count", "wanted"), [(1, [1]), (3, [1, 2, 3]), (4, [1, 2, 3, 4]), (5, [1, 3, 4, 5]),
                                               (12, [3, 6, 9, 12])])
def test_stages_of_the_head(count, wanted):
  found = segment.chosen({f"stage{i + 1}": 0 for i in range(count)} | {"grid": 0})
  assert found[-1] == f"stage{count}" and len(found) == min(4, count)
  assert [int(k[5:]) for k in found] == wanted


@pytest.mark.slow
def test_from_the_command_line_to_the_report(photos, source, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  root = __file__.rpartition("/tests/")[0]
  command = ["transfer", "--config", f"{root}/configs/transfer/segment.py:tiny", "--from", source,
             f"--config.data.name=masks:{photos}", "--config.mesh.data=1", "--config.method.head=fcn"]
  assert cli.main([*command, "--workdir", "run"]) == 0
  result = json.loads((tmp_path / "run/transfer.json").read_text())
  assert set(result["runs"]) == {"linear", "scratch"}
  for r in result["runs"].values():
    assert 0 <= r["miou"] <= 1 and set(r["classes"]) == {"dark", "red"} and r["standard_error"] > 0
    assert np.isclose(r["miou"], np.mean(list(r["classes"].values())))
  assert cli.main(["report", "--workdir", "run"]) == 0
  page = (tmp_path / "run/report.html").read_text()
  assert "Mean IoU" in page and 'alt="prediction of scratch' in page
  capsys.readouterr()
  assert cli.main([*command, "--workdir", "other", "--config.method.head=fcm"]) == 2
  assert "did you mean fcn" in capsys.readouterr().err


def test_auto_takes_masks(photos, source):
  c = transfer.onto(config.load(__file__.rpartition("/tests/")[0] + "/configs/transfer/segment.py:tiny"), source)
  assert c.data.size == 0
  c.unlock().data.name = f"masks:{photos}"
  assert choice.choose(c, inputs.load(c, "train"))["strategy"] == "linear"
