"""What methods of voxel grids and of point sets have in common: the kind of encoder, two views, their pictures."""

import dataclasses

from sslx import errors
from sslx.augment import space
from sslx.methods import clips, simclr

ENCODERS = {"voxels": ("voxel_resnet", "voxel_resnet8"), "points": ("pointnet", "pointnet")}      # file, an example
SIZE = 48                                                    # pixels of a picture


def needs(encoder, method, key):
  """A UsageError for one of our encoders that reads something else."""
  home, name = type(encoder).__module__, ENCODERS[key][1]
  if home.startswith("sslx.encoders.") and home != f"sslx.encoders.{ENCODERS[key][0]}":
    raise errors.UsageError(f"{method} reads {key}, and {type(encoder).__name__} does not: set the encoder's name to "
                            f"{name} or the like")


def contrast(encoder, key, aug, axis, **options):
  """SimCLR of two views by `aug` of each example of `key`, with its options; the report shows them rendered."""
  needs(encoder, key, key)
  inner = clips.reading(simclr.make(encoder, aug=aug, **options), key)

  def show(params, state, views):
    found = inner.show(params, state, views)
    return {k: pictures(key, x, axis) if k.startswith("view") else x for k, x in found.items()}
  return dataclasses.replace(inner, show=show)


def pictures(key, x, axis=2, size=SIZE):
  """Examples of `key` [B, ...] as pictures [B, S, S, 1]."""
  if key == "points":
    return space.render(x, size=size, axis=axis)
  places, there = space.places(x)
  return space.render(places, size=size, axis=axis, radius=2, there=there)


def axis_of(axis):
  """The axis that points up, by its number; a UsageError for what is none."""
  if axis not in (0, 1, 2):
    raise errors.UsageError(f"axis is {axis}: the one that points up is 0, 1 or 2")
  return axis
