"""Encoders: Flax modules from an image in [0, 1] to its representation.

Every encoder has `module.apply(variables, x, train=False) -> [B, D]`, the pooled representation, and
`module.apply(variables, x, train=False, method="features") -> dict` with "pooled" [B, D], "grid" [B, h, w, D] (the
last spatial map), "stage1" .. "stageN" [B, h, w, Di] and, where there are any, "tokens" [B, T, D]. The normalisation
(`mean`, `std`) is the encoder's first operation, so that it can never be forgotten. A file holds one architecture: its
`VARIANTS` are the names, its `make(variant, *, options)` builds one.

Encoders of video (video_*.py) read clips [B, T, H, W, C]; their maps are [B, t, h, w, D], and "frames" [B, t, D] is one
vector a time. Those of voxels (voxel_*.py) read grids [B, D, H, W, C], with maps [B, d, h, w, D]; pointnet.py reads
points [B, M, 3] in the unit sphere, and its stages and tokens are [B, M, D], one vector a point; depth_resnet.py reads
depth maps [B, H, W, 1] in [0, 1].
"""

import importlib
import pkgutil

from sslx import options as _options

COMMON = ("mean", "std", "dtype")


def _factories():
  files = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
  return {name: (f.make, variant) for f in files for name, variant in getattr(f, "VARIANTS", {}).items()}


def names():
  """Every built-in encoder's name."""
  return sorted(_factories())


def _find(name):
  found = _factories()
  return found[name] if name in found else (_options.own("encoder", name, "make", found), ())


def options(name, **changed):
  """{"name": name, every option: its default}, with `changed` ones, ready to be put into a config."""
  return _options.filled("encoder", name, _find(name)[0], changed)


def shared(old, name):
  """The names of the options of `name` that mean the same for `old`: of two built-in architectures, the COMMON ones."""
  found = _factories()
  unlike = old in found and name in found and found[old][0] is not found[name][0]
  return [k for k in accepted(name) if k in COMMON or not unlike]


def accepted(name):
  """The names of the options of `name`."""
  return _options.accepted(_find(name)[0])


def make(name, **options):
  """The Flax module `name` with its options; a dotted name is the user's own `make(*, options)`.

  Raises errors.UsageError for an unknown name or option, naming the nearest valid ones.
  """
  factory, variant = _find(name)
  return _options.call("encoder", name, factory, *([variant] if variant != () else []), **options)
