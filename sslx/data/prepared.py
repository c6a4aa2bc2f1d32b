"""Image folders, prepared once: every file checked and copied into one ArrayRecord, and read from there afterwards.

  DIRECTORY/folders/NAME/images.array_record    record i is file i, its bytes as they are
                         index.npz              label, part, shape and digest of every record
                         paths.json             its path below the folder
                         skipped.txt            corrupt files and what is wrong with them
                         meta.json              everything else

A set is written under a temporary name and renamed when it is whole, so a half-prepared one is never read.
"""

import concurrent.futures
import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import warnings

import numpy as np

from sslx import errors
from sslx.data import decode, folder, source

FORMAT = 1                   # of the files above; another number is prepared again
PARTS = ("", "train", "test", "validation")
log = logging.getLogger("sslx.data")


def directory(dir=None):
  """Where prepared data sets live: `dir`, else $TFDS_DATA_DIR, else the user's cache folder."""
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
  listing = folder.scan(path)
  for name, meta in sets(dir).items():
    if meta["folder"] == path and meta["signature"] == listing.signature and as_name in (None, name):
      return meta
  name = as_name or f"{re.sub(r'[^A-Za-z0-9_-]+', '-', os.path.basename(path))}-{source.digest(os.fsencode(path))[:8]}"
  target = os.path.join(directory(dir), "folders", name)
  work = os.path.join(os.path.dirname(target), f".{name}.{socket.gethostname()}.{os.getpid()}")
  try:
    _sweep(os.path.dirname(target))
    os.makedirs(work)
  except OSError as e:
    raise errors.UsageError(f"cannot write to {directory(dir)} ({e.strerror}): set data.dir or TFDS_DATA_DIR to "
                            f"a folder that can be written") from e
  try:
    meta = _write(work, path, listing, name if as_name else f"folder:{path}", progress or (lambda done, total: None))
    _replace(work, target)
  except OSError as e:
    full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    raise errors.RunError(f"{'the disk is full' if full else e.strerror or e}: preparing {path} in {directory(dir)}; "
                          f"make room, or set data.dir to another disk") from e
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
  shapes = np.unique(index["shape"][rows], axis=0)
  if not size and len(shapes) > 1:
    a, b = ("x".join(map(str, s[:2])) for s in shapes[[0, -1]])
    raise errors.UsageError(f"the images of {meta['name']} differ in size ({a}, {b}, ...): set data.size to bring them "
                            f"to one")
  h, w = (size, size) if size else shapes[0, :2].tolist()
  records = array_record_data_source.ArrayRecordDataSource(os.path.join(where, "images.array_record"))
  read = functools.partial(read_records, records, os.path.join(where, "images.array_record"),
                           {"channels": meta["channels"], "size": size, "fit": fit})
  labels = None if labels is None else labels[rows]
  return source.Source(
      meta["name"], read, rows, (h, w, meta["channels"]), meta["dtype"], labels,
      meta["class_names"] and tuple(meta["class_names"]), [os.path.join(meta["folder"], paths[i]) for i in rows],
      source.digest(index["digest"][rows], *(() if labels is None else (labels,))), meta["skipped"])


def split_rows(part, labels, split):
  """Rows [n] of one split; parts [N] holds positions in PARTS. Sets without parts of their own are split 80 to 20."""
  have = {PARTS[p]: np.flatnonzero(part == p) for p in np.unique(part)}
  train = have.get("train", have.get(""))
  held = [have[p] for p in ((split, "test", "validation") if split != "train" else ("test", "validation")) if p in have]
  if held:
    return train if split == "train" else held[0]
  return train[source.split(len(train), None if labels is None else labels[train])[split != "train"]]


def read_records(records, where, options, rows):
  """Rows [b] of encoded records -> {"image": [b, H, W, C]}, decoded by all cores."""
  def images(data):
    try:
      return [decode.decode(d, **options) for d in data]
    except ValueError as e:
      raise errors.RunError(f"a record of {where} cannot be decoded: {e}; delete that folder, it is prepared again") from e

  data = records.__getitems__([int(i) for i in rows])
  return {"image": np.stack(_parallel(images, data))}


def _parallel(function, items):
  """function(items) -> a list, with all cores at work on consecutive parts of the items."""
  step = max(8, -(-len(items) // (os.cpu_count() or 1)))
  parts = [items[i:i + step] for i in range(0, len(items), step)]
  return [x for part in (_pool().map if len(parts) > 1 else map)(function, parts) for x in part]


@functools.cache
def _pool():
  return concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, "sslx-decode")


def _meta(where):
  """The meta of a prepared folder, with its path; None if there is none that this version reads."""
  try:
    with open(os.path.join(where, "meta.json")) as f:
      meta = json.load(f)
  except (OSError, ValueError):
    return None
  return {**meta, "path": where} if meta.get("format") == FORMAT else None


def _write(work, path, listing, name, progress):
  """Checks and copies every file into the folder `work`; the meta."""
  from array_record.python import array_record_module

  writer = array_record_module.ArrayRecordWriter(os.path.join(work, "images.array_record"), "group_size:1")
  kept, shapes, dtypes, digests, skipped = [], [], [], [], []
  with warnings.catch_warnings(), contextlib.closing(writer):
    warnings.simplefilter("ignore")              # Pillow's, about files that it reads nonetheless
    for start in range(0, len(listing.files), 256):
      chunk = listing.files[start:start + 256]
      examined = _parallel(lambda entries: [_examine(path, e[0]) for e in entries], chunk)
      for entry, (data, shape, dtype) in zip(chunk, examined, strict=True):
        if shape is None:
          skipped.append((entry[0], data))
          continue
        writer.write(data)
        kept.append(entry)
        shapes.append(shape)
        dtypes.append(dtype)
        digests.append(hashlib.blake2b(data, digest_size=8).digest())
      progress(start + len(chunk), len(listing.files))
  if not kept:
    raise errors.RunError(f"all {len(skipped)} images of {path} are corrupt; {skipped[0][0]}: {skipped[0][1]}")
  channels, dtype, notes = _common(path, kept, np.array(shapes), dtypes)
  classes = {c: i for i, c in enumerate(listing.class_names or ())}
  np.savez(os.path.join(work, "index.npz"), label=np.array([classes.get(c, -1) for _, _, c in kept], np.int32),
           part=np.array([PARTS.index(p) for _, p, _ in kept], np.int8), shape=np.array(shapes, np.int32),
           digest=np.frombuffer(b"".join(digests), np.uint64))
  with open(os.path.join(work, "paths.json"), "w") as f:
    json.dump([file for file, _, _ in kept], f)
  if skipped:
    notes.append(f"{len(skipped)} corrupt images, listed in skipped.txt")
    with open(os.path.join(work, "skipped.txt"), "w", errors="backslashreplace") as f:
      f.writelines(f"{file}: {reason}\n" for file, reason in skipped)
  meta = {"format": FORMAT, "name": name, "folder": path, "signature": listing.signature, "count": len(kept),
          "class_names": listing.class_names, "channels": channels, "dtype": dtype, "ignored": listing.ignored,
          "skipped": len(skipped), "first_skipped": skipped[0] if skipped else None, "notes": notes}
  with open(os.path.join(work, "meta.json"), "w") as f:
    json.dump(meta, f, indent=1)
  return meta


def _examine(path, file):
  """(bytes, shape, dtype) of a file that decodes in full, else (what is wrong, None, None)."""
  try:
    with open(os.path.join(path, file), "rb") as f:
      data = f.read()
    pixels = decode.decode(data)
  except OSError as e:
    return e.strerror, None, None
  except ValueError as e:
    return str(e), None, None
  return data, pixels.shape, str(pixels.dtype)


def _common(path, kept, shapes, dtypes):
  """(channels, dtype, notes) that all images share; UsageError if they cannot."""
  channels, notes = sorted(set(shapes[:, 2].tolist())), []
  for what, values, each in (("number formats", sorted(set(dtypes)), dtypes), ("channels", channels, shapes[:, 2])):
    if len(values) > 1 and values != [1, 3]:
      example = ", ".join(f"{v} in {kept[list(each).index(v)][0]}" for v in values)
      raise errors.UsageError(f"{path} mixes images of different {what}: {example}; keep one kind")
  if channels == [1, 3]:
    notes.append(f"{int((shapes[:, 2] == 1).sum())} grey images among {int((shapes[:, 2] == 3).sum())} in colour: "
                 f"all are read as RGB")
  return channels[-1], dtypes[0], notes


def _replace(work, target):
  """Puts the finished folder in the place of an older one."""
  old = work + ".old"
  with contextlib.suppress(FileNotFoundError):
    os.rename(target, old)
  try:
    os.rename(work, target)
  except OSError as e:
    if e.errno not in (errno.ENOTEMPTY, errno.EEXIST):     # another process finished the same set first: keep that
      raise
  shutil.rmtree(old, ignore_errors=True)


def _sweep(root):
  """Removes what preparations on this machine that were killed have left."""
  for name in os.listdir(root) if os.path.isdir(root) else ():
    host, _, pid = name.removesuffix(".old").rpartition(".")
    if name.startswith(".") and host.endswith("." + socket.gethostname()) and pid.isdigit():
      try:
        os.kill(int(pid), 0)
      except ProcessLookupError:
        shutil.rmtree(os.path.join(root, name), ignore_errors=True)
      except PermissionError:
        pass


def current(name, dir=None, progress=None):
  """The meta of a prepared folder by its name, prepared again if its folder has changed; one that is gone has not."""
  meta = sets(dir)[name]
  return prepare(meta["folder"], dir, name, progress) if os.path.isdir(meta["folder"]) else meta


def describe(meta):
  """A prepared folder as `data.prepare` and `data.listing` tell of it."""
  with np.load(os.path.join(meta["path"], "index.npz")) as f:
    part, labels, shape = f["part"], f["label"], f["shape"]
  splits = {s: split_rows(part, labels if meta["class_names"] else None, s) for s in ("train", "test")}
  if PARTS.index("validation") in part and PARTS.index("test") in part:
    splits["validation"] = split_rows(part, labels, "validation")
  sizes = np.unique(shape[:, :2], axis=0).tolist()
  return {"name": meta["name"], "path": meta["path"], "splits": {s: len(rows) for s, rows in splits.items()},
          "shape": (*(sizes[0] if len(sizes) == 1 else (None, None)), meta["channels"]), "dtype": meta["dtype"],
          "classes": meta["class_names"] and tuple(meta["class_names"]), "skipped": meta["skipped"],
          "ignored": meta["ignored"], "notes": meta["notes"]}
