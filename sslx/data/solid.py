"""Objects in three dimensions in .npy files: what a file holds, and all files of a folder as arrays of one shape."""

import functools
import os

import numpy as np

from sslx import errors
from sslx.data import decode, layout, source

KNOWN = {".npy"}, "arrays", ".npy files"                     # of layout.files
KEPT = 2**30                                                 # bytes of examples that are read once and kept


def array(path):
  """The array in a .npy file; RunError where it is corrupt, or holds objects, which are never unpickled."""
  try:
    with open(path, "rb") as file:
      return np.lib.format.read_array(file, allow_pickle=False)
  except FileNotFoundError as e:
    raise errors.UsageError(f"there is no {path}") from e
  except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as e:
    raise errors.RunError(f"{path} is corrupt: {errors.first_line(e)}") from e


def grid(path, side=0):
  """A voxel grid [D, H, W, 1] of a file [D, H, W], uint8 or float32 in [0, 1].

  Booleans and integers of at most 1 say where something is: 255, as of uint8 that is 1. side: means over cubes bring
  each side to it, which must divide it; 0 keeps them.
  """
  x = array(path)
  if x.ndim == 4 and x.shape[-1] == 1:
    x = x[..., 0]
  if x.ndim != 3 or not x.size:
    raise errors.UsageError(f"{path} has shape {list(x.shape)}: a voxel grid has three sides, [D, H, W]")
  if x.dtype == bool or (np.issubdtype(x.dtype, np.integer) and x.max() <= 1 and x.min() >= 0):
    x = 255 * x.astype(np.uint8)
  elif np.issubdtype(x.dtype, np.floating) and np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1:
    x = x.astype(np.float32)
  elif x.dtype != np.uint8:
    raise errors.UsageError(f"{path} holds {x.dtype} from {x.min()} to {x.max()}: voxels are booleans, 0 and 1, uint8 "
                            "or floats in [0, 1]")
  if side:
    if any(n % side for n in x.shape):
      raise errors.UsageError(f"{path} has sides {list(x.shape)}, which data.size={side} does not divide")
    a, b, c = (n // side for n in x.shape)
    means = x.reshape(side, a, side, b, side, c).mean((1, 3, 5))
    x = np.rint(means).astype(np.uint8) if x.dtype == np.uint8 else means
  return x[..., None]


def cloud(path, count=0):
  """The points of a file [N, 3], float32 [count, 3]: the middle of all at 0, the farthest at distance 1.

  count: drawn without order, always the same ones, over and over where there are fewer; 0 for all.
  """
  x = array(path)
  if x.ndim != 2 or x.shape[1] != 3 or not len(x):
    raise errors.UsageError(f"{path} has shape {list(x.shape)}: points are [N, 3], x, y and z of each")
  if not np.issubdtype(x.dtype, np.number) or np.issubdtype(x.dtype, np.complexfloating) or not np.isfinite(x).all():
    raise errors.UsageError(f"{path} holds {x.dtype}{'' if x.dtype.kind in 'OSUVc' else ' that are not finite'}: "
                            "points are finite numbers")
  x = centred(x.astype(np.float64))
  return x[source.generator(0).permutation(len(x))[np.arange(count or len(x)) % len(x)]].astype(np.float32)


def centred(points):
  """Points [..., N, 3] with their mean at 0 and the farthest at distance 1."""
  x = points - points.mean(-2, keepdims=True)
  far = np.sqrt((x**2).sum(-1, keepdims=True)).max(-2, keepdims=True)
  return x / np.where(far > 0, far, 1)


def load(key, path, split, one, *, mark, on_error):
  """The Source of {key: one(file)} of the .npy files of one split, whose arrays must be alike.

  mark: what else the examples hang on, for the fingerprint.
  """
  found, names = layout.files(path, split, *KNOWN)
  good, kept, total, first = [], [], 0, None
  for file, label in found:
    try:
      x = one(file)
    except errors.RunError as e:
      if on_error == "raise":
        raise errors.RunError(f"{e}; mend or remove it, or set data.on_error=skip") from e
      continue
    first = first or (x.shape, x.dtype, file)
    if (x.shape, x.dtype) != first[:2]:
      raise errors.UsageError(f"the arrays of {path} are not alike: {list(first[0])} {first[1]} in {first[2]}, "
                              f"{list(x.shape)} {x.dtype} in {file}")
    total += x.nbytes
    good.append((file, label))
    kept.append(x)
    if total > KEPT:
      kept.clear()
  if not good:
    raise errors.RunError(f"all {len(found)} arrays of {path}, {split}, are corrupt")
  labels, paths = names and np.array([names.index(c) for _, c in good], np.int32), [f for f, _ in good]
  together = np.stack(kept) if len(kept) == len(good) else None
  print_ = source.digest(mark.encode(), *(f"{os.path.relpath(f, path)} {os.path.getsize(f)}".encode() for f in paths),
                         *(() if together is None else (together,)))
  return source.Source(
      f"{key}:{path}", functools.partial(_rows, key, one, paths, together), np.arange(len(paths)), first[0],
      str(first[1]), labels, names, paths, print_, len(found) - len(good), together is not None, key)


def _rows(key, one, paths, together, rows):
  """Some rows, of the array that holds all of them, or from their files."""
  if together is not None:
    return {key: together[rows]}
  chosen = [paths[int(i)] for i in rows]
  size = sum(os.path.getsize(p) for p in chosen)
  return {key: np.stack(decode.parallel(lambda part: [one(p) for p in part], chosen, size))}
