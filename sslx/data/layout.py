"""Files in folders, of any kind but images (folder.py has those): parts, classes and what is held out.

  PATH/{train,test}/CLASS/**/FILE    labelled; without train/ and test/ every fifth file is held out
  PATH/{train,test}/FILE, PATH/FILE  unlabelled
"""

import pathlib

from sslx import errors
from sslx.data import source
from sslx.data.folder import PARTS


def files(path, split, known, many, kinds):
  """([(file, class or None)] of one split, sorted; the names of the classes of all splits, or None).

  known: the extensions, such as {".wav"}; many, kinds: what such files are called, as "recordings" and "WAV files".
  """
  root, below = pathlib.Path(path), lambda folder: _below(folder, known, many, kinds)
  if not root.is_dir():
    raise errors.UsageError(f"no such folder: {path}")
  parts = {PARTS[d.name.lower()]: d for d in sorted(root.iterdir()) if d.is_dir() and d.name.lower() in PARTS}
  held = next((parts[p] for p in (split, "test", "validation") if p in parts and p != "train"), None)
  if "train" in parts and held:
    train, held = below(parts["train"]), below(held)
    if (train[0][1] is None) != (held[0][1] is None):
      raise errors.UsageError(f"the parts of {path} must be alike: with class folders, or without")
    return train if split == "train" else held, _names(train + held)
  found = below(root)
  names = _names(found)
  rows = source.split(len(found), names and [names.index(c) for _, c in found])[split != "train"]
  return [found[i] for i in rows], names


def _names(files):
  return tuple(sorted({c for _, c in files if c is not None})) or None


def _below(folder, known, many, kinds):
  """[(file, class or None)] of the files in a folder, or at any depth of its class folders."""
  fits = lambda p: p.suffix.lower() in known and not p.name.startswith(".")
  own = [(str(p), None) for p in sorted(folder.iterdir()) if p.is_file() and fits(p)]
  below = [(str(p), d.name) for d in sorted(folder.iterdir()) if d.is_dir() and d.name[0] != "."
           for p in sorted(d.rglob("*")) if fits(p)]
  if own and below:
    raise errors.UsageError(f"{folder} has {many} ({own[0][0]}, ...) beside folders of {many} "
                            f"({below[0][1]}/): move them, so that every one lies in a class folder or none does")
  if not own and not below:
    raise errors.UsageError(f"{folder} has no {many}: {kinds}, in class folders or not")
  return own or below
