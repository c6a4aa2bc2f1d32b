"""The devices of a run, on one machine or many: who shares the batch, and who holds which part of the state.

A mesh has two axes. The batch is spread over both, "data" first; large arrays of the train state are split over "fsdp"
(ZeRO-3: Rajbhandari et al., 2020) and whole along "data". The step is written for the global arrays, so the numbers do
not depend on either.
"""

import re

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sslx import errors

AXES = ("data", "fsdp")


def make_mesh(config):
  """The Mesh of config.mesh; UsageError where devices are too few, or the batch does not divide over them.

  mesh.data=-1 takes all; of a CPU's simulated ones, as many as the batch divides over.
  Devices of a process lie side by side, so that its share of a batch is one stretch of rows.
  """
  have, wanted, fsdp = jax.device_count(), config.mesh.data, config.mesh.fsdp
  if wanted == -1 and fsdp > 0 and config.slices > 0 and jax.default_backend() == "cpu" and jax.process_count() == 1:
    wanted = max((n for n in range(1, have // fsdp + 1) if config.batch_size % (n * fsdp * config.slices) == 0),
                 default=-1)
  if fsdp < 1 or wanted < -1 or not 1 <= (n := (have // fsdp if wanted == -1 else wanted) * fsdp) <= have:
    raise errors.UsageError(f"mesh.data is {wanted} and mesh.fsdp {fsdp}, and there are {have} devices: both are at "
                            f"least 1, their product at most {have}; data=-1 takes all that fsdp leaves")
  if jax.process_count() > 1 and n < have:
    raise errors.UsageError(f"mesh.data x mesh.fsdp are {n} of {have} devices: several processes use all they have")
  if config.slices < 1 or config.batch_size % (n * config.slices):
    raise errors.UsageError(f"batch_size {config.batch_size} does not divide over {n} devices"
                            + (f" in slices={config.slices}" if config.slices != 1 else "")
                            + ": change it, or mesh.data" + (", or slices" if config.slices != 1 else ""))
  if config.mesh.least < 1:
    raise errors.UsageError(f"mesh.least is {config.mesh.least}: an array has at least 1 element")
  for pattern in config.mesh.whole:
    try:
      re.compile(pattern)
    except re.error as e:
      raise errors.UsageError(f"mesh.whole holds {pattern!r}, which is no regular expression: {e}") from e
  return arranged(ordered()[:n], fsdp)


def ordered():
  """All devices, those of a process side by side."""
  return sorted(jax.devices(), key=lambda d: (d.process_index, d.id))


def arranged(devices, fsdp=1):
  """A Mesh of `devices` in their order, every `fsdp` neighbours holding the state together."""
  return Mesh(np.array(devices).reshape(-1, fsdp), AXES, axis_types=(AxisType.Auto,) * 2)


def rows(mesh, axis=0):
  """Where a batch lies: its first axis, or another one, over all devices."""
  return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXES))


def everywhere(mesh):
  """Where an array lies that every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def shardings(tree, mesh, *, least=2**14, whole=()):
  """Where each array of a train state lives: the same structure, of NamedShardings.

  Split over "fsdp" along its longest axis that divides (the last of equals) is an array of at least `least` elements,
  unless one of the regular expressions `whole` is found in its path, as in ".params['net']['encoder']['conv1']".
  Optimizer moments, EMA targets and queues are arrays of the state like any other.
  """
  parts = mesh.shape["fsdp"]

  def one(path, x):
    fits = [i for i, n in enumerate(x.shape) if n % parts == 0]
    name = jax.tree_util.keystr(path)
    if parts == 1 or x.size < least or not fits or any(re.search(p, name) for p in whole):
      return everywhere(mesh)
    axis = max(fits, key=lambda i: (x.shape[i], i))
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))
  return jax.tree_util.tree_map_with_path(one, tree)


def of(config, tree, mesh):
  """`shardings` by the rules of config.mesh."""
  return shardings(tree, mesh, least=config.mesh.least, whole=config.mesh.whole)


def share(tree, where):
  """Bytes of `tree` that one device holds under the shardings `where`."""
  one = lambda x, s: int(np.prod(s.shard_shape(x.shape), dtype=np.int64)) * x.dtype.itemsize
  return sum(jax.tree.leaves(jax.tree.map(one, tree, where)))


def put(tree, where):
  """Arrays, the same in every process or already on a mesh, laid out as the shardings `where` say; always copies."""
  def one(x, s):
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
      return jax.jit(lambda y: y, out_shardings=s)(x)
    if s.is_fully_addressable:
      return jax.device_put(x, s, may_alias=False)
    return jax.make_array_from_callback(np.shape(x), s, lambda index: np.array(np.asarray(x)[index]))
  return jax.tree.map(one, tree, where)


def place(batch, mesh, axis=0):
  """A host batch, this process's share, onto the mesh; axis: that of the examples."""
  return {k: jax.make_array_from_process_local_data(rows(mesh, axis), v) for k, v in batch.items()}


def whole(tree):
  """Arrays as numpy, wherever they lie; every process must ask."""
  near = all(x.is_fully_addressable or x.is_fully_replicated for x in jax.tree.leaves(tree) if isinstance(x, jax.Array))
  return jax.device_get(tree) if near else multihost_utils.process_allgather(tree, tiled=True)
