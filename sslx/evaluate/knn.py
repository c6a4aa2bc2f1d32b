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
  similarity, index = nearest(test_x, train_x, k)
  weight = np.exp((similarity - similarity[:, :1]) / temperature)                # [M, k], the nearest has 1
  votes = np.zeros((len(test_x), len(classes)), weight.dtype)
  np.add.at(votes, (np.arange(len(test_x))[:, None], train_ids[index]), weight)
  return float(np.mean(np.argmax(votes, 1) == test_ids))


def nearest(x, bank, k):
  """The k rows of bank [N, D] of highest cosine with each row of x [M, D], exactly: (cosines [M, k], rows [M, k]).

  In falling order, the first in the bank among equals; k is at most N. On the device, a tile at a time: memory is that
  of the bank and of one tile of similarities, 1024 by 4096.
  """
  n, m, k = len(bank), len(x), min(k, len(bank))
  keys, queries = min(KEYS, n), min(QUERIES, m)
  tiles = jax.jit(jax.vmap(collapse.unit))(jnp.asarray(padded(bank, keys)).reshape(-1, keys, bank.shape[1]))
  x = padded(x, queries)
  found = [_nearest(jnp.asarray(x[i:i + queries]), tiles, n, k=k) for i in range(0, m, queries)]
  return tuple(np.concatenate(part)[:m] for part in zip(*found, strict=True))


@functools.partial(jax.jit, static_argnames="k")
def _nearest(x, tiles, n, *, k):
  """`nearest` of x [Q, D] among tiles [tiles, KEYS, D] of unit rows, of which the first n are real."""
  x = collapse.unit(x)
  keys = tiles.shape[1]

  def nearer(best, tile):
    rows, start = tile
    index = start + jnp.arange(keys, dtype=jnp.int32)
    similarity = jnp.where(index < n, x @ rows.T, -jnp.inf)                      # [Q, KEYS]
    values, i = jax.lax.top_k(similarity, min(k, keys))
    values = jnp.concatenate([best[0], values], 1)                               # what came first stays first in a tie
    values, j = jax.lax.top_k(values, k)
    return (values, jnp.take_along_axis(jnp.concatenate([best[1], index[i]], 1), j, 1)), None

  none = jnp.full((len(x), k), -jnp.inf, x.dtype), jnp.zeros((len(x), k), jnp.int32)
  return jax.lax.scan(nearer, none, (tiles, keys * jnp.arange(len(tiles), dtype=jnp.int32)))[0]


def padded(x, multiple):
  """x with rows of zeros at the end, up to a multiple of `multiple` rows."""
  return np.concatenate([x, np.zeros((-len(x) % multiple, *x.shape[1:]), x.dtype)])
