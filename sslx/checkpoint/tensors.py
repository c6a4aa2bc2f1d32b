"""Named arrays in one file: safetensors, with a JSON record in its header, and trees as flat dicts."""

import json
import os
import pathlib

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from sslx import errors

TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64,
         "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_}
RECORD = "sslx"                                            # the key of our record in a file's header


def flat(tree, separator="/", prefix=""):
  """{"a/b": leaf} of nested dicts."""
  out = {}
  for key, value in tree.items():
    out |= flat(value, separator, f"{prefix}{key}{separator}") if hasattr(value, "items") else {f"{prefix}{key}": value}
  return out


def nested(arrays, separator="/"):
  """The nested dicts of a flat one."""
  tree = {}
  for key, value in arrays.items():
    *path, last = key.split(separator)
    home = tree
    for name in path:
      home = home.setdefault(name, {})
    home[last] = value
  return tree


def read_safetensors(path):
  """({name: array}, our record or None) of a safetensors file.

  Raises errors.UsageError where there is none, errors.RunError where it cannot be read.
  """
  path = pathlib.Path(path)
  try:
    content = path.read_bytes()
    found = safetensors.deserialize(content)
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")]).get("__metadata__") or {}
    arrays = {name: np.frombuffer(t["data"], TYPES[t["dtype"]]).reshape(t["shape"]) for name, t in found}
    return arrays, json.loads(header[RECORD]) if RECORD in header else None
  except FileNotFoundError:
    raise errors.UsageError(f"there is no file {path}") from None
  except KeyError as e:
    raise errors.RunError(f"{path} holds tensors of type {e}; there are {', '.join(TYPES)}") from None
  except (OSError, ValueError, safetensors.SafetensorError) as e:
    raise errors.RunError(f"{path} cannot be read as safetensors, it is damaged or not whole: "
                          f"{errors.first_line(e)}") from e


def write_safetensors(path, arrays, record):
  """Writes {name: array} and a JSON record to a safetensors file whole or not at all."""
  path = pathlib.Path(path)
  part = path.with_name(f".{path.name}.part")
  arrays = {k: np.asarray(v, order="C") for k, v in arrays.items()}
  try:
    safetensors.numpy.save_file(arrays, part, {"format": "pt", RECORD: json.dumps(record)})
    os.replace(part, path)
  except (OSError, safetensors.SafetensorError) as e:
    part.unlink(missing_ok=True)
    raise errors.RunError(f"cannot write {path}: {errors.first_line(e)}") from e
