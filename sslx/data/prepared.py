"""Image folders, prepared once: every file checked and copied into one ArrayRecord, and read from there afterwards.

  DIRECTORY/folders/NAME/images.array_record    record i is file i, its bytes as they are
                         index.npz              label, part, shape and digest of every record
                         paths.json             its path below the folder
                         skipped.txt            corrupt files and what is wrong with them
                         meta.json              everything else

A set is written under a temporary name and renamed when it is whole, so a half-prepared one is never read.
"""

import errno
import functools
import json
import logging
import os
import re
import shutil
import socket
import time

import numpy as np

from sslx import errors, paths
from sslx.data import decode, folder, preparing, source

log = logging.getLogger("sslx.data")


def directory(dir=None):
  """Where prepared data sets live: `dir`, else $TFDS_DATA_DIR, else the user's cache folder."""
  paths.here(dir or os.environ.get("TFDS_DATA_DIR") or "", "data.dir, or TFDS_DATA_DIR,")
  cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
  return os.path.abspath(os.path.expanduser(
      dir or os.environ.get("TFDS_DATA_DIR") or os.path.join(cache, "sslx", "data")))


def sets(dir=None):
  """{name: meta} of every prepared folder."""
  root = os.path.join(directory(dir), "folders")
  names = sorted(os.listdir(root)) if os.path.isdir(root) else []
  metas = {name: _meta(os.path.join(root, name)) for name in names if not name.startswith(".")}
  return {name: meta for name, meta in metas.items() if meta}


def prepare(path, dir=None, as_name=None, progress=None):
  """Prepares a folder, unless it already is and has not changed; its meta.

  progress: called with (files done, files in all).
  """
  path = os.path.abspath(os.path.expanduser(path))
  listing, known = folder.scan(path), sets(dir)
  if as_name in known and known[as_name]["folder"] != path:
    raise errors.UsageError(f"'{as_name}' is already prepared, from {known[as_name]['folder']}: choose another name, "
                            f"or delete {known[as_name]['path']}")
  for name, meta in known.items():
    if meta["folder"] == path and meta["signature"] == listing.signature and as_name in (None, name):
      return meta
  name = as_name or f"{re.sub(r'[^A-Za-z0-9_-]+', '-', os.path.basename(path))}-{source.digest(os.fsencode(path))[:8]}"
  target = os.path.join(directory(dir), "folders", name)
  work = os.path.join(os.path.dirname(target), f".{name}.{socket.gethostname()}.{time.time_ns()}.{os.getpid()}")
  try:
    preparing.sweep(os.path.dirname(target))
    os.makedirs(work)
  except OSError as e:
    raise errors.UsageError(f"cannot write to {directory(dir)} ({e.strerror}): set data.dir or TFDS_DATA_DIR to "
                            f"a folder that can be written") from e
  try:
    meta = preparing.write(work, path, listing, as_name or f"folder:{path}", progress or (lambda done, total: None))
    preparing.replace(work, target)
  except (OSError, RuntimeError) as e:           # array_record raises RuntimeError, with the system's words in it
    if isinstance(e, errors.RunError):
      raise
    full = any(os.strerror(n) in str(e) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
    raise errors.RunError(f"{'the disk is full' if full else ' '.join(str(e).split())}: preparing {path} in "
                          f"{directory(dir)}; make room, or set data.dir to another disk") from e
  finally:
    shutil.rmtree(work, ignore_errors=True)
  for note in meta["notes"]:
    log.warning("%s: %s", path, note)
  return {**meta, "path": target}


def check(meta, on_error):
  """RunError if corrupt images were found and may not be skipped."""
  if on_error not in ("raise", "skip"):
    raise errors.unknown("data.on_error", on_error, ("raise", "skip"))
  if meta["skipped"] and on_error == "raise":
    file, reason = meta["first_skipped"]
    more = f" (and {meta['skipped'] - 1} more, listed in {meta['path']}/skipped.txt)" if meta["skipped"] > 1 else ""
    raise errors.RunError(f"corrupt image {os.path.join(meta['folder'], file)}: {reason}{more}; repair or remove it, "
                          f"or set data.on_error=skip")


def load(meta, split, size, fit):
  """The Source of one split of a prepared folder, by its meta."""
  from array_record.python import array_record_data_source

  where = meta["path"]
  with np.load(os.path.join(where, "index.npz")) as f:
    index = {k: f[k] for k in f.files}
  with open(os.path.join(where, "paths.json")) as f:
    paths = json.load(f)
  labels = index["label"] if meta["class_names"] else None
  rows = split_rows(index["part"], labels, split)
  if not len(rows):
    raise errors.UsageError(f"{meta['name']} has no images to hold out: give it more, or a test/ folder")
  shapes = np.unique(index["shape"][rows, :2], axis=0)
  if not size and len(shapes) > 1:
    a, b = ("x".join(map(str, s)) for s in shapes[[0, -1]])
    raise errors.UsageError(f"the images of {meta['name']} differ in size ({a}, {b}, ...): set data.size to bring them "
                            f"to one")
  h, w = (size, size) if size else shapes[0].tolist()
  records = array_record_data_source.ArrayRecordDataSource(os.path.join(where, "images.array_record"))
  read = functools.partial(read_records, records, os.path.join(where, "images.array_record"),
                           {"channels": meta["channels"], "size": size, "fit": fit})
  labels = None if labels is None else labels[rows]
  return source.Source(
      meta["name"], read, rows, (h, w, meta["channels"]), meta["dtype"], labels,
      meta["class_names"] and tuple(meta["class_names"]), [os.path.join(meta["folder"], paths[i]) for i in rows],
      source.digest(index["digest"][rows], *(() if labels is None else (labels,))), meta["skipped"])


def split_rows(part, labels, split):
  """Rows [n] of one split; part [N] holds positions in preparing.PARTS. A set without a held-out part is split."""
  have = {preparing.PARTS[p]: np.flatnonzero(part == p) for p in np.unique(part)}
  train = have.get("train", have.get(""))
  held = [have[p] for p in ((split, "test", "validation") if split != "train" else ("test", "validation")) if p in have]
  if held:
    return train if split == "train" else held[0]
  return train[source.split(len(train), None if labels is None else labels[train])[split != "train"]]


def read_records(records, where, options, rows):
  """Rows [b] of a prepared folder -> {"image": [b, H, W, C]}."""
  return decode.batch(records.__getitems__([int(i) for i in rows]), options, where)


def _meta(where):
  """The meta of a prepared folder, with its path; None if there is none that this version reads."""
  try:
    with open(os.path.join(where, "meta.json")) as f:
      meta = json.load(f)
  except (OSError, ValueError):
    return None
  return {**meta, "path": where} if meta.get("format") == preparing.FORMAT else None


def current(name, dir=None, progress=None):
  """The meta of a prepared folder by its name, prepared again if its folder has changed; one that is gone has not."""
  meta = sets(dir)[name]
  return prepare(meta["folder"], dir, name, progress) if os.path.isdir(meta["folder"]) else meta


def describe(meta):
  """A prepared folder as `data.prepare` and `data.listing` tell of it."""
  with np.load(os.path.join(meta["path"], "index.npz")) as f:
    part, labels, shape = f["part"], f["label"], f["shape"]
  splits = {s: split_rows(part, labels if meta["class_names"] else None, s) for s in ("train", "test")}
  if preparing.PARTS.index("validation") in part and preparing.PARTS.index("test") in part:
    splits["validation"] = split_rows(part, labels, "validation")
  sizes = np.unique(shape[:, :2], axis=0).tolist()
  return {"name": meta["name"], "path": meta["path"], "splits": {s: len(rows) for s, rows in splits.items()},
          "shape": (*(sizes[0] if len(sizes) == 1 else (None, None)), meta["channels"]), "dtype": meta["dtype"],
          "classes": meta["class_names"] and tuple(meta["class_names"]), "skipped": meta["skipped"],
          "ignored": meta["ignored"], "notes": meta["notes"]}
