"""kNN on frozen features: the weighted vote of the nearest training examples. Nothing is trained, nothing is tuned."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors
from sslx.evaluate import labels
from sslx.losses import collapse

VERSION = "knn-v1"
PAPER = "Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018"
K = 20
TEMPERATURE = 0.07
QUERIES, KEYS = 1024, 4096                                 # rows of a tile of test and of training features
FROZEN = {"version": VERSION, "paper": PAPER, "k": K, "temperature": TEMPERATURE}


def knn(train_x, train_y, test_x, test_y, *, k=K, temperature=TEMPERATURE):
  """Share of test_x [M, D] whose label wins the vote of the k nearest of train_x [N, D], each with exp(cosine / T).

  k is at most N. Among equally near examples the first in train_x is taken, among equal votes the lowest class.
  """
  if k < 1 or not temperature > 0:
    raise errors.UsageError(f"knn with k={k} and temperature={temperature}: k must be at least 1, temperature above 0")
  train_x, train_y, test_x, test_y = labels.check(train_x, train_y, test_x, test_y)
  classes, train_ids, test_ids = labels.encode(train_y, test_y)
  n, m, k = len(train_x), len(test_x), min(k, len(train_x))
  keys, queries = min(KEYS, n), min(QUERIES, m)
  train_x = jnp.asarray(padded(train_x, keys)).reshape(-1, keys, train_x.shape[1])
  train_ids = jnp.asarray(padded(train_ids, keys), jnp.int32)
  train_x = jax.jit(jax.vmap(collapse.unit))(train_x)      # [tiles, KEYS, D]
  test_x = padded(test_x, queries)
  votes = [vote(jnp.asarray(test_x[i:i + queries]), train_x, train_ids, n, temperature, k=k, classes=len(classes))
           for i in range(0, m, queries)]
  return float(np.mean(np.concatenate(votes)[:m] == test_ids))


@functools.partial(jax.jit, static_argnames=("k", "classes"))
def vote(test_x, train_x, train_ids, n, temperature, *, k, classes):
  """The class of each row of test_x [Q, D]; train_x [tiles, KEYS, D] of unit rows, of which the first n are real."""
  test_x = collapse.unit(test_x)
  keys = train_x.shape[1]

  def nearer(best, tile):
    x, start = tile
    index = start + jnp.arange(keys, dtype=jnp.int32)
    similarity = jnp.where(index < n, test_x @ x.T, -jnp.inf)                    # [Q, KEYS]
    values, i = jax.lax.top_k(similarity, min(k, keys))
    values = jnp.concatenate([best[0], values], 1)                               # what came first stays first in a tie
    values, j = jax.lax.top_k(values, k)
    return (values, jnp.take_along_axis(jnp.concatenate([best[1], index[i]], 1), j, 1)), None

  none = jnp.full((len(test_x), k), -jnp.inf, test_x.dtype), jnp.zeros((len(test_x), k), jnp.int32)
  starts = keys * jnp.arange(len(train_x), dtype=jnp.int32)
  (similarity, index), _ = jax.lax.scan(nearer, none, (train_x, starts))
  weight = jnp.exp((similarity - similarity[:, :1]) / temperature)               # [Q, k], the nearest has 1
  add = lambda w, c: jax.ops.segment_sum(w, c, classes)
  return jnp.argmax(jax.vmap(add)(weight, train_ids[index]), axis=1)


def padded(x, multiple):
  """x with rows of zeros at the end, up to a multiple of `multiple` rows."""
  return np.concatenate([x, np.zeros((-len(x) % multiple, *x.shape[1:]), x.dtype)])
