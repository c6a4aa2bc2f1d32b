"""Files of a run, written whole or not at all."""

import contextlib
import json
import os
import pathlib

import numpy as np

from sslx import errors


def read_json(path):
  """The content of a JSON file, or one clear line."""
  try:
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
  except FileNotFoundError:
    raise errors.UsageError(f"there is no {path}: is this the workdir of a run?") from None
  except (OSError, ValueError) as e:
    raise errors.RunError(f"cannot read {path}: {e}") from e


def write_json(path, content):
  """Writes JSON whole or not at all."""
  write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path, text):
  """Writes a text file whole or not at all: beside it first, then renamed."""
  path = pathlib.Path(path)
  part = path.with_name(f".{path.name}.part")
  try:
    with open(part, "w", encoding="utf-8") as f:
      f.write(text)
      f.flush()
      os.fsync(f.fileno())
    os.replace(part, path)
  except OSError as e:
    with contextlib.suppress(OSError):
      part.unlink(missing_ok=True)
    raise errors.RunError(f"cannot write {path}: {e.strerror or e}") from e


def write_npz(path, arrays):
  """Writes an .npz file whole or not at all."""
  path = pathlib.Path(path)
  part = path.with_name(f".{path.name}.part")
  try:
    with open(part, "wb") as f:
      np.savez(f, **arrays)
    os.replace(part, path)
  except OSError as e:
    with contextlib.suppress(OSError):
      part.unlink(missing_ok=True)
    raise errors.RunError(f"cannot write {path}: {e.strerror or e}") from e
