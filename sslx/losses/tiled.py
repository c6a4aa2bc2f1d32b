"""Sums over all candidates of every row: the one kernel of the contrastive losses."""

import jax
import jax.numpy as jnp

from sslx.losses.batch import times


def logsumexp(rows, columns, row_ids=None, column_ids=None, *, chunk=None):
  """log of the sum of exp(row . column) over the columns of [C, D], for each row of [R, D]: [R].

  A column is no candidate of the rows that have its id: row_ids [R], column_ids [C].
  """
  allowed = None if row_ids is None else row_ids[:, None] != column_ids                 # [R, C]
  return jax.nn.logsumexp(times(rows, columns.T), -1, where=allowed)


def softplus(rows, columns, offset, row_ids, column_ids, *, chunk=None):
  """The sum of log(1 + exp(row . column + offset)) over the columns of [C, D] with another id, for each row: [R]."""
  allowed = row_ids[:, None] != column_ids                                              # [R, C]
  return jnp.sum(jax.nn.softplus(times(rows, columns.T) + offset), -1, where=allowed)
