"""The program that trains a run, or several at once: its step, the batches it takes, and where its state lies."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx import mesh as meshes, optim
from sslx.step import make_step, make_steps


@dataclasses.dataclass(frozen=True)
class Program:
  """What the loop needs of a step.

  step: (state, fixed, batch) -> (state, metrics), jitted; the state is donated
  fixed: its second argument, the same at every step
  batches: number of the first one -> an endless iterator of batches on the mesh
  start: [the TrainState of a run before its first step] -> the state, laid out
  join: [the TrainState of a run, laid out as by itself] -> the state
  member: (state, i) -> the TrainState of run i, laid out as by itself
  each: what the host has of the metrics -> [that of a run]
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
  return Program(
      step=make_step(ready.method, ready.optimizer(), ready.config.total_steps, where, ready.config.slices), fixed=ready.key,
      batches=lambda start: (meshes.place(batch, mesh) for batch in ready.batches(start)),
      start=lambda states: meshes.put(states[0], where), join=lambda states: states[0],
      member=lambda state, _: state, each=lambda metrics: [metrics])


def together(runs, mesh):
  """The Program of several runs that are alike, by vmap: they are the first axis of every array.

  Where their number divides over the devices, each device has runs of its own; else all devices share every batch.
  Runs of the same seed read the same batches.
  """
  first, spread = runs[0], len(runs) % mesh.size == 0
  c, lies = first.config, meshes.rows(mesh) if spread else meshes.everywhere(mesh)
  where = jax.tree.map(lambda _: lies, first.state)
  peaks = [optim.peak(r.config.optim, c.batch_size) if r.rate else 0.0 for r in runs]
  fixed = {"key": jnp.stack([r.key for r in runs]), "peak": jnp.asarray(peaks, float)}
  stacked = lambda trees: jax.tree.map(lambda *x: np.stack([np.asarray(v) for v in x]), *trees)
  join = lambda states: meshes.put(stacked(states), where)

  def batches(start):
    seeds = {r.config.seed: r for r in runs}
    found = {seed: r.batches(start, len(seeds)) for seed, r in seeds.items()}
    while True:
      now = {seed: next(ahead) for seed, ahead in found.items()}
      yield jax.device_put(stacked([now[r.config.seed] for r in runs]), meshes.rows(mesh, 0 if spread else 1))
  member = jax.jit(lambda state, i: jax.tree.map(lambda x: x[i], state), out_shardings=meshes.everywhere(mesh))
  return Program(
      step=make_steps(first.method, first.optimizer, c.total_steps, where, c.slices), fixed=jax.device_put(fixed, lies),
      batches=batches, start=join, join=join, member=member,
      each=lambda metrics: [jax.tree.map(lambda x: x[i], metrics) for i in range(len(runs))])
