"""Files of a run, written whole or not at all."""

import contextlib
import dataclasses
import json
import os
import pathlib
import zipfile
from collections.abc import Iterable

import numpy as np

from sslx import errors, paths


def read_json(path):
  """The content of a JSON file, or one clear line."""
  try:
    return json.loads(paths.path(path).read_text(encoding="utf-8"))
  except FileNotFoundError:
    raise errors.UsageError(f"there is no {path}: is this the workdir of a run?") from None
  except (OSError, ValueError) as e:
    raise errors.RunError(f"cannot read {path}: {e}") from e


def write_json(path, content):
  """Writes JSON whole or not at all."""
  write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path, text):
  """Writes a text file whole or not at all: beside it first, then renamed; an object in a bucket is whole by itself."""
  path = paths.path(path)
  if paths.remote(path):
    try:
      path.write_text(text, encoding="utf-8")
    except Exception as e:  # each file system has errors of its own
      raise errors.RunError(f"cannot write {path}: {errors.first_line(e)}") from e
    return
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


@dataclasses.dataclass
class Rows:
  """An array [N, ...] for write_npz that comes in parts, so that it need not fit into memory."""
  count: int           # N
  parts: Iterable      # arrays [n, ...], N rows in all


def write_npz(path, arrays):
  """Writes {name: array or Rows} to an .npz file whole or not at all, with the bytes that np.savez would write."""
  paths.here(path, "the file")
  path = pathlib.Path(path)
  part = path.with_name(f".{path.name}.part")
  try:
    with open(part, "wb") as f, zipfile.ZipFile(f, "w") as out:
      for name, value in arrays.items():
        with out.open(f"{name}.npy", "w", force_zip64=True) as entry:
          if isinstance(value, Rows):
            _write_rows(entry, value)
          else:
            np.lib.format.write_array(entry, np.asarray(value), allow_pickle=False)
    os.replace(part, path)
  except BaseException as e:
    with contextlib.suppress(OSError):
      part.unlink(missing_ok=True)
    if isinstance(e, OSError):
      raise errors.RunError(f"cannot write {path}: {e.strerror or e}") from e
    raise


def _write_rows(file, rows):
  done = 0
  for x in rows.parts:
    if not done:
      header = np.lib.format.header_data_from_array_1_0(x)
      np.lib.format.write_array_header_1_0(file, header | {"shape": (rows.count, *x.shape[1:]), "fortran_order": False})
    file.write(np.ascontiguousarray(x).data)
    done += len(x)
  assert done == rows.count, f"{done} rows, not {rows.count}"
