"""A folder of images with boxes, in the format of COCO or of YOLO.

COCO   PATH/train.json and PATH/test.json (or val.json), or PATH/annotations/instances_train*.json and so on; images in
       PATH/train, PATH/images/train, PATH/images or PATH, whichever holds them
YOLO   PATH/images/train/NAME.jpg, PATH/labels/train/NAME.txt, and so test/ or val/; names of the classes in
       PATH/classes.txt or PATH/data.yaml

In a Source boxes are [M, 4] corners (left, top, right, bottom) in pixels of the image as it is resized, and classes [M]
numbers from 0 on, -1 where there is no box. Grey images become RGB.
"""

import dataclasses
import functools
import json
import os
import pathlib

import numpy as np
from PIL import Image

from sslx import errors
from sslx.data import decode, source

HELD = {"train": ("train",), "test": ("test", "val"), "validation": ("val", "test")}


@dataclasses.dataclass(frozen=True)
class Listing:
  """items: [(image file, (H, W), boxes [m, 4] of pixels, classes [m])]; names of the classes; boxes left out."""
  items: list
  names: tuple
  skipped: int


def load(path, split, size, fit, on_error="raise"):
  """The Source of {"image": [H, W, C], "boxes": float32 [M, 4], "classes": int32 [M]} of one split.

  size, fit: as of images; boxes go with them, and what a crop leaves out goes.
  on_error: raise | skip: boxes without area or of an unknown class are an error, or left out and counted.

  Raises errors.UsageError for a folder of no such format, an image that is missing, images of several sizes, no images.
  """
  if not pathlib.Path(path).is_dir():
    raise errors.UsageError(f"no such folder: {path}")
  found = {s: listing(path, s, on_error) for s in ("train", split)}
  mine = found[split]
  shapes = {shape for _, shape, _, _ in mine.items}
  if not size and len(shapes) > 1:
    raise errors.UsageError(f"images in {path} have several sizes ({sorted(shapes)[0]} and {sorted(shapes)[-1]}): set "
                            "data.size")
  most = max(1, *(len(b) for part in found.values() for _, _, b, _ in part.items))
  read = functools.partial(_read, mine.items, most, size, fit)
  first = read([0])["image"]
  mark = source.digest(*(f"{os.path.basename(f)} {os.path.getsize(f)}".encode() for f, *_ in mine.items),
                       *(np.float64(b) for *_, b, _ in mine.items), f"{size} {fit}".encode())
  return source.Source(f"boxes:{path}", read, np.arange(len(mine.items)), first.shape[1:], str(first.dtype),
                       class_names=mine.names, paths=[f for f, *_ in mine.items], fingerprint=mark,
                       skipped=mine.skipped)


def listing(path, split, on_error):
  """The Listing of a split."""
  for part in HELD[split]:
    files = [f for f in (pathlib.Path(path) / f"{part}.json",
                         *sorted(pathlib.Path(path).glob(f"annotations/instances_{part}*.json"))) if f.exists()]
    if files:
      items, names = coco(pathlib.Path(path), files[0], part)
      return checked(files[0], items, names, on_error)
    if (folder := pathlib.Path(path) / "images" / part).is_dir():
      items, names = yolo(pathlib.Path(path), folder, part)
      return checked(folder, items, names, on_error)
  raise errors.UsageError(f"{path} has no {split} part: boxes:PATH needs PATH/{HELD[split][0]}.json (COCO) or "
                          f"PATH/images/{HELD[split][0]} and PATH/labels/{HELD[split][0]} (YOLO)")


def coco(root, file, part):
  """(items, names) of a COCO file; a class is numbered by its place among the file's categories."""
  try:
    content = json.loads(file.read_text(encoding="utf-8"))
    categories = sorted(content["categories"], key=lambda c: c["id"])
    number = {c["id"]: i for i, c in enumerate(categories)}
    images = {i["id"]: (i["file_name"], (int(i["height"]), int(i["width"])), [], []) for i in content["images"]}
    for a in content["annotations"]:
      if not a.get("iscrowd"):
        left, top, wide, high = map(float, a["bbox"])
        images[a["image_id"]][2].append((left, top, left + wide, top + high))
        images[a["image_id"]][3].append(number.get(a["category_id"], -1))
  except (ValueError, KeyError, TypeError, OSError) as e:
    raise errors.UsageError(f"{file} is not in COCO's format: {type(e).__name__} {errors.first_line(e)}") from e
  places = [root / part, root / "images" / part, root / "images", root]
  items = []
  for name, shape, boxes, classes in images.values():
    where = next((p / name for p in places if (p / name).exists()), None)
    if where is None:
      raise errors.UsageError(f"{file} names the image {name}, which is in none of {', '.join(map(str, places))}")
    items.append((str(where), shape, boxes, classes))
  return items, tuple(str(c["name"]) for c in categories)


def yolo(root, folder, part):
  """(items, names) of YOLO's text files; without names the classes are as many as there are numbers."""
  items = []
  for image in sorted(f for f in folder.iterdir() if f.suffix.lower() in decode.EXTENSIONS):
    text = root / "labels" / part / f"{image.stem}.txt"
    try:
      with Image.open(image) as opened:
        width, height = opened.size[::-1] if opened.getexif().get(0x0112, 1) >= 5 else opened.size
      rows = [line.split() for line in text.read_text().splitlines() if line.strip()] if text.exists() else []
      x = np.array([[float(v) for v in row[1:5]] for row in rows], np.float64).reshape(-1, 4)
      classes = [int(row[0]) for row in rows]
    except (ValueError, OSError) as e:
      raise errors.UsageError(f"{text} or its image cannot be read: a line is `class x y width height`, in shares of "
                              f"the image ({errors.first_line(e)})") from e
    corners = np.concatenate([x[:, :2] - x[:, 2:] / 2, x[:, :2] + x[:, 2:] / 2], 1) * [width, height, width, height]
    items.append((str(image), (height, width), corners.tolist(), classes))
  return items, names_of(root) or tuple(map(str, range(1 + max((c for *_, cs in items for c in cs), default=0))))


def names_of(root):
  """The names of the classes in classes.txt, or in the `names:` of data.yaml; () if they are nowhere."""
  if (file := root / "classes.txt").exists():
    return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
  if (file := root / "data.yaml").exists():
    import yaml
    found = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("names", ())
    return tuple(map(str, found.values() if isinstance(found, dict) else found))
  return ()


def checked(where, items, names, on_error):
  """The Listing of items whose boxes are whole; see `load` for those that are not."""
  if not items:
    raise errors.UsageError(f"there are no images in {where}")
  out, skipped = [], 0
  for file, shape, boxes, classes in items:
    x, classes = np.float32(boxes).reshape(-1, 4), np.int32(classes).reshape(-1)
    x = np.clip(x, 0, np.float32([shape[1], shape[0]] * 2))
    empty, unknown = ~((x[:, 2:] - x[:, :2]) > 0).all(1), (classes < 0) | (classes >= len(names))
    bad = np.flatnonzero(empty | unknown)
    if len(bad) and on_error == "raise":
      what = "has no area" if empty[bad[0]] else f"is of class {classes[bad[0]]}, of {len(names)} that there are"
      raise errors.UsageError(f"{where}: a box of {os.path.basename(file)} {what}; data.on_error=skip leaves such "
                              "boxes out")
    skipped += len(bad)
    out.append((file, shape, np.delete(x, bad, 0), np.delete(classes, bad)))
  return Listing(out, names, skipped)


def _read(items, most, size, fit, rows):
  """The images, boxes and classes of some rows."""
  chosen = [items[int(i)] for i in rows]
  found = decode.parallel(lambda part: [_one(*item, most, size, fit) for item in part], chosen,
                          sum(os.path.getsize(item[0]) for item in chosen))
  return {k: np.stack([f[k] for f in found]) for k in ("image", "boxes", "classes")}


def _one(file, shape, boxes, classes, most, size, fit):
  try:
    image = decode.decode(pathlib.Path(file).read_bytes(), size=size, fit=fit, channels=3)
  except ValueError as e:
    raise errors.RunError(f"the image {file} is corrupt: {e}") from e
  left, top, right, bottom = decode.window(*shape, image.shape[:2], fit) if size else (0, 0, shape[1], shape[0])
  scale = np.float32([image.shape[1] / (right - left), image.shape[0] / (bottom - top)] * 2)
  x = np.clip((boxes - np.float32([left, top, left, top])) * scale, 0, np.float32([*image.shape[1::-1]] * 2))
  there = ((x[:, 2:] - x[:, :2]) >= 1).all(1)                # a pixel at least
  x, classes = x[there], classes[there]
  return {"image": image, "boxes": np.pad(x, ((0, most - len(x)), (0, 0))),
          "classes": np.pad(classes, (0, most - len(x)), constant_values=-1)}
