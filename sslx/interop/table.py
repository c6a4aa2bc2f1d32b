"""Tables between two flat dicts of arrays, ours and theirs. A row says which arrays of one side hold what those of the
other do, and how to turn them around; the same rows are read in both directions.

Our names are the paths in an encoder's variables, "params/stem_conv/kernel"; theirs those of a state dict.
"""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Row:
  """into: their arrays -> a tuple of ours; out: our arrays -> a tuple of theirs; exact inverses of each other.

  A row without ours says what a file must hold that we do not: into drops it; counter: the batch norm that it counts.
  """
  ours: tuple
  theirs: tuple
  into: Callable
  out: Callable
  counter: str = ""


def one(ours, theirs, into=lambda a: a, out=lambda a: a):
  """The row of one array on each side."""
  return Row((ours,), (theirs,), lambda a: (into(a),), lambda a: (out(a),))


def conv(ours, theirs, bias=False):
  """A convolution: kernel [h, w, in, out] and weight [out, in, h, w]."""
  yield one(f"params/{ours}/kernel", f"{theirs}.weight", lambda a: a.transpose(2, 3, 1, 0),
            lambda a: a.transpose(3, 2, 0, 1))
  if bias:
    yield one(f"params/{ours}/bias", f"{theirs}.bias")


def dense(ours, theirs, dot=".", pointwise=False):
  """A dense layer: kernel [in, out] and weight [out, in], or [out, in, 1, 1] of a pointwise convolution."""
  yield one(f"params/{ours}/kernel", f"{theirs}{dot}weight", lambda a: (a[:, :, 0, 0] if pointwise else a).T,
            lambda a: a.T[:, :, None, None] if pointwise else a.T)
  yield one(f"params/{ours}/bias", f"{theirs}{dot}bias")


def norm(ours, theirs):
  """A layer norm."""
  yield one(f"params/{ours}/scale", f"{theirs}.weight")
  yield one(f"params/{ours}/bias", f"{theirs}.bias")


def batch_norm(ours, theirs):
  """A batch norm; PyTorch's counts its batches, which changes nothing."""
  yield from norm(ours, theirs)
  yield one(f"batch_stats/{ours}/mean", f"{theirs}.running_mean")
  yield one(f"batch_stats/{ours}/var", f"{theirs}.running_var")
  yield Row((), (f"{theirs}.num_batches_tracked",), lambda a: (), lambda: (np.zeros((), np.int64),), ours)


def to_ours(rows, theirs):
  """{our name: array} of their flat dict, which holds all that the rows name but counters."""
  return {name: a for row in rows if row.ours
          for name, a in zip(row.ours, row.into(*(theirs[k] for k in row.theirs)), strict=True)}


def to_theirs(rows, ours):
  """{their name: array} of our flat dict."""
  return {name: a for row in rows
          for name, a in zip(row.theirs, row.out(*(ours[k] for k in row.ours)), strict=True)}
