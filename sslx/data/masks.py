"""A folder of images and masks, which say for every pixel what it belongs to.

  PATH/train/images/NAME.jpg, PATH/train/masks/NAME.png      and so val/ or test/, or both
  PATH/classes.json, if there is one                         ["sky", ...] or {"classes": [...], "ignore_index": 11}

Masks are grey or palette images whose values are class numbers from 0 on. Grey images become RGB.
"""

import functools
import json
import os
import pathlib

import numpy as np
from PIL import Image

from sslx import errors
from sslx.data import decode, source
from sslx.data.folder import PARTS


def load(path, split, size, fit, on_error="raise"):
  """The Source of {"image": [H, W, C], "mask": uint8 [H, W]} of one split; masks are resized by nearest pixels.

  on_error: raise | skip: a mask that is missing, corrupt, in colour or of another size than its image, or a corrupt
    image, is an error, or both are left out and counted.

  Raises errors.UsageError for folders without images or masks, images of several sizes with size=0, and what on_error
  says.
  """
  root = pathlib.Path(path)
  if not root.is_dir():
    raise errors.UsageError(f"no such folder: {path}")
  parts = {PARTS[d.name.lower()]: d for d in sorted(root.iterdir()) if d.is_dir() and d.name.lower() in PARTS}
  held = next((parts[p] for p in (split, "test", "validation") if p in parts and p != "train"), None)
  folder = parts.get("train") if split == "train" else held
  if folder is None:
    raise errors.UsageError(f"{path} has no {split if split == 'train' else 'test or val'} folder: masks:PATH needs "
                            "PATH/train and PATH/test or PATH/val, with images and masks in each")
  images, masks = (_files(folder / kind) for kind in ("images", "masks"))
  if not images:
    raise errors.UsageError(f"there are no images in {folder / 'images'}")
  lost, skip = [name for name in images if name not in masks], on_error == "skip"
  if lost and not skip:
    raise errors.UsageError(f"{folder / 'masks'} has no mask for {len(lost)} of {len(images)} images, {lost[0]} first; "
                            "data.on_error=skip leaves such images out")
  pairs = [(str(images[name]), str(masks[name])) for name in images if name in masks and not (
      skip and _broken(images[name], masks[name]))]
  if not pairs:
    raise errors.UsageError(f"no image of {folder / 'images'} has a mask in {folder / 'masks'} that can be used")
  seen = [_size(a, b) for a, b in pairs]
  apart = next((i for i, s in enumerate(seen) if s != seen[0]), None)
  if not size and apart is not None:
    raise errors.UsageError(f"images have several sizes ({pairs[0][0]} {seen[0][1]}x{seen[0][0]}, {pairs[apart][0]} "
                            f"{seen[apart][1]}x{seen[apart][0]}): set data.size")
  read = functools.partial(_read, pairs, size, fit)
  first = read([0])["image"]
  mark = source.digest(*(f"{os.path.basename(a)} {os.path.getsize(a)} {os.path.getsize(b)}".encode() for a, b in pairs),
                       f"{size} {fit}".encode())
  return source.Source(f"masks:{path}", read, np.arange(len(pairs)), first.shape[1:], str(first.dtype),
                       class_names=classes(path)[0], paths=[a for a, _ in pairs], fingerprint=mark,
                       skipped=len(images) - len(pairs))


def classes(path):
  """(names of the classes or None, the number that marks pixels to be ignored or None), from PATH/classes.json."""
  path = pathlib.Path(path) / "classes.json"
  if not path.exists():
    return None, None
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
    found = found if isinstance(found, dict) else {"classes": found}
    return tuple(map(str, found["classes"])), found.get("ignore_index")
  except (ValueError, KeyError, TypeError) as e:
    raise errors.UsageError(f"{path} must hold a list of class names, or {{\"classes\": [...], \"ignore_index\": N}}"
                            ) from e


def _files(folder):
  """{name without its ending: path} of the images in a folder, sorted."""
  found = folder.iterdir() if folder.is_dir() else ()
  return {p.stem: p for p in sorted(found) if p.suffix.lower() in decode.EXTENSIONS and not p.name.startswith(".")}


def _size(image, mask):
  """(H, W) of an image, which must be its mask's too; read from the files' heads."""
  sizes = []
  for path in (image, mask):
    try:
      sizes.append(decode.shape_of(path))
    except OSError as e:
      raise errors.RunError(f"{path} is corrupt: {errors.first_line(e)}") from e
  if sizes[0] != sizes[1]:
    raise errors.UsageError(f"the mask {mask} is {sizes[1][1]}x{sizes[1][0]}, its image {sizes[0][1]}x{sizes[0][0]}: "
                            "they must be of one size")
  return sizes[0]


def _broken(image, file):
  """Whether an image and its mask cannot be used; both are decoded."""
  try:
    _size(image, file)
    _image(image, 0, "crop")
    mask(file)
  except (errors.UsageError, errors.RunError):
    return True
  return False


def _read(pairs, size, fit, rows):
  """The images and masks of some rows, decoded by all cores."""
  chosen = [pairs[int(i)] for i in rows]
  one = lambda part: [(_image(a, size, fit), mask(b, size, fit)) for a, b in part]
  found = decode.parallel(one, chosen, sum(os.path.getsize(a) for a, _ in chosen))
  return {"image": np.stack([x for x, _ in found]), "mask": np.stack([m for _, m in found])}


def _image(path, size, fit):
  try:
    return decode.decode(pathlib.Path(path).read_bytes(), size=size, fit=fit, channels=3)
  except ValueError as e:
    raise errors.RunError(f"the image {path} is corrupt: {e}") from e


def mask(path, size=0, fit="crop"):
  """A mask's class numbers, uint8 [H, W], resized as images are but by nearest pixels."""
  try:
    with Image.open(path) as opened:
      if opened.mode not in ("L", "P", "1"):
        raise errors.UsageError(f"the mask {path} is of mode {opened.mode}: masks are grey or palette images of 8 bits "
                                "whose values are class numbers")
      if size:
        box = decode.window(opened.height, opened.width, (size, size), fit)
        opened = opened.resize((size, size), Image.Resampling.NEAREST, box)
      return np.asarray(opened).astype(np.uint8)
  except OSError as e:
    raise errors.RunError(f"the mask {path} is corrupt: {errors.first_line(e)}") from e
