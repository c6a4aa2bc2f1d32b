"""kNN on frozen features: the weighted vote of the nearest training examples. Nothing is trained, nothing is tuned."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from sslx import errors, mesh
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

  In falling order, the first in the bank among equals; k is at most N. A tile at a time, the tiles spread over all
  devices: their memory is that of the bank together, and of one tile of similarities each, 1024 by 4096.
  """
  n, m, k = len(bank), len(x), min(k, len(bank))
  keys, queries = min(KEYS, n), min(QUERIES, m)
  tiles = padded(bank, keys).reshape(-1, keys, bank.shape[1])
  over = spread(len(tiles))
  tiles = mesh.put(padded(tiles, over.size), mesh.rows(over))
  x, search = padded(x, queries), _searcher(over, n, k)
  found = [search(mesh.put(x[i:i + queries], mesh.everywhere(over)), tiles) for i in range(0, m, queries)]
  return tuple(np.concatenate(part)[:m] for part in zip(*jax.device_get(found), strict=True))


def spread(tiles):
  """The mesh that tiles of a bank lie on: as many devices as there are tiles; of several processes all."""
  return mesh.arranged(mesh.ordered() if jax.process_count() > 1 else mesh.ordered()[:tiles])


@functools.lru_cache(maxsize=8)
def _searcher(over, n, k):
  """The jitted `nearest` of x [Q, D] among tiles [tiles, KEYS, D] on the mesh `over`, of which n rows are real."""
  def search(x, tiles):                                                          # tiles of this device
    x, keys = collapse.unit(x), tiles.shape[1]
    first = jax.lax.axis_index(mesh.AXES) * len(tiles)

    def nearer(best, tile):
      rows, number = tile
      index = number * keys + jnp.arange(keys, dtype=jnp.int32)
      similarity = jnp.where(index < n, x @ collapse.unit(rows).T, -jnp.inf)     # [Q, KEYS]
      values, i = jax.lax.top_k(similarity, min(k, keys))
      return highest(jnp.concatenate([best[0], values], 1), jnp.concatenate([best[1], index[i]], 1)), None

    def highest(values, index):                                                  # what came first stays first in a tie
      values, j = jax.lax.top_k(values, k)
      return values, jnp.take_along_axis(index, j, 1)

    none = jnp.full((len(x), k), -jnp.inf, x.dtype), jnp.zeros((len(x), k), jnp.int32)
    found = jax.lax.scan(nearer, none, (tiles, first + jnp.arange(len(tiles), dtype=jnp.int32)))[0]
    return highest(*(jax.lax.all_gather(v, mesh.AXES, axis=1, tiled=True) for v in found))

  whole, rows = PartitionSpec(), PartitionSpec(mesh.AXES)
  return jax.jit(jax.shard_map(search, mesh=over, in_specs=(whole, rows), out_specs=whole, check_vma=False))


def padded(x, multiple):
  """x with rows of zeros at the end, up to a multiple of `multiple` rows."""
  return np.concatenate([x, np.zeros((-len(x) % multiple, *x.shape[1:]), x.dtype)])
