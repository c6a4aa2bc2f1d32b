"""What lies in a folder of images: parts, classes, files, found by their names alone.

  PATH/CLASS/**/FILE    labelled                PATH/train/CLASS/**/FILE, PATH/test/CLASS/**/FILE    with parts
  PATH/FILE             unlabelled              PATH/train/FILE, PATH/test/FILE

A part other than train is called test, val, valid or validation. Hidden files and folders and files that are no images
by their extension are ignored and counted.
"""

import dataclasses
import hashlib
import os

from sslx import errors
from sslx.data import decode

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test",
         "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation"}


@dataclasses.dataclass(frozen=True)
class Listing:
  """files: [(path below the root, part or "", class or None)], sorted; signature: changes when any file does."""
  files: list
  class_names: tuple | None
  ignored: int
  signature: str


def scan(path):
  """The Listing of a folder; UsageError for one that is missing, empty or mixes images with class folders."""
  if not os.path.exists(path):
    raise errors.UsageError(f"no such folder: {path}")
  if not os.path.isdir(path):
    raise errors.UsageError(f"{path} is a file; folder:PATH needs a folder (npz:PATH reads an .npz file)")
  images, folders, others = _entries(path)
  parts = {d: PARTS[d.lower()] for d in folders if d.lower() in PARTS}
  held = set(parts.values()) - {"train"}
  if "train" not in parts.values() or images or (len(parts) < len(folders) and not held):
    parts = {"": ""}                             # no train/ with a test/ beside it: the folders are classes
  files, found, ignored = [], {}, others if "" not in parts else 0
  h = hashlib.blake2b(digest_size=8)
  for folder, part in sorted(parts.items()):
    if list(parts.values()).count(part) > 1:
      raise errors.UsageError(f"{path} has more than one folder for {part}: {', '.join(sorted(parts))}; keep one")
    own, count = _part(os.path.join(path, folder))
    ignored += count
    labelled = {c is not None for _, c, _ in own}
    found[folder] = labelled
    for file, label, stamp in own:
      file = os.path.join(folder, file)
      files.append((file, part, label))
      h.update(f"{file}\0{stamp}\0".encode(errors="surrogateescape"))
  if len(set().union(*found.values())) > 1:
    raise errors.UsageError(f"{path}: {' and '.join(sorted(found))} must be alike: with class folders, or without")
  names = sorted({c for _, _, c in files if c is not None})
  return Listing(files, tuple(names) or None, ignored, h.hexdigest())


def _part(path):
  """([(file below path, class or None, stamp)], ignored) of a folder of class folders or of images."""
  images, folders, ignored = _entries(path)
  if images:
    for d in folders:
      below, _ = _below(os.path.join(path, d))
      if below:
        raise errors.UsageError(f"{path} has images ({images[0][0]}, ...) beside folders of images ({d}/): "
                                f"move them, so that every image lies in a class folder or none does")
    return [(name, None, stamp) for name, stamp in images], ignored
  files = []
  for d in folders:
    below, count = _below(os.path.join(path, d))
    if not below:
      raise errors.UsageError(f"class folder {os.path.join(path, d)} has no image: remove it or fill it")
    ignored += count
    files += [(os.path.join(d, name), d, stamp) for name, stamp in below]
  if not files:
    raise errors.UsageError(f"{path} has no images" + (f", only {ignored} other files" if ignored else ""))
  return files, ignored


def _below(path, seen=()):
  """([(file below path, stamp)], ignored) of all images under a folder, at any depth."""
  real = os.path.realpath(path)
  if real in seen:
    return [], 0                                 # a link that leads back up
  images, folders, ignored = _entries(path)
  for d in folders:
    below, count = _below(os.path.join(path, d), (*seen, real))
    images += [(os.path.join(d, name), stamp) for name, stamp in below]
    ignored += count
  return images, ignored


def _entries(path):
  """([(image, stamp)], [folder], number of other files) directly in a folder, sorted by name."""
  images, folders, others = [], [], 0
  try:
    for e in sorted(os.scandir(path), key=lambda e: e.name):
      if e.name.startswith((".", "__MACOSX")):
        others += not e.is_dir()
      elif e.is_dir():
        folders.append(e.name)
      elif os.path.splitext(e.name)[1].lower() in decode.EXTENSIONS:
        stat = e.stat() if e.is_file() else None           # a dangling link is found corrupt when it is read
        images.append((e.name, f"{stat.st_size} {stat.st_mtime_ns}" if stat else ""))
      else:
        others += 1
  except OSError as e:
    raise errors.UsageError(f"folder {path} cannot be read: {e.strerror}") from e
  return images, folders, others
