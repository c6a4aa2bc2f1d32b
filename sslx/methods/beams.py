"""Beam search: the likeliest sequence of tokens, as far as the best few beginnings of each length lead to it."""

import chex
import jax
import jax.numpy as jnp


def beam_search(scores, batch, length, *, width=5, power=0.0):
  """(ids int32 [B, T] of the best sequences found, 0 behind their end; their log-probabilities [B]).

  A sequence ends with a 0, or with the last place. Beginnings that have ended stay in the beam as they are. Of all
  whose token is the likeliest each time, as with width=1, the search is greedy; with V^T it is exhaustive.

  Args:
    scores: (ids [B, width, T], i) -> logits [B, width, V] of the token at place i, from those before it.
    batch, length: B and T.
    width: how many beginnings are kept.
    power: the best of the beam in the end is that with the largest log-probability / number of tokens^power, the end
      counted: 0 for the likeliest one, 1 for the mean (Wu et al., 2016, have a power, too); longer ones for more.
  """
  chex.assert_scalar_positive(width)
  chex.assert_scalar_positive(length)

  def one(i, carry):
    ids, total, count, ended = carry
    steps = jax.nn.log_softmax(scores(ids, i).astype(total.dtype))                      # [B, width, V]
    V = steps.shape[-1]
    stay = jnp.where(jnp.arange(V) == 0, 0.0, -jnp.inf)                                 # more zeros, for nothing
    steps = total[..., None] + jnp.where(ended[..., None], stay, steps)
    total, best = jax.lax.top_k(steps.reshape(batch, -1), width)                        # [B, width]
    row, token = best // V, (best % V).astype(ids.dtype)
    of = lambda x: jnp.take_along_axis(x, row.reshape(*row.shape, *(1,) * (x.ndim - 2)), 1)
    ids, count, ended = of(ids), of(count), of(ended)
    ids = jax.lax.dynamic_update_index_in_dim(ids, token, i, 2)
    return ids, total, count + ~ended, ended | (token == 0)

  wide = jnp.result_type(float)
  start = (jnp.zeros((batch, width, length), jnp.int32),
           jnp.broadcast_to(jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf).astype(wide), (batch, width)),
           jnp.zeros((batch, width), jnp.int32), jnp.zeros((batch, width), bool))
  ids, total, count, _ = jax.lax.fori_loop(0, length, one, start)
  best = jnp.argmax(total / jnp.maximum(count, 1).astype(wide) ** power, 1)[:, None]
  return jnp.take_along_axis(ids, best[..., None], 1)[:, 0], jnp.take_along_axis(total, best, 1)[:, 0]
