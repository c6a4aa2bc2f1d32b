"""Files of weights: .safetensors, .npz, and PyTorch's own, read without running anything that is in them."""

import argparse
import os
import pathlib
import warnings
import zipfile

import ml_dtypes
import numpy as np

from sslx import checkpoint, errors

TORCH = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".torch")
KINDS = (".safetensors", ".npz", *TORCH)


def read(path):
  """({key: array}, our record or None) of a file of weights; nested dicts are flattened, "state_dict.conv1.weight".

  Raises errors.UsageError for a file that is not there or of no known kind, one that holds more than tensors, and one
  of PyTorch's where that is not installed; errors.RunError for a damaged one.
  """
  path = pathlib.Path(path)
  if path.suffix not in KINDS:
    raise errors.unknown("kind of weights file", path.suffix or path.name, KINDS)
  if not path.is_file():
    raise errors.UsageError(f"there is no file {path}")
  if path.suffix == ".safetensors":
    return checkpoint.read_safetensors(path)
  return (_npz(path) if path.suffix == ".npz" else _torch(path)), None


def write(path, arrays, record):
  """Writes {key: array} to a file whose kind its name says; our record goes into the header of a .safetensors."""
  path = pathlib.Path(path)
  if path.suffix == ".safetensors":
    checkpoint.write_safetensors(path, arrays, record)
  elif path.suffix == ".npz":
    checkpoint.write_npz(path, arrays)
  elif path.suffix in TORCH:
    torch = imported(path)
    part = path.with_name(f".{path.name}.part")
    try:
      torch.save({k: torch.from_numpy(np.array(a)) for k, a in arrays.items()}, part)
      os.replace(part, path)
    except (OSError, RuntimeError) as e:
      part.unlink(missing_ok=True)
      raise errors.RunError(f"cannot write {path}: {errors.first_line(e)}") from e
  else:
    raise errors.unknown("kind of weights file", path.suffix or path.name, KINDS)


def imported(path):
  """PyTorch, or one clear line."""
  try:
    import torch
  except ImportError:
    raise errors.UsageError(f"{path} is of PyTorch's own kind, and PyTorch is not installed: `pip install "
                            "'sslx[torch]'`, or use .safetensors in its place") from None
  return torch


def _npz(path):
  try:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
      arrays = {k.replace("/", "."): found[k] for k in found.files}
  except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as e:
    if "allow_pickle" in str(e) or "pickled" in str(e):
      raise errors.UsageError(f"{path} holds pickled objects, which could run code: nothing was read. Save its arrays "
                              "alone") from e
    raise errors.RunError(f"{path} cannot be read as .npz, it is damaged or not whole: {errors.first_line(e)}") from e
  wide = lambda a: a.view(ml_dtypes.bfloat16) if a.dtype.str == "|V2" else a                # NumPy's view of bfloat16
  return {k: wide(a) for k, a in arrays.items()}


def _torch(path):
  torch = imported(path)
  with open(path, "rb") as file:
    start = file.read(2)
  if start and start != b"PK" and start[:1] != b"\x80":     # a zip, or the pickle of before 2020
    raise errors.RunError(f"{path} is no file of PyTorch's: it begins with {start!r}, as a page that was saved in its "
                          "place would")
  try:
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():  # DINO's, MAE's arguments
      warnings.simplefilter("ignore")                       # of pickles that torch.save did not write
      content = torch.load(path, map_location="cpu", weights_only=True)
  except Exception as e:  # torch raises many types: for a damaged file, and for one with objects in it
    text = str(e)
    if "weights_only" in text.lower() or "weights only" in text.lower():
      words = " ".join(line for line in text.splitlines() if "GLOBAL" in line).split()
      what = next((w for w in words if "." in w.strip(".")), "")
      raise errors.UsageError(
          f"{path} holds more than tensors{f' ({what})' if what else ''}, which could run code: nothing was executed. "
          "If you trust it, save its tensors alone: torch.save(torch.load(FILE, weights_only=False)['state_dict'], "
          "'clean.pth')") from e
    raise errors.RunError(f"{path} cannot be read by PyTorch, it is damaged or not whole: {errors.first_line(e)}"
                          ) from e
  return dict(_tensors(torch, content, ""))


def _tensors(torch, content, prefix):
  """(key, array) of every tensor in nested dicts and lists."""
  if isinstance(content, torch.Tensor):
    a = content.detach()
    yield prefix, (a.float() if a.dtype == torch.bfloat16 else a).contiguous().numpy()
  elif isinstance(content, (dict, list, tuple)):
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
      yield from _tensors(torch, value, f"{prefix}.{key}" if prefix else str(key))
