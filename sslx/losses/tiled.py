"""Sums over all candidates of every row: the one kernel of the contrastive losses, in memory linear in the batch.

Columns go by in tiles: each row keeps a running sum, and the gradient computes the tiles once more in place of storing
them. A tile takes every k-th column. So where the batch is sharded (jit over a mesh) each device holds an equal part of
every tile and of its gradient; rows stay where they are, and one tile at a time is gathered.
"""

import functools

import jax
import jax.numpy as jnp

from sslx.losses.batch import times

DENSE = 2**20                                              # the entries of a matrix that is not cut
TILE = 2**22                                               # the most entries a tile,
NARROW = 128                                               # but it may have so many columns


def logsumexp(rows, columns, row_ids=None, column_ids=None, *, chunk=None):
  """log of the sum of exp(row . column) over the columns of [C, D], for each row of [R, D]: [R].

  Args:
    rows, columns: [R, D] and [C, D].
    row_ids, column_ids: [R] and [C], whole numbers from 0; a column is no candidate of the rows that have its id.
    chunk: the most columns a tile; None chooses.
  """
  return over_columns("logsumexp", rows, columns, row_ids, column_ids, chunk)


def softplus(rows, columns, row_ids=None, column_ids=None, *, chunk=None):
  """The sum of log(1 + exp(row . column)) over the columns, for each row: [R]. Arguments as logsumexp's."""
  return over_columns("softplus", rows, columns, row_ids, column_ids, chunk)


def over_columns(kind, rows, columns, row_ids, column_ids, chunk):
  row_ids = jnp.full(len(rows), -1) if row_ids is None else row_ids
  column_ids = jnp.arange(len(columns)) if column_ids is None else column_ids
  if chunk is None and len(rows) * len(columns) <= DENSE:
    a = logits(rows, columns, row_ids, column_ids)
    return jax.nn.logsumexp(a, 1) if kind == "logsumexp" else jax.nn.softplus(a).sum(1)
  zero = jax.lax.stop_gradient(0 * (rows[0, 0] + columns[0, 0]))     # both vary over the same axes, and so do gradients
  k = count(len(rows), len(columns), chunk)
  return streamed(kind, rows + zero, row_ids, *tiles(k, columns + zero, column_ids))


def count(rows, columns, chunk):
  """The number of tiles of at most `chunk` columns: if possible one that divides them, so that nothing is padded."""
  if chunk is not None and chunk < 1:
    raise ValueError(f"chunk is {chunk}: give the most candidates a tile, at least 1, or None")
  least = -(-columns // (chunk or max(NARROW, TILE // rows)))
  return next((k for k in range(least, 2 * least) if columns % k == 0), least)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def streamed(kind, rows, row_ids, columns, ids):
  """The log-sum-exp, or the sum of softplus, of rows [R, D] over tiles of columns [k, T, D] with ids [k, T]: [R]."""
  return forward(kind, rows, row_ids, columns, ids)[0]


def forward(kind, rows, row_ids, columns, ids):
  def step(carry, tile):
    a = logits(rows, tile[0], row_ids, tile[1])                                         # [R, T]
    if kind == "softplus":
      return carry + jax.nn.softplus(a).sum(1), None
    top, total = carry
    new = jnp.maximum(top, a.max(1))
    base = finite(new)
    return (new, total * jnp.exp(top - base) + jnp.exp(a - base[:, None]).sum(1)), None

  zero = jnp.zeros_like(rows[:, 0])
  out, _ = jax.lax.scan(step, zero if kind == "softplus" else (zero - jnp.inf, zero), (columns, ids))
  if kind == "logsumexp":
    out = finite(out[0]) + jnp.log(out[1])
  return out, (rows, row_ids, columns, ids, out)


def backward(kind, saved, g):
  rows, row_ids, columns, ids, out = saved

  def step(d_rows, tile):
    a = logits(rows, tile[0], row_ids, tile[1])
    d = g[:, None] * (jnp.exp(a - finite(out)[:, None]) if kind == "logsumexp" else jax.nn.sigmoid(a))    # [R, T]
    return d_rows + times(d, tile[0]), times(d.T, rows)

  d_rows, d_columns = jax.lax.scan(step, jnp.zeros_like(rows), (columns, ids))
  return d_rows, None, d_columns, None


streamed.defvjp(forward, backward)


def tiles(k, columns, ids):
  """(columns [k, T, D], ids [k, T]): tile i takes the columns i, i + k, ...; it is filled up with columns of id -1."""
  pad = -len(columns) % k
  columns, ids = jnp.pad(columns, ((0, pad), (0, 0))), jnp.pad(ids, (0, pad), constant_values=-1)
  return columns.reshape(-1, k, columns.shape[1]).swapaxes(0, 1), ids.reshape(-1, k).T


def logits(rows, columns, row_ids, ids):
  """row . column, -inf where the column is no candidate: [R, T]."""
  return jnp.where((row_ids[:, None] != ids) & (ids >= 0), times(rows, columns.T), -jnp.inf)


def finite(x):
  """x, 0 where it is -inf: of a row without candidates."""
  return jnp.where(x > -jnp.inf, x, 0)
