"""The program that trains a run: its jitted step, the batches it takes, and where its state lies."""

import dataclasses
from collections.abc import Callable
from typing import Any

from sslx import mesh as meshes
from sslx.step import make_step


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
      step=make_step(ready.method, ready.tx, ready.config.total_steps, where, ready.config.slices), fixed=ready.key,
      batches=lambda start: (meshes.place(batch, mesh) for batch in ready.batches(start)),
      start=lambda states: meshes.put(states[0], where), join=lambda states: states[0],
      member=lambda state, _: state, each=lambda metrics: [metrics])
