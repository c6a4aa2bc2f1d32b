"""Point sets in folders, a .npy array [N, 3] each, of x, y and z (which points up); see layout.py for the folders."""

import dataclasses
import functools

import jax
import numpy as np

from sslx import errors
from sslx.augment import space
from sslx.data import layout, solid, source as sources

SIZE = 32                                                    # pixels of a picture
PART = 256                                                   # sets that are drawn at once


def load(path, split, *, length=0, size=0, key="", on_error="raise"):
  """The Source of point sets {"points": float32 [M, 3]} of one split, in the unit sphere; see solid.cloud.

  Args:
    length: M; 0 for as many as the smallest of all sets, of both parts, has.
    size, key: "image" puts in front a picture of each, {"image": uint8 [S, S, 1], "points"}, S = size, or 32: its depth
      seen from one direction, that of space.render.
    on_error: raise | skip: corrupt files are an error, or left out and counted.

  Raises errors.UsageError for folders without arrays and for arrays that are no points, errors.RunError for corrupt
  files.
  """
  if length < 0 or length != int(length):
    raise errors.UsageError(f"data.length is {length:g}: give a number of points, or 0")
  if key not in ("", "points", "image"):
    raise errors.unknown("data.key", key, ("points", "image"))
  length = int(length) or fewest({f for s in ("train", split) for f, _ in layout.files(path, s, *solid.KNOWN)[0]})
  found = solid.load("points", path, split, functools.partial(solid.cloud, count=length), mark=f"{length}",
                     on_error=on_error)
  if key != "image":
    return found
  images = pictures(found, size or SIZE)
  return dataclasses.replace(found, read=functools.partial(_both, found.read, images), shape=images.shape[1:],
                             dtype="uint8", key="image",
                             fingerprint=sources.digest(found.fingerprint.encode(), f"{size}".encode()))


def fewest(files):
  """The number of points in the smallest of the files; what is no array of points is seen to when it is read."""
  counts = []
  for file in files:
    try:
      shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError, SyntaxError):
      continue
    counts += shape[:1] if len(shape) == 2 and shape[0] else ()
  return min(counts, default=1)


def pictures(source, size):
  """uint8 [N, S, S, 1]: each point set of a Source as space.render draws it."""
  draw = jax.jit(functools.partial(space.render, size=size))
  out = []
  for i in range(0, len(source), PART):
    x = source.batch(np.arange(i, min(i + PART, len(source))))["points"]
    x = np.concatenate([x, np.zeros((PART - len(x), *x.shape[1:]), x.dtype)])
    out.append(np.rint(255 * np.asarray(draw(x))).astype(np.uint8))
  return np.concatenate(out)[:len(source)]


def _both(read, images, rows):
  return {"image": images[rows], **read(rows)}
