"""A folder of images with boxes, in the format of COCO or of YOLO.

COCO   PATH/train.json and PATH/test.json (or val.json), or PATH/annotations/instances_train*.json and so on; images in
       PATH/train, PATH/images/train, PATH/images or PATH, whichever holds them
YOLO   PATH/images/train/NAME.jpg, PATH/labels/train/NAME.txt, and so test/ or val/; names of the classes in
       PATH/classes.txt or PATH/data.yaml; a line is `class x y width height`, in shares of the image from 0 to 1, or
       `class x y x y x y ...`, a polygon, whose box is taken

Classes are those of the training part; the other parts' are matched by their names. In a Source boxes are [M, 4]
corners (left, top, right, bottom) in pixels of the image as it is resized, and classes [M] numbers from 0 on, -1 where
there is no box. Grey images become RGB.
"""

import dataclasses
import functools
import json
import os
import pathlib

import numpy as np

from sslx import errors
from sslx.data import decode, source

HELD = {"train": ("train",), "test": ("test", "val"), "validation": ("val", "test")}


@dataclasses.dataclass
class Listing:
  """What is written of a split, where: items [(image file, (H, W), boxes [m, 4] of pixels, names of classes [m])].

  names: of all classes. bad: what is wrong with the images that are left out.
  """
  where: pathlib.Path
  items: list
  names: tuple
  bad: list


def load(path, split, size, fit, on_error="raise"):
  """The Source of {"image": [H, W, C], "boxes": float32 [M, 4], "classes": int32 [M]} of one split.

  size, fit: as of images; boxes go with them, and what a crop leaves out goes.
  on_error: raise | skip: images that are missing, corrupt or of another size than is written, boxes without area or of
    an unknown class are an error, or left out and counted.

  Raises errors.UsageError for a folder of no such format, images of several sizes, no images, and what on_error says.
  """
  if not pathlib.Path(path).is_dir():
    raise errors.UsageError(f"no such folder: {path}")
  found = {s: listing(path, s, on_error == "skip") for s in ("train", split)}
  names = found["train"].names
  (items, skipped), most = (checked(found[split], names, on_error), max(
      1, *(len(b) for part in found.values() for _, _, b, _ in part.items)))
  shapes = {shape for _, shape, _, _ in items}
  if not size and len(shapes) > 1:
    raise errors.UsageError(f"images in {path} have several sizes ({sorted(shapes)[0]} and {sorted(shapes)[-1]}): set "
                            "data.size")
  read = functools.partial(_read, items, most, size, fit)
  first = read([0])["image"]
  mark = source.digest(*(f"{os.path.basename(f)} {os.path.getsize(f)}".encode() for f, *_ in items),
                       *(np.float64(b) for *_, b, _ in items), f"{size} {fit}".encode())
  return source.Source(f"boxes:{path}", read, np.arange(len(items)), first.shape[1:], str(first.dtype),
                       class_names=names, paths=[f for f, *_ in items], fingerprint=mark, skipped=skipped)


def listing(path, split, thorough):
  """The Listing of a split; thorough: every image is decoded, to see whether it can be."""
  root = pathlib.Path(path)
  for part in HELD[split]:
    files = (root / f"{part}.json", *sorted(root.glob(f"annotations/instances_{part}*.json")))
    if file := next((f for f in files if f.exists()), None):
      return coco(root, file, part, thorough)
    if (folder := root / "images" / part).is_dir():
      return yolo(root, folder, part, thorough)
  raise errors.UsageError(f"{path} has no {split} part: boxes:PATH needs PATH/{HELD[split][0]}.json (COCO) or "
                          f"PATH/images/{HELD[split][0]} and PATH/labels/{HELD[split][0]} (YOLO)")


def coco(root, file, part, thorough):
  """The Listing of a COCO file; its classes in the order of their ids."""
  try:
    content = json.loads(file.read_text(encoding="utf-8"))
    categories = {c["id"]: str(c["name"]) for c in sorted(content["categories"], key=lambda c: c["id"])}
    images = {i["id"]: (i["file_name"], (int(i["height"]), int(i["width"])), [], []) for i in content["images"]}
    for a in content["annotations"]:
      if a["image_id"] not in images:
        raise errors.UsageError(f"{file} has a box of the image {a['image_id']}, which is not among its images")
      if not a.get("iscrowd"):
        left, top, wide, high = map(float, a["bbox"])
        images[a["image_id"]][2].append((left, top, left + wide, top + high))
        images[a["image_id"]][3].append(categories.get(a["category_id"], f"id {a['category_id']}"))
  except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
    raise errors.UsageError(f"{file} is not in COCO's format: {type(e).__name__} {errors.first_line(e)}") from e
  places = [root / part, root / "images" / part, root / "images", root]
  out = Listing(file, [], tuple(categories.values()), [])
  for name, shape, boxes, classes in images.values():
    where = next((p / name for p in places if (p / name).exists()), None)
    if where is None:
      out.bad.append(f"{file} names the image {name}, which is in none of {', '.join(map(str, places))}")
    elif (seen := look(where, thorough, out.bad)) and seen != shape:
      out.bad.append(f"{file} says that {name} is {shape[1]}x{shape[0]}, and it is {seen[1]}x{seen[0]}: its boxes "
                     "would not fit")
    elif seen:
      out.items.append((str(where), shape, boxes, classes))
  return out


def yolo(root, folder, part, thorough):
  """The Listing of YOLO's text files; without names the classes are as many as there are numbers."""
  out, names = Listing(folder, [], (), []), names_of(root)
  for image in sorted(f for f in folder.iterdir() if f.suffix.lower() in decode.EXTENSIONS):
    text = root / "labels" / part / f"{image.stem}.txt"
    if (seen := look(image, thorough, out.bad)) is None:
      continue
    try:
      rows = [line.split() for line in text.read_text().splitlines() if line.strip()] if text.exists() else []
      x = np.array([corners(row[1:]) for row in rows]).reshape(-1, 4)
      numbers = [int(row[0]) for row in rows]
    except (ValueError, OSError) as e:
      raise errors.UsageError(f"{text} cannot be read: a line is `class x y width height` or a polygon, `class x y x y "
                              f"x y ...`, in shares of the image from 0 to 1 ({errors.first_line(e)})") from e
    label = lambda n: names[n] if 0 <= n < len(names) else str(n)
    out.items.append((str(image), seen, (x * np.tile(seen[::-1], 2)).tolist(), [label(n) for n in numbers]))
    out.names = out.names if names else tuple(map(str, range(max(len(out.names), *(n + 1 for n in numbers), 0))))
  out.names = names or out.names
  return out


def corners(values):
  """(left, top, right, bottom) of YOLO's numbers after the class: a box, or a polygon's points."""
  x = np.array(values, np.float64)
  if len(x) != 4 and (len(x) < 6 or len(x) % 2):
    raise ValueError(f"{len(x)} numbers after the class")
  if not (abs(x - 0.5) < 0.6).all():                        # some rounding is forgiven
    raise ValueError(f"{x.min():g} to {x.max():g} are no shares")
  if len(x) == 4:
    return np.concatenate([x[:2] - x[2:] / 2, x[:2] + x[2:] / 2])
  points = x.reshape(-1, 2)
  return np.concatenate([points.min(0), points.max(0)])


def look(file, thorough, bad):
  """(H, W) of an image file, or None and a line more in `bad` if it cannot be read."""
  try:
    if thorough:
      decode.decode(file.read_bytes())
    return decode.shape_of(file)
  except (ValueError, OSError) as e:
    bad.append(f"the image {file} is corrupt: {errors.first_line(e)}")


def names_of(root):
  """The names of the classes in classes.txt, or in the `names:` of data.yaml; () if they are nowhere."""
  if (file := root / "classes.txt").exists():
    return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
  if (file := root / "data.yaml").exists():
    import yaml
    found = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("names", ())
    return tuple(map(str, found.values() if isinstance(found, dict) else found))
  return ()


def checked(found, names, on_error):
  """([(file, (H, W), boxes float32 [m, 4], classes int32 [m])] of what is whole in a Listing, how much is not).

  names: of the classes, by their numbers. See `load` for what is not whole.
  """
  number, bad, out = {n: i for i, n in enumerate(names)}, list(found.bad), []
  for file, shape, boxes, classes in found.items:
    x = np.clip(np.float32(boxes).reshape(-1, 4), 0, np.float32([shape[1], shape[0]] * 2))
    empty = ~((x[:, 2:] - x[:, :2]) > 0).all(1)
    for i in np.flatnonzero(empty | [c not in number for c in classes]):
      what = "has no area" if empty[i] else f"is of the class {classes[i]}; there are {', '.join(names)}"
      bad.append(f"{found.where}: a box of {os.path.basename(file)} {what}")
    kept = [i for i, c in enumerate(classes) if c in number and not empty[i]]
    out.append((file, shape, x[kept], np.int32([number[classes[i]] for i in kept])))
  if bad and on_error == "raise":
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    raise errors.UsageError(f"{bad[0]}{more}; data.on_error=skip leaves such ones out")
  if not out:
    raise errors.UsageError(f"there are no images in {found.where}")
  return out, len(bad)


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
