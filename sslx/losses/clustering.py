"""Clustering losses: views predict each other's assignment to prototypes."""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.batch import average, everywhere, wide


def sinkhorn(scores, *, epsilon=0.05, iterations=3, axis_name=None):
  """Balanced soft assignments (Caron et al., "... Contrasting Cluster Assignments" (SwAV), 2020, sec. 3.1): [N, K].

  Sinkhorn's iteration on exp(scores / epsilon), in logarithms: prototypes share the rows equally, each row sums to 1.
  They are targets: no gradient passes.

  Args:
    scores: [N, K], of each row and prototype.
    epsilon: the smaller, the harder the assignments.
    iterations: at least one.
    axis_name: mapped axis that the rows are spread over.
  """
  chex.assert_rank(scores, 2)
  if iterations < 1:
    raise ValueError(f"sinkhorn needs at least one iteration, not {iterations}")
  q = jax.lax.stop_gradient(everywhere(wide(scores), axis_name)) / epsilon
  q = jax.lax.fori_loop(0, iterations, lambda _, q: jax.nn.log_softmax(jax.nn.log_softmax(q, 0), 1), q)
  return own(jnp.exp(q), len(scores), axis_name)


def swav(scores, *, queue_scores=None, large=2, temperature=0.1, epsilon=0.05, iterations=3, axis_name=None):
  """SwAV (Caron et al., 2020, eq. 2): views predict the assignments of each of the `large` first.

  The cross-entropy, the mean over examples and over all pairs of a large view and another one.

  Args:
    scores: [V, B, K], of the views and prototypes, cosine similarities as a rule.
    queue_scores: [Q, K] or [large, Q, K], of earlier examples: they join Sinkhorn, never the cross-entropy. Whole on
      every device.
    large: views that assignments are computed of.
    temperature: of the predictions.
    epsilon, iterations: as sinkhorn's.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_rank(scores, 3)
  views, b, k = scores.shape
  if not 1 <= large <= views or views < 2:
    raise ValueError(f"swav needs at least two views and large from 1 to their number, not {views} and {large}")
  if queue_scores is not None:
    chex.assert_shape(queue_scores, (..., k))
    queue_scores = jnp.broadcast_to(wide(queue_scores), (large, *jnp.shape(queue_scores)[-2:]))
  scores = wide(scores)
  predicted = jax.nn.log_softmax(scores / temperature, -1)                              # [V, B, K]
  total = 0
  for i in range(large):
    every = everywhere(scores[i], axis_name)
    joined = every if queue_scores is None else jnp.concatenate([every, queue_scores[i]])
    q = own(sinkhorn(joined, epsilon=epsilon, iterations=iterations), b, axis_name)     # [B, K]
    total -= jnp.sum(q * (predicted.sum(0) - predicted[i]), -1)
  return average(total, axis_name) / (large * (views - 1))


def own(q, rows, axis_name):
  """The rows of this device among those of all (and others after them)."""
  return jax.lax.dynamic_slice_in_dim(q, 0 if axis_name is None else jax.lax.axis_index(axis_name) * rows, rows)
