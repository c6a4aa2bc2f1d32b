"""Weak labels: a file of what several voters, or one that is not sure, say of the training examples.

  path,label,label,...      a label a voter, empty where one did not say       cats/1.jpg,cat,cat,dog
  path,label,confidence     a label and how sure it is, in (0, 1]              cats/1.jpg,cat,0.7

Paths are the names of files, whole or their last parts; an example may have several lines. A first line that begins
with "path" is a heading.
"""

import csv
import dataclasses
import functools
import os

import numpy as np

from sslx import errors
from sslx.data import names, source as sources


def voted(source, file):
  """The Source of the examples that a file of votes names, with the shares of their votes: {..., "votes": [K]}.

  K counts the classes that win some example, numbered from 0 on among them. A row of "votes" sums to the weight of
  the example: 1 where all say something of these classes, less where they are not sure or say another. "label" is the
  class with most votes, the first of equals. What the Source said its labels are is not used.
  """
  file = os.path.expanduser(file)
  if source.class_names is None or source.paths is None:
    raise errors.UsageError(f"data.votes={file} needs files in class folders: {source.name} has none, so nothing says "
                            "which classes there are")
  lines = read(file, source.class_names)
  at, line = np.unique(names.positions([path for path, _ in lines], source.paths, file), return_inverse=True)
  mass, count = np.zeros((len(at), len(source.class_names))), np.zeros(len(at))
  for row, (_, said) in zip(line, lines, strict=True):
    for label, weight in said:
      mass[row, label] += weight
      count[row] += 1
  label = mass.argmax(1)
  soft = (mass / count[:, None])[:, np.unique(label)].astype(np.float32)
  few = source.take(at)
  return dataclasses.replace(few, read=functools.partial(_read, few, soft), rows=np.arange(len(few)),
                             labels=label.astype(np.int32), fingerprint=sources.digest(few.fingerprint.encode(), soft))


def read(file, classes):
  """[(path, [(class number, weight)])] of the lines of a file of votes."""
  number, out = {name: i for i, name in enumerate(classes)}, []
  try:
    with open(file, newline="", encoding="utf-8") as f:
      lines = [(i, [cell.strip() for cell in row]) for i, row in enumerate(csv.reader(f), 1)]
  except (OSError, UnicodeDecodeError, csv.Error) as e:
    raise errors.UsageError(f"data.votes={file} cannot be read: {getattr(e, 'strerror', None) or e}") from e
  for i, (path, *cells) in ((i, row) for i, row in lines if any(row)):
    if not (i == 1 and path == "path"):
      out.append((path, said(f"{file}, line {i}", cells, number)))
  if not out:
    raise errors.UsageError(f"data.votes={file} has no line path,label,...")
  return out


def said(where, cells, number):
  """[(class number, weight)] of what follows the path in a line."""
  sure = _confidence(cells[1]) if len(cells) == 2 and cells[1] not in number else None
  if sure is not None and not 0 < sure <= 1:
    raise errors.UsageError(f"{where}: the confidence {cells[1]} is not above 0 and at most 1")
  labels = [c for c in (cells if sure is None else cells[:1]) if c]
  if not labels:
    raise errors.UsageError(f"{where} names no class: write path,label or leave the line out")
  for c in labels:
    if c not in number:
      raise errors.UsageError(f"{where}: {errors.unknown('class', c, number)}")
  return [(number[c], 1.0 if sure is None else sure) for c in labels]


def _confidence(cell):
  """The number in a cell, or None."""
  try:
    return float(cell)
  except ValueError:
    return None


def _read(few, soft, rows):
  return {**few.read(few.rows[rows]), "votes": soft[rows]}
