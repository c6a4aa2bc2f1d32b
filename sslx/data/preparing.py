"""Writes a prepared folder: every image decoded once, to see that it is whole, and its bytes kept as they are."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import warnings

import numpy as np

from sslx import errors
from sslx.data import decode

PARTS = ("", "train", "test", "validation")
FORMAT = 1                   # of the files; a set with another number is prepared again


def write(work, path, listing, name, progress):
  """Checks and copies every file into the folder `work`; the meta."""
  from array_record.python import array_record_module

  writer = array_record_module.ArrayRecordWriter(os.path.join(work, "images.array_record"), "group_size:1")
  kept, shapes, dtypes, digests, skipped, size = [], [], [], [], [], 0
  with warnings.catch_warnings(), contextlib.closing(writer):
    warnings.simplefilter("ignore")              # Pillow's, about files that it reads nonetheless
    for start in range(0, len(listing.files), 256):
      chunk = listing.files[start:start + 256]
      examined = decode.parallel(lambda entries: [_examine(path, e[0]) for e in entries], chunk, size)
      size = sum(len(data) for data, *_ in examined)
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
  for part in {part for _, part, _ in listing.files} - {part for _, part, _ in kept}:
    own = {f for f, p, _ in listing.files if p == part}
    file, reason = next(x for x in skipped if x[0] in own)
    raise errors.RunError(f"all images of {os.path.join(path, part)} are corrupt; {file}: {reason}")
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


def replace(work, target):
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


def sweep(root):
  """Removes what preparations on this machine that were killed have left."""
  for name in os.listdir(root) if os.path.isdir(root) else ():
    host, *time_and_pid = name.removesuffix(".old").rsplit(".", 2)
    if name.startswith(".") and host.endswith("." + socket.gethostname()) and "".join(time_and_pid).isdigit():
      try:
        os.kill(int(time_and_pid[1]), 0)
      except ProcessLookupError:
        shutil.rmtree(os.path.join(root, name), ignore_errors=True)
      except PermissionError:
        pass
