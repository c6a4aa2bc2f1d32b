"""Contrastive losses."""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.collapse import unit


def ntxent(z1, z2, *, temperature=0.5, axis_name=None):
  """NT-Xent (Chen et al., 2020, eq. 1), the mean over all 2B anchors: each has 1 positive among 2B - 1 candidates.

  Args:
    z1, z2: [B, D], two views of the same examples; row i of one is the positive of row i of the other.
    temperature: of the cosine similarities.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  if z1.shape[0] * (1 if axis_name is None else jax.lax.psum(1, axis_name)) < 2:
    raise ValueError("ntxent needs at least two examples: with one there is no negative")
  z1, z2 = unit(z1), unit(z2)
  b, start, all1, all2 = z1.shape[0], 0, z1, z2
  if axis_name is not None:
    start = jax.lax.axis_index(axis_name) * b
    all1, all2 = (jax.lax.all_gather(z, axis_name, tiled=True) for z in (z1, z2))
  rows, columns = jnp.concatenate([z1, z2]), jnp.concatenate([all1, all2])              # [2b, D], [2B, D]
  logits = jnp.matmul(rows, columns.T, precision="highest") / temperature               # [2b, 2B]
  own = start + jnp.arange(b)
  itself = jnp.concatenate([own, own + len(all1)])                                      # [2b]
  logits = jnp.where(itself[:, None] == jnp.arange(len(columns)), -jnp.inf, logits)
  positive = jnp.tile(jnp.sum(z1 * z2, -1) / temperature, 2)
  loss = jnp.mean(jax.nn.logsumexp(logits, -1) - positive)
  return loss if axis_name is None else jax.lax.pmean(loss, axis_name)
