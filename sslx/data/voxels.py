"""Voxel grids in folders, of one shape, a .npy array [D, H, W] each; see layout.py for the folders.

Booleans, integers 0 and 1, uint8, or floats in [0, 1]; 0 where nothing is.
"""

import functools

from sslx import errors
from sslx.data import solid


def load(path, split, *, size=0, on_error="raise"):
  """The Source of grids {"voxels": [D, H, W, 1]} of one split, uint8 or float32; see solid.grid.

  Args:
    size: side that grids are brought to, by means over cubes; 0 keeps them.
    on_error: raise | skip: corrupt files are an error, or left out and counted.

  Raises errors.UsageError for folders without arrays, and for arrays that are no grids or of several shapes,
  errors.RunError for corrupt files.
  """
  if size < 0:
    raise errors.UsageError(f"data.size is {size}: give a side in voxels, or 0")
  return solid.load("voxels", path, split, functools.partial(solid.grid, side=size), mark=f"{size}", on_error=on_error)
