"""Detection: boxes from files, assigned, suppressed and judged as NumPy and COCO do, trained and shown."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sources import exported

from sslx import config, data, encoders, errors, transfer
from sslx.evaluate.precision import precision
from sslx.report import record, transferred
from sslx.transfer import boxes, detect

SIZE = (24, 32)
RNG = np.random.default_rng(0)


def scene(rng):
  """(an image with a red and a blue rectangle, their boxes)."""
  image, found = rng.integers(0, 50, (*SIZE, 3), np.uint8), []
  for channel, half in ((0, 0), (2, 16)):
    left, top = half + rng.integers(1, 5), rng.integers(1, 10)
    wide, high = rng.integers(6, 11, 2)
    image[top:top + high, left:left + wide, channel] = 250
    found.append((left, top, left + wide, top + high))
  return image, found


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """The same scenes as COCO and as YOLO have them."""
  root, rng = tmp_path_factory.mktemp("boxes"), np.random.default_rng(1)
  for part, count in (("train", 12), ("test", 12)):
    for kind in ("coco/images", "yolo/images", "yolo/labels"):
      (root / kind / part).mkdir(parents=True)
    images, marks = [], []
    for i in range(count):
      image, found = scene(rng)
      for kind in ("coco", "yolo"):
        Image.fromarray(image).save(root / kind / f"images/{part}/{i:02}.png")
      images.append({"id": 10 + i, "file_name": f"{i:02}.png", "height": SIZE[0], "width": SIZE[1]})
      marks += [{"image_id": 10 + i, "category_id": 3 + 4 * c, "bbox": [float(v) for v in (x, y, r - x, b - y)]}
                for c, (x, y, r, b) in enumerate(found)]
      (root / f"yolo/labels/{part}/{i:02}.txt").write_text("".join(
          f"{c} {(x + r) / 2 / SIZE[1]} {(y + b) / 2 / SIZE[0]} {(r - x) / SIZE[1]} {(b - y) / SIZE[0]}\n"
          for c, (x, y, r, b) in enumerate(found)))
    (root / f"coco/{part}.json").write_text(json.dumps({
        "images": images, "annotations": marks, "categories": [{"id": 7, "name": "blue"}, {"id": 3, "name": "red"}]}))
  (root / "yolo/data.yaml").write_text("names: {0: red, 1: blue}\n")
  return root


def test_both_formats_give_the_same(folders):
  coco, yolo = (data.load(f"boxes:{folders}/{kind}") for kind in ("coco", "yolo"))
  assert coco.class_names == yolo.class_names == ("red", "blue") and coco.shape == (*SIZE, 3)
  a, b = coco.batch([5, 0]), yolo.batch([5, 0])
  assert a["boxes"].shape == (2, 2, 4) and a["boxes"].dtype == np.float32 and a["classes"].tolist() == [[0, 1]] * 2
  np.testing.assert_allclose(a["boxes"], b["boxes"], atol=1e-3)
  assert np.array_equal(a["image"], b["image"])
  for image, found in zip(a["image"], a["boxes"].astype(int), strict=True):
    for channel, (left, top, right, bottom) in zip((0, 2), found, strict=True):
      rows, columns = np.nonzero(image[..., channel] == 250)
      assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)


def test_boxes_go_with_the_size(folders):
  whole, squashed, cut = (data.load(f"boxes:{folders}/coco", **options).batch([2])["boxes"][0]
                          for options in ({}, {"size": 12, "fit": "squash"}, {"size": 12}))
  np.testing.assert_allclose(squashed, whole * np.tile([12 / 32, 0.5], 2))
  np.testing.assert_allclose(cut, np.clip((whole - [4, 0, 4, 0]) / 2, 0, 12))           # the middle 24 of 32 columns


@pytest.mark.parametrize(("change", "said"), [
    (lambda d: d["annotations"][0].update(bbox=[3, 3, 0, 5]), "a box of 00.png has no area"),
    (lambda d: d["annotations"][0].update(category_id=99), "00.png is of the class id 99; there are red, blue"),
    (lambda d: d["images"][0].update(file_name="lost.png"), "names the image lost.png, which is in none of"),
    (lambda d: d.update(images=[], annotations=[]), "there are no images in"),
    (lambda d: d.pop("categories"), "not in COCO's format"),
    (lambda d: d["annotations"][0].update(image_id=5), "has a box of the image 5, which is not among its images"),
    (lambda d: d["images"][0].update(height=48, width=64), "says that 00.png is 64x48, and it is 32x24")])
def test_bad_annotations_are_one_line(folders, tmp_path, change, said):
  shutil.copytree(folders / "coco", tmp_path / "coco")
  content = json.loads((tmp_path / "coco/train.json").read_text())
  change(content)
  (tmp_path / "coco/train.json").write_text(json.dumps(content))
  with pytest.raises(errors.UsageError, match=said):
    data.load(f"boxes:{tmp_path}/coco")
  if "no area" in said or "id 99" in said:
    kept = data.load(f"boxes:{tmp_path}/coco", on_error="skip")
    assert kept.skipped == 1 and kept[0]["classes"].tolist() == [1, -1]
  if "which is in none" in said or "says that" in said:
    kept = data.load(f"boxes:{tmp_path}/coco", on_error="skip")
    assert kept.skipped == 1 and len(kept) == 11
  with pytest.raises(errors.UsageError, match="has no train part"):
    data.load(f"boxes:{tmp_path}")


def test_classes_of_the_test_part_are_matched_by_name(folders, tmp_path):
  shutil.copytree(folders / "coco", tmp_path / "coco")
  content = json.loads((tmp_path / "coco/test.json").read_text())
  content["categories"] = [{"id": 3, "name": "red"}, {"id": 1, "name": "blue"}]          # in another order
  for a in content["annotations"]:
    a["category_id"] = {7: 1}.get(a["category_id"], a["category_id"])
  (tmp_path / "coco/test.json").write_text(json.dumps(content))
  wanted, found = (data.load(f"boxes:{p}/coco", split="test") for p in (folders, tmp_path))
  assert found.class_names == ("red", "blue") and found.fingerprint == wanted.fingerprint
  content["categories"][0]["name"] = "green"
  (tmp_path / "coco/test.json").write_text(json.dumps(content))
  with pytest.raises(errors.UsageError, match=r"is of the class green; there are red, blue \(and 11 more\)"):
    data.load(f"boxes:{tmp_path}/coco", split="test")


@pytest.mark.parametrize(("line", "said"), [
    ("0 0.25 0.5 0.5 0.5 0.75 0.25 0.5 0.5", None), ("0 0.25 0.5 0.5 0.5 0.9", "5 numbers after the class"),
    ("0 0.25 0.5", "2 numbers after the class"), ("0 12 9 8 7", "in shares of the image from 0 to 1 .7 to 12 are no")])
def test_lines_of_yolo(folders, tmp_path, line, said):
  shutil.copytree(folders / "yolo", tmp_path / "yolo")
  (tmp_path / "yolo/labels/train/00.txt").write_text(line)
  if said:
    with pytest.raises(errors.UsageError, match=said):
      data.load(f"boxes:{tmp_path}/yolo")
  else:                                                      # a polygon
    found = data.load(f"boxes:{tmp_path}/yolo")[0]
    np.testing.assert_allclose(found["boxes"][0], [0.25 * 32, 0.25 * 24, 0.75 * 32, 0.5 * 24])


def test_corrupt_images_are_left_out_when_asked(folders, tmp_path):
  for kind in ("coco", "yolo"):
    shutil.copytree(folders / kind, tmp_path / kind)
    file = tmp_path / kind / "images/train/03.png"
    file.write_bytes(file.read_bytes()[:200])                # its head is whole
    kept = data.load(f"boxes:{tmp_path}/{kind}", on_error="skip")
    assert kept.skipped == 1 and len(kept) == 11
    file.write_bytes(b"nothing")
    with pytest.raises(errors.UsageError, match="03.png is corrupt"):
      data.load(f"boxes:{tmp_path}/{kind}")


def corners(n, side=40):
  x = RNG.uniform(0, side, (n, 2)).astype(np.float32)
  return np.concatenate([x, x + RNG.uniform(1, side / 2, (n, 2))], 1).astype(np.float32)


def iou(a, b):
  wide = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
  area = lambda v: (v[2] - v[0]) * (v[3] - v[1])
  return wide / (area(a) + area(b) - wide)


def test_overlap_and_giou():
  a, b = corners(30), corners(30)
  np.testing.assert_allclose(boxes.overlap(a, b)[0], [iou(*p) for p in zip(a, b, strict=True)], atol=1e-5)
  found = boxes.giou(jnp.float32([[0, 0, 2, 2], [0, 0, 1, 1]]), jnp.float32([[1, 1, 3, 3], [3, 0, 4, 1]]))
  np.testing.assert_allclose(found, [1 / 7 - 2 / 9, -2 / 4], rtol=1e-5)
  assert np.isfinite(jax.grad(lambda a: boxes.giou(a, jnp.zeros((2, 4))).sum())(jnp.zeros((2, 4)))).all()


def test_nms_equals_numpy():
  n, x = 60, corners(60)
  scores, classes = RNG.uniform(0.1, 1, n).astype(np.float32), RNG.integers(0, 3, n)
  kept = []
  for i in np.argsort(-scores):
    if all(classes[i] != classes[j] or iou(x[i], x[j]) <= 0.4 for j in kept):
      kept.append(i)
  assert 10 < len(kept) < n
  got = jax.jit(lambda *args: boxes.nms(*args, most=80, threshold=0.4))(x, scores, classes)
  np.testing.assert_allclose(got[0][:len(kept)], x[kept])
  assert got[2][:len(kept)].tolist() == classes[kept].tolist()
  assert not got[1][len(kept):].any() and (got[2][len(kept):] == -1).all() and len(got[1]) == 80


def test_targets_equal_numpy():
  grids, size, n = [(12, 16), (6, 8), (3, 4)], (48, 64), 6
  truth, classes = corners(2 * n).reshape(2, n, 4), RNG.integers(-1, 3, (2, n))
  truth[0, 0] = (1, 1, 60, 46)                               # one for the coarsest level
  got = detect.targets(grids, size, truth, jnp.asarray(classes))
  row, seen = 0, set()
  for level, (h, w) in enumerate(grids):
    stride = 48 / h
    low, high = [(0, 32), (32, 64), (64, np.inf)][level]
    for y, x in np.ndindex(h, w):
      px, py = (x + 0.5) * stride, (y + 0.5) * stride
      for b in range(2):
        best, small = -1, np.inf
        for m in range(n):
          left, top, right, bottom = truth[b, m]
          sides = px - left, py - top, right - px, bottom - py
          near = max(abs(px - (left + right) / 2), abs(py - (top + bottom) / 2)) < 1.5 * stride
          area = (right - left) * (bottom - top)
          if classes[b, m] >= 0 and min(sides) > 0 and near and low < max(sides) <= high and area < small:
            best, small, mine = m, area, sides
        assert got[0][b, row] == (classes[b, best] if best >= 0 else -1)
        if best >= 0:
          seen.add(level)
          np.testing.assert_allclose(got[1][b, row], truth[b, best])
          ratio = min(mine[::2]) / max(mine[::2]) * min(mine[1::2]) / max(mine[1::2])
          np.testing.assert_allclose(got[2][b, row], np.sqrt(ratio), rtol=1e-4)
      row += 1
  assert row == got[0].shape[1] and {0, 1} <= seen


def test_views_move_boxes_with_their_pixels():
  made = [scene(np.random.default_rng(i)) for i in range(16)]
  image, truth = np.stack([m[0] for m in made]) / 255, np.float32([m[1] for m in made])
  classes = np.tile(np.int32([0, 1]), (16, 1))
  x, found, kinds = jax.jit(lambda key: detect.viewed(key, jnp.float32(image), jnp.asarray(truth), jnp.asarray(classes),
                                                      scale=(0.3, 1.0), flip_p=0.5, jitter=0.0))(jax.random.key(0))
  assert not np.allclose(x, image)
  checked = 0
  for b, m in np.argwhere(kinds >= 0):
    rows, columns = np.nonzero(x[b, ..., (0, 2)[m]] > 0.6)
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(found[b, m], seen, atol=1.5)
    checked += 1
  assert checked > 16 and (kinds < 0).any()


def test_average_precision_of_a_case_by_hand():
  true = [(np.float32([[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 0, 0]]), np.int32([0, 0, -1]))]
  found = [(np.float32([[0, 0, 10, 10], [40, 40, 50, 50], [20, 20, 30, 28], [1, 1, 2, 2]]), np.float32([.9, .8, .7, 0]),
            np.int32([0, 0, 0, 0]))]
  got = precision(found, true, 2)
  # to recall 1/2 the precision is 1, from there on 2/3: 51 and 50 of COCO's 101 points; the third box overlaps by 0.8
  want = (51 + 50 * 2 / 3) / 101
  assert got["ap50"] == pytest.approx(want) and got["classes"] == {0: pytest.approx(want)}
  assert got["ap"] == pytest.approx((7 * want + 3 * 51 / 101) / 10)
  assert precision([(found[0][0], 0 * found[0][1], found[0][2])], true, 2) == {"ap": 0, "ap50": 0, "classes": {0: 0}}


def test_levels_are_the_last_of_each_stride():
  shapes = {"pooled": (1, 9), "stage1": (1, 8, 8, 4), "stage2": (1, 8, 8, 4), "stage10": (1, 2, 2, 4),
            "stage3": (1, 4, 4, 4)}
  assert detect.levels(shapes) == ["stage2", "stage3", "stage10"]
  with pytest.raises(errors.UsageError, match="no stages to find objects on"):
    detect.levels({"pooled": (1, 9)})
  encoder = encoders.make("resnet10", width=4)
  assert detect.grids(encoder, (8, 64, 96, 3)) == [(8, 12), (4, 6), (2, 3)]


def test_a_run_finds_the_rectangles(folders, tmp_path):
  source = exported(tmp_path / "source", "own.encoder", shape=(8, 8, 3))[0]
  c = config.override(transfer.onto(config.load("configs/transfer/detect.py:tiny"), source), [
      f"--config.data.name=boxes:{folders}/coco", "--config.total_steps=60", "--config.mesh.data=1",
      "--config.batch_size=12", "--config.optim.lr=0.01", "--config.method.width=16", "--config.method.depth=1",
      "--config.method.jitter=0", "--config.method.scale=(0.8,1.0)"])
  found = transfer.transfer(c, tmp_path / "run", scratch=False)["runs"]["finetune"]
  assert found["examples"] == 12 and found["ap50"] > 0.5 and set(found["classes"]) == {"red", "blue"}
  assert 0 < found["ap"] < found["ap50"] and found["standard_error"] < 0.3
  shown = transferred.pictures(record.read(tmp_path / "run"), data.load(c.data.name, split="test"))
  assert "found by finetune" in shown["columns"] and len(shown["rows"]) == transferred.IMAGES
  assert [t for t, *_ in transferred.tables(record.read(tmp_path / "run")["transfer"])[0][2]][:1] == ["AP50"]


def test_data_without_boxes_are_refused(tmp_path):
  source = exported(tmp_path / "source", "own.encoder", shape=(8, 8, 1))[0]
  c = config.override(config.load("configs/transfer/detect.py:tiny"), ["--config.data.name=digits"])
  with pytest.raises(errors.UsageError, match="hold no boxes: detection reads boxes:PATH"):
    transfer.transfer(c, tmp_path / "run", source=source)
  c.data.name = "boxes:nowhere"
  with pytest.raises(errors.UsageError, match="reads grey images, and boxes:nowhere is read in colour"):
    transfer.transfer(c, tmp_path / "run", source=source)
