"""What every data set is once it is loaded: random access by position, from an array or from encoded records."""

import dataclasses
import functools
import hashlib
import operator
from collections.abc import Callable

import numpy as np

from sslx import errors

KEYS = ("image", "video", "audio", "text", "voxels", "points")       # what an encoder can read


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """A data set of N examples; `s[i]` is {key: an array, "label": int32 (labelled sets only), "index": int32 i}.

  It can be pickled, so worker processes can read it. What an example is, by its key:
    image  [H, W, C], uint8, uint16 or float32 in [0, 1]       text   [T] tokens, int32, 0 where there is none
    video  [T, H, W, C], as images                             audio  [T] samples, int16, or float32 in [-1, 1]
    voxels [D, H, W, 1], as images                             points [M, 3], float32, in the unit sphere

  name: what it was loaded as                  shape, dtype: of the array of every example
  read: rows [b] -> {key: [b, ...]}            labels: int32 [N], or None
  rows: int64 [N], the rows of `read` it has   class_names: tuple of str, or None; paths: list of N str, or None
  fingerprint: short hex of the content        skipped: corrupt images that were dropped at preparation
  in_memory: the examples are one array         key: one of KEYS
  """
  name: str
  read: Callable
  rows: np.ndarray
  shape: tuple | None = None
  dtype: str | None = None
  labels: np.ndarray | None = None
  class_names: tuple | None = None
  paths: list | None = None
  fingerprint: str = ""
  skipped: int = 0
  in_memory: bool = False
  key: str = "image"

  def __len__(self):
    return len(self.rows)

  def __getitem__(self, i):
    i = range(len(self))[operator.index(i)]      # the IndexError of a list; negative positions count from the end
    return {k: v[0] for k, v in self.batch(np.array([i])).items()}

  def batch(self, index):
    """The examples at positions index [b], stacked: {key: [b, ...], "label": [b], "index": [b]}."""
    index = np.asarray(index)
    out = dict(self.read(self.rows[index]))
    if self.labels is not None:
      out["label"] = self.labels[index]
    return {**out, "index": index.astype(np.int32)}

  def take(self, index):
    """The Source of the examples at positions index [n], in that order."""
    index = np.asarray(index, np.int64)
    pick = lambda x: None if x is None else x[index]
    paths = None if self.paths is None else [self.paths[i] for i in index]
    mark = self.fingerprint if len(index) == len(self) and (index == np.arange(len(self))).all() else digest(
        self.fingerprint.encode(), index)
    return dataclasses.replace(self, rows=self.rows[index], labels=pick(self.labels), paths=paths, fingerprint=mark)


def from_array(name, examples, labels=None, class_names=None, key="image"):
  """A Source over images [N, H, W, C], or what else `key` stands for, held in memory."""
  labels = None if labels is None else np.ascontiguousarray(labels, np.int32)
  return Source(
      name, functools.partial(_rows, key, examples), np.arange(len(examples)), examples.shape[1:], str(examples.dtype),
      labels,
      None if class_names is None else tuple(class_names),
      fingerprint=digest(examples, *(() if labels is None else (labels,))), in_memory=True, key=key)


def from_sequence(name, sequence, labels=None):
  """A Source over a sequence (`len` and `[i]`) of dicts of arrays; its key is the first of KEYS they hold."""
  if isinstance(sequence, Source):
    return sequence
  if not (hasattr(sequence, "__len__") and hasattr(sequence, "__getitem__")):
    raise errors.UsageError(f"data set '{name}' is a {type(sequence).__name__}; it needs a length and [i] -> a dict")
  if not len(sequence):
    raise errors.UsageError(f"data set '{name}' is empty")
  first = sequence[0]
  if not hasattr(first, "keys"):
    raise errors.UsageError(f"data set '{name}' holds {type(first).__name__}; every example must be a dict of arrays")
  key = next((k for k in KEYS if k in first), "image")
  array = np.asarray(first[key]) if key in first else None
  labels = getattr(sequence, "labels", None) if labels is None else labels
  names = getattr(sequence, "class_names", None)
  return Source(
      name, functools.partial(_stack, sequence), np.arange(len(sequence)),
      None if array is None else array.shape, None if array is None else str(array.dtype),
      None if labels is None else np.asarray(labels, np.int32), None if names is None else tuple(names),
      fingerprint=getattr(sequence, "fingerprint", ""), key=key)


def subset(source, limit, seed):
  """`limit` examples of a seeded shuffle of a Source, in that order; 0 = all of them, as they are."""
  if limit < 0:
    raise errors.UsageError(f"data.limit is {limit}; give a number of examples, or 0 for all")
  return source.take(generator(seed).permutation(len(source))[:limit]) if 0 < limit < len(source) else source


def beside(source, index):
  """A Source of all examples without labels, and of labelled ones beside them: {key, "labelled", "class"}.

  The labelled examples at positions index [n] are taken in turn, so that each comes equally often; their classes are
  numbered from 0 on. It has no `labels`, so nothing can take those of the one for the other's.
  """
  few, _ = numbered(source.take(index))
  partner = np.arange(len(source)) % len(few)
  mark = digest(source.fingerprint.encode(), np.asarray(index))
  return dataclasses.replace(source, read=functools.partial(_beside, source, few, partner), rows=np.arange(len(source)),
                             labels=None, paths=None, fingerprint=mark)


def coloured(source, channels):
  """A Source of grey images with their one channel repeated; others, or with channels=0 all, as they are."""
  if not channels or source.key != "image" or source.shape is None or source.shape[-1] != 1:
    return source
  return dataclasses.replace(source, read=functools.partial(_repeated, source.read, channels),
                             shape=(*source.shape[:-1], channels))


def numbered(source):
  """(the Source with its classes numbered from 0 on, without gaps; their number), or (source, None) if unlabelled.

  Labels below 0 mark examples without one: a Source that has any counts as unlabelled.
  """
  if source.labels is None or not len(source) or source.labels.min() < 0:
    return source, None
  classes, labels = np.unique(source.labels, return_inverse=True)
  names = source.class_names and tuple(source.class_names[i] for i in classes if i < len(source.class_names))
  return dataclasses.replace(source, labels=labels.astype(np.int32), class_names=names), len(classes)


def split(count, labels=None):
  """(train, test) positions of a fixed split 80 to 20 of `count` examples, stratified when labelled."""
  order = np.lexsort((generator(0).permutation(count), np.zeros(count) if labels is None else labels))
  test = np.sort(order[::5]) if count > 1 else order[:0]      # every fifth, class after class
  return np.setdiff1d(order, test), test


def generator(seed):
  """The one random generator of this package; its numbers are the same on every machine."""
  return np.random.Generator(np.random.PCG64(seed))


def digest(*parts):
  """16 hex digits of arrays and bytes."""
  h = hashlib.blake2b(digest_size=8)
  for part in parts:
    if isinstance(part, np.ndarray):
      h.update(f"{part.dtype}{part.shape}".encode())
      part = np.ascontiguousarray(part).data.cast("B") if part.size else b""
    h.update(part)
  return h.hexdigest()


def _rows(key, examples, rows):
  return {key: examples[rows]}


def _repeated(read, channels, rows):
  found = read(rows)
  return {**found, "image": np.repeat(found["image"], channels, -1)}


def _beside(source, few, partner, rows):
  """All examples of some rows, and the labelled ones beside them."""
  at = partner[rows]
  return {**source.read(source.rows[rows]), "labelled": few.read(few.rows[at])[source.key], "class": few.labels[at]}


def _stack(sequence, rows):
  examples = [sequence[int(i)] for i in rows]
  return {k: np.stack([np.asarray(e[k]) for e in examples]) for k in examples[0] if k != "index"}


def labelled(source):
  """A Source with `labels` filled where its examples carry them, and a fingerprint (of 256 of them and all labels)."""
  if source.labels is None and len(source) and "label" in source[0]:
    labels = np.array([source[i]["label"] for i in range(len(source))], np.int32)
    source = dataclasses.replace(source, labels=labels)
  if not source.fingerprint and len(source):
    some = source.batch(np.linspace(0, len(source) - 1, min(len(source), 256)).astype(int))
    mark = digest(*(some[k] for k in sorted(some)), *(() if source.labels is None else (source.labels,)))
    source = dataclasses.replace(source, fingerprint=mark)
  return source
