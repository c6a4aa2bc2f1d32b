"""The program that trains a run, or several at once: its step, the batches it takes, and where its state lies."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from sslx import cost, data as datasets, errors, mesh as meshes, optim
from sslx.step import dispatched, stepped

ROWS = 4096            # examples that are read at once to lie on the device


@dataclasses.dataclass(frozen=True)
class Program:
  """What the loop needs of a step. It takes config.dispatch batches, k of them, one after the other.

  step: (state, fixed, batches [k, ...]) -> (state, metrics [k, ...]), jitted; the state is donated
  fixed: its second argument, the same at every step
  batches: number of the first one -> an endless iterator of k batches on the mesh
  start: [the TrainState of a run before its first step] -> the state, laid out
  join: [the TrainState of a run, laid out as by itself] -> the state
  member: (state, i) -> the TrainState of run i, laid out as by itself
  each: what the host has of the metrics -> [that of a run, [k]]
  """
  step: Callable
  fixed: Any
  batches: Callable
  start: Callable
  join: Callable
  member: Callable
  each: Callable


def alone(ready, mesh, where):
  """The Program of one run; where: how its state lies on the mesh."""
  step = dispatched(one(ready), ready.config.dispatch, unrolled(ready))
  return Program(
      step=jax.jit(step, donate_argnums=0, out_shardings=(where, meshes.everywhere(mesh))),
      fixed={"key": ready.key, "data": resident(ready, mesh)},
      batches=lambda start: (meshes.place(found, mesh, 1) for found in several(ready, start)),
      start=lambda states: meshes.put(states[0], where), join=lambda states: states[0],
      member=lambda state, _: state, each=lambda metrics: [metrics])


def together(runs, mesh):
  """The Program of several runs that are alike, by vmap: they are the first axis of every array.

  Where their number divides over the devices, each device has runs of its own; else all devices share every batch.
  Runs of the same seed read the same batches.
  """
  first, spread = runs[0], mesh.size > 1 and len(runs) % mesh.size == 0
  c, lies = first.config, meshes.rows(mesh) if spread else meshes.everywhere(mesh)
  if c.data.device and any(r.source is not first.source for r in runs):
    raise errors.UsageError("data.device holds one data set, and here each seed draws its own: leave out data.device, "
                            "or data.limit and data.labels")
  where = jax.tree.map(lambda _: lies, first.state)
  peaks = [optim.peak(r.config.optim, c.batch_size) if r.rate else 0.0 for r in runs]
  fixed = jax.device_put({"key": jnp.stack([r.key for r in runs]), "peak": jnp.asarray(peaks, float)}, lies)
  alike = {"key": 0, "peak": 0, "data": None}               # the axis of the runs
  step = dispatched(jax.vmap(one(first), (0, alike, 0)), c.dispatch, unrolled(first))
  later = meshes.rows(mesh, 1) if spread else lies          # of what has the axis of the steps in front
  if spread:                                                # the devices need nothing of each other
    step = jax.shard_map(step, mesh=mesh, in_specs=(
        lies.spec, {k: PartitionSpec() if axis is None else lies.spec for k, axis in alike.items()}, later.spec),
        out_specs=(lies.spec, later.spec), check_vma=False)
  stacked = lambda trees, axis=0: jax.tree.map(lambda *x: np.stack([np.asarray(v) for v in x], axis), *trees)
  join = lambda states: meshes.put(stacked(states), where)

  def batches(start):
    seeds = {r.config.seed: r for r in runs}
    found = {seed: several(r, start, len(seeds)) for seed, r in seeds.items()}
    while True:
      now = {seed: next(ahead) for seed, ahead in found.items()}
      yield meshes.place(stacked([now[r.config.seed] for r in runs], 1), mesh, 1 if spread else 2)
  member = jax.jit(lambda state, i: jax.tree.map(lambda x: x[i], state), out_shardings=meshes.everywhere(mesh))
  return Program(
      step=jax.jit(step, donate_argnums=0, out_shardings=(where, later)),
      fixed={**fixed, "data": resident(first, mesh)}, batches=batches, start=join, join=join, member=member,
      each=lambda metrics: [jax.tree.map(lambda x: x[:, i], metrics) for i in range(len(runs))])


def one(ready):
  """The step (train, fixed, batch) -> (train, metrics) of a run.

  fixed: {"key", "data": {} or the arrays [N, ...] of all examples, of which a batch has the positions then, "peak": the
  peak learning rate where it is not the config's own}
  """
  c, method = ready.config, ready.method

  def step(train, fixed, batch):
    if fixed["data"]:
      rows = batch["index"]
      batch = {k: rows if k == "index" else fixed["data"][k][rows] for k in method.reads}
    return stepped(method, ready.optimizer(fixed.get("peak")), c.total_steps, c.slices)(train, fixed["key"], batch)
  return step


def several(ready, start, readers=1):
  """An endless iterator of as many host batches as a dispatch takes, [k, B, ...], from step `start` on."""
  found, k = ready.batches(start, readers), ready.config.dispatch
  while True:
    batches = list(itertools.islice(found, k))
    yield {key: np.stack([b[key] for b in batches]) for key in batches[0]}


def resident(ready, mesh):
  """The arrays that the method reads, [N, ...], whole on every device, or {} without data.device."""
  if not ready.config.data.device:
    return {}
  names = [k for k in ready.method.reads if k != "index"]
  size = sum(ready.first[k].nbytes for k in names) * len(ready.examples)
  room = (mesh.local_devices[0].memory_stats() or {}).get("bytes_limit")
  if room and size > room:
    raise errors.UsageError(f"data.device: the data are {size / 2**30:.1f} GiB, a device has {room / 2**30:.1f}")
  try:
    parts = list(datasets.parts(ready.examples, ROWS))
    arrays = {k: np.concatenate([p[k] for p in parts]) for k in names}
  except ValueError as e:                                   # of numpy, where shapes differ
    raise errors.UsageError(f"data.device needs examples of one shape: {errors.first_line(e)}") from e
  return jax.device_put(arrays, meshes.everywhere(mesh))


def unrolled(ready):
  """Whether the steps of a dispatch are not to be a loop."""
  return ready.config.dispatch > 1 and crawls(ready)


def crawls(ready):
  """Whether the network of a run is slow under vmap over its parameters, and its gradient in loops: one with
  convolutions on a CPU, where the first become grouped ones, and the second have no fast form."""
  if jax.default_backend() != "cpu":
    return False
  method, state, n = ready.method, ready.state, ready.config.batch_size
  kind = lambda x: jax.ShapeDtypeStruct((n, *x.shape[1:]), jnp.asarray(x).dtype)
  views = jax.eval_shape(method.views, ready.key, {k: kind(ready.first[k]) for k in method.reads})
  traced = jax.make_jaxpr(method.loss)(state.params, state.state, views, ready.key, 0.5)
  return "conv_general_dilated" in cost.primitives(traced)
