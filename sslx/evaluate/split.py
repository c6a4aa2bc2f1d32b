"""Which training examples have labels: a seeded stratified draw, the same for all contenders, or those of a file."""

import json
import pathlib

import numpy as np

from sslx import checkpoint, errors
from sslx.data import names
from sslx.evaluate.few_label import draws, reason


def labelled(setting, labels, seed=0, paths=None):
  """Sorted positions [n] of the labelled examples in a training set with labels [N] (or None, for a file alone).

  setting: "10%" of each class, "5" of each class (both as the first draw of few_label by that seed), or a file: .json,
  a list, or {"index": list}; else a position a line, or the name of a file of `paths` [N] a line, as in the lists of
  SimCLR's 1 and 10 percent of ImageNet. UsageError for what is none of these or does not fit the set.
  """
  text = str(setting)
  number = text.removesuffix("%")
  if not number.replace(".", "", 1).isdecimal() or ("." in number and number == text):
    return read(text, None if labels is None else len(labels), paths)
  if labels is None:
    raise errors.UsageError(f"data.labels={text} draws from labels, and these data have none")
  ids = np.unique(labels, return_inverse=True)[1]
  if float(number) <= 0 or (text != number and float(number) >= 100):
    raise errors.UsageError(f"data.labels={text}: give 10% (more than 0, less than 100), 5 (labels a class) or a file")
  if why := reason(text, ids):
    raise errors.UsageError(f"data.labels={text} does not fit this training set: {why}")
  return np.sort(next(draws(text, ids, seed))[0])


def read(path, count=None, paths=None):
  """Sorted positions of a split file, each once and less than `count`; paths: of a set whose files it may name."""
  path = pathlib.Path(path).expanduser()
  try:
    text = path.read_text(encoding="utf-8")
    found = json.loads(text) if path.suffix == ".json" else text.split()
    if paths is not None and path.suffix != ".json" and not all(map(str.isdecimal, found)):
      found = names.positions([x.strip() for x in text.splitlines() if x.strip()], paths, path)
    found = found["index"] if isinstance(found, dict) else found
    index = np.array([int(i) for i in found], np.int64)
  except OSError as e:
    raise errors.UsageError(f"data.labels={path} is neither 10% nor 5 (labels a class) nor a file that can be read: "
                            f"{e.strerror}") from e
  except errors.UsageError:                                 # of names, which is a ValueError, too
    raise
  except (ValueError, TypeError, KeyError) as e:
    raise errors.UsageError(f"{path} is no split: a .json holds a list of positions, a text file one a line"
                            + (", and this set has no files to name" if paths is None else "")) from e
  if not len(index) or index.min() < 0 or len(np.unique(index)) < len(index) or (
      count is not None and index.max() >= count):
    raise errors.UsageError(f"{path} is no split of {count} examples: it must hold positions from 0 to "
                            f"{'N' if count is None else count} - 1, each at most once, and at least one")
  return np.sort(index)


def write(path, index, paths=None):
  """Writes a split file as `read` takes it: positions, or in a text file, with `paths` of the set, names."""
  index = [int(i) for i in index]
  if paths is not None and not str(path).endswith(".json"):
    called = names.short(paths)
    index = [called[i] for i in index]
  if str(path).endswith(".json"):
    checkpoint.write_json(path, index)
  else:
    checkpoint.write_text(path, "".join(f"{i}\n" for i in index))
