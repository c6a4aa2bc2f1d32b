"""Tokens that are predicted: the cross-entropy of a vocabulary."""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.batch import agreed, wide


def cross_entropy(logits, token, weight, *, axis_name=None):
  """-log probability of each token (Bengio et al., "A Neural Probabilistic Language Model", 2003), a mean by weight.

  Args:
    logits: [..., V], unnormalised log probabilities.
    token: [...], whole numbers from 0 to V - 1: what came.
    weight: [...], not negative; where all are 0, so is the loss.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_shape([token, weight], logits.shape[:-1])
  logits, weight = wide(logits), wide(weight)
  own = jnp.take_along_axis(logits, token[..., None], -1)[..., 0]
  total = agreed(jnp.sum(weight * (jax.nn.logsumexp(logits, -1) - own)), axis_name)
  weights = agreed(jnp.sum(weight), axis_name)
  return total / jnp.where(weights > 0, weights, 1)
