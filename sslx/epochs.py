"""What happens between epochs, for methods that look at the whole training set there (Method.epoch)."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx import checkpoint, evaluate, mesh

ROWS = 4096            # images on the host at once


def length(source, batch_size):
  """Steps an epoch."""
  return max(1, len(source) // batch_size)


def features(encoder, source):
  """The representation [N, D] of every example, clean and in the source's order."""
  parts = np.array_split(np.arange(len(source)), -(-len(source) // ROWS))
  return np.concatenate([evaluate.embed(encoder, source.batch(part)[source.key]) for part in parts])


def between(method, tx, module, source, train, rng, where):
  """The train state with which the next epoch starts.

  method.epoch looks at the features of the whole set; the groups of parameters that it made anew start with a fresh
  optimizer state. The same on any number of devices and after resuming, as all follows from the state and `rng`.
  where: how the state lies on the mesh.
  """
  variables = method.encoder(train.params, train.state)[source.key]
  found = jnp.asarray(features(checkpoint.of(module, variables, source), source), float)
  train = mesh.whole(train)
  key = jax.random.fold_in(jax.random.fold_in(rng, 1), train.step)
  params, state, anew = method.epoch(train.params, train.state, key, found)
  like = lambda new, old: jnp.asarray(new, old.dtype)
  params, state = jax.tree.map(like, params, train.params), jax.tree.map(like, state, train.state)

  def chosen(path, new, old):
    return new if any(getattr(key, "key", None) in anew for key in path) else old

  opt = jax.tree_util.tree_map_with_path(chosen, tx.init(params), train.opt)
  return mesh.put(train.replace(params=params, state=state, opt=opt), where)
