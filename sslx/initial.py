"""A run that starts from weights: every copy of the encoder in a method's first state, student's and teacher's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from sslx import checkpoint, errors


def start(method, train, variables, tower="image"):
  """A TrainState before its first step, in which whatever is a copy of the encoder holds `variables` in its place.

  Copies are told by their values, as a teacher starts from its student's, so that another network of the same shape, a
  frozen judge say, is left alone; statistics go with the parameters beside which they stand. Heads, queues and
  prototypes stay as they are. Raises errors.UsageError where the encoder is of another shape.
  """
  old = method.encoder(train.params, train.state)[tower]
  check(old, variables)
  place = lambda path: tuple(p for p in path if p not in ("stats", *old))     # of a network, whatever the collection
  first = {"params": train.params, "state": train.state}
  found = {place(path[1:]) for path, tree in parts(first) if alike(tree, old["params"]) and equal(tree, old["params"])}

  def filled(tree, path, collection):
    if not isinstance(tree, dict):
      return tree
    if place(path) in found and alike(tree, old[collection]):
      return jax.tree.map(lambda a, b: jnp.asarray(b, a.dtype), tree, variables[collection])
    return {k: filled(v, (*path, k), k if k in old else collection) for k, v in tree.items()}

  params, state = (filled(tree, (), "params") for tree in first.values())
  if not equal(method.encoder(params, state)[tower], variables):
    raise errors.UsageError("config.init: this method keeps its encoder where it cannot be found")
  return train.replace(params=params, state=state)


def places(method, rng, batch, tower="image"):
  """The paths of the encoder's parameters among those that the method trains."""
  params, state = jax.eval_shape(method.init, rng, batch)
  wanted = jax.eval_shape(method.encoder, params, state)[tower]["params"]
  return {path for path, tree in parts(params) if alike(tree, wanted)}


def still(method, rng, batch, tower="image", *, share):
  """`method` whose encoder's statistics, student's and teacher's, stay as they are in the first `share` of the run."""
  params, state = jax.eval_shape(method.init, rng, batch)
  wanted = [v for k, v in jax.eval_shape(method.encoder, params, state)[tower].items() if k != "params"]
  held = {path for path, tree in parts(state) if any(alike(tree, v) for v in wanted)}

  def loss(params, state, views, rng, progress):
    value, (new, metrics) = method.loss(params, state, views, rng, progress)

    def kept(path, old, new):
      keys = tuple(getattr(k, "key", None) for k in path)
      return jnp.where(progress < share, old, new) if any(keys[:len(p)] == p for p in held) else new
    return value, (jax.tree_util.tree_map_with_path(kept, state, new), metrics)
  return dataclasses.replace(method, loss=loss)


def parts(tree, path=()):
  """(path, dict) of a nested dict and of all dicts in it."""
  if isinstance(tree, dict):
    yield path, tree
    for key, value in tree.items():
      yield from parts(value, (*path, key))


def alike(a, b):
  """Whether two trees have the same names and shapes."""
  return (jax.tree.structure(a) == jax.tree.structure(b)
          and all(x.shape == y.shape for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)))


def equal(a, b):
  """Whether two trees that are alike hold the same numbers, in the type of the first."""
  return all(np.array_equal(x, np.asarray(y, x.dtype)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b),
                                                                       strict=True))


def check(old, variables):
  """A UsageError with the first differences where the variables are not those of the run's encoder."""
  a, b = ({k: list(np.shape(v)) for k, v in checkpoint.flat(tree).items()} for tree in (old, variables))
  apart = [f"{k} is {b.get(k, 'not there')}, not {a.get(k, 'known')}" for k in sorted(a | b) if a.get(k) != b.get(k)]
  if apart:
    raise errors.UsageError(f"config.init holds another encoder than config.encoder: {'; '.join(apart[:2])}"
                            + (f" and {len(apart) - 2} more" if len(apart) > 2 else ""))
