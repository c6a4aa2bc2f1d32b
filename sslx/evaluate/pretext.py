"""The pretext task on images that were held out: a method's own metrics, and nothing is learnt from them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors, mesh
from sslx.evaluate.embed import placement


def pretext(method, params, state, source, *, examples=2048, batch_size=256, seed=0):
  """{"loss" and the method's other metrics: their mean over batches of a Source}, floats.

  At most `examples` of them, in whole batches over all local devices, with the same views for the same seed. The loss
  is as at the end of training: batch norm, where there is any, goes by the statistics of these batches. UsageError for
  a method whose task is about the training examples alone.
  """
  if "index" in method.reads:
    raise errors.UsageError("this method's task is about the training examples by their index: it has none held out")
  size = min(batch_size, examples, len(source))
  number = min(examples, len(source)) // size
  order = np.random.default_rng(seed).permutation(len(source))[:number * size]
  where, (params, state) = placement(size, (params, state))
  found = []
  for i, rows in enumerate(np.split(order, number)):
    batch = source.batch(np.sort(rows))
    batch = {k: mesh.put(batch[k], where) for k in method.reads}
    found.append(mesh.whole(_measured(method)(params, state, jax.random.fold_in(jax.random.key(seed), i), batch)))
  return {k: float(np.mean([f[k] for f in found])) for k in found[0]}


@functools.lru_cache(maxsize=8)
def _measured(method):
  """The jitted metrics of a method, the same object for the same one."""
  @jax.jit
  def measure(params, state, rng, batch):
    r_views, r_loss = jax.random.split(rng)
    loss, (_, metrics) = method.loss(params, state, method.views(r_views, batch), r_loss, jnp.ones(()))
    return {"loss": loss, **metrics}
  return measure
