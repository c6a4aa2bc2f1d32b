"""The training step that all methods share, and the state it carries on."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from sslx import mesh
from sslx.methods import base


@flax.struct.dataclass
class TrainState:
  """All that a run carries from step to step, and all that a checkpoint holds."""
  step: Any       # number of steps done, int32
  params: Any     # what the optimizer moves, by named groups
  state: Any      # everything else that lives on
  opt: Any        # the optimizer's own


def stepped(method, tx, total_steps, slices=1):
  """The step (train, rng, batch) -> (train, metrics) as a pure function; see `make_step`."""
  def step(train, rng, batch):
    rng_views, rng_loss = jax.random.split(jax.random.fold_in(rng, train.step))
    views = method.views(rng_views, batch)
    with base.sliced(slices):
      (loss, (state, metrics)), grads = jax.value_and_grad(method.loss, has_aux=True)(
          train.params, train.state, views, rng_loss, train.step / total_steps)
    updates, opt = tx.update(grads, train.opt, train.params)
    params = optax.apply_updates(train.params, updates)
    metrics = {"loss": loss, "grad_norm": optax.tree.norm({k: g for k, g in grads.items() if k != "probe"}), **metrics,
               "param_norm": optax.tree.norm(params)}
    return TrainState(step=train.step + 1, params=params, state=state, opt=opt), metrics

  return step


def make_step(method, tx, total_steps, where=None, slices=1):
  """The jitted step (train, rng, batch) -> (train, metrics), written for the global batch; `train` is donated.

  batch: the arrays that method.reads names, images as integers or floats in [0, 1], spread over a mesh if there is
  one; rng: the run's key, the same at every step; metrics: "loss", "grad_norm", "param_norm" and the method's own.
  where: how the state lies on the mesh, a TrainState of shardings (mesh.shardings), which it keeps.
  slices: in how many the batch goes through the networks, see base.forward.
  """
  out = where and (where, mesh.everywhere(where.step.mesh))
  return jax.jit(stepped(method, tx, total_steps, slices), donate_argnums=0, out_shardings=out)


def dispatched(step, number, unroll=False):
  """A step for `number` batches: (train, fixed, batches [number, ...]) -> (train, metrics [number]).

  step: (train, fixed, batch) -> (train, metrics). unroll: a copy of it for each batch, not a loop; it takes as many
  times longer to compile.
  """
  def steps(train, fixed, batches):
    if number > 1 and not unroll:
      return jax.lax.scan(lambda train, batch: step(train, fixed, batch), train, batches)
    found = []
    for i in range(number):
      train, metrics = step(train, fixed, jax.tree.map(lambda x: x[i], batches))
      found.append(metrics)
    return train, jax.tree.map(lambda *x: jnp.stack(x), *found)
  return steps


def init_state(method, tx, rng, batch):
  """The TrainState before the first step; the same on any number of devices."""
  params, state = method.init(rng, batch)
  return TrainState(step=jnp.zeros((), jnp.int32), params=params, state=state, opt=tx.init(params))
