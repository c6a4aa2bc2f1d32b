"""Masks over text: which tokens of ids [B, T] are hidden. 0 is padding, which never is.

`key` first, ids next, options keyword-only; each draw depends on the key and the position in the batch alone.
"""

import jax
import jax.numpy as jnp


def words(ids, starts):
  """The place of the first token of each token's word: [B, T]; starts: bool [V], the ids that words begin with."""
  return _first_of(jnp.asarray(starts)[ids])


def _first_of(begins):
  """For begins [B, T], True where a group of tokens does, the place of the first token of each one's group: [B, T]."""
  return jax.lax.cummax(jnp.where(begins, jnp.arange(begins.shape[1]), 0), 1)


def counted(ids, ratio):
  """How many of the tokens in each row are hidden: this share of those that are no padding, and at least one: [B]."""
  return jnp.maximum(jnp.round(ratio * jnp.sum(ids != 0, 1)).astype(jnp.int32), 1)


def random_order(key, ids, *, first=None):
  """The turn in which each token would be hidden, from 0 on: [B, T], padding after all others.

  first: [B, T], the place of the first token of each one's group, whose turn it then has: groups go together.
  """
  own = lambda x: x if first is None else jnp.take_along_axis(x, first, 1)
  drawn = own(jax.random.uniform(key, ids.shape))
  return own(jnp.argsort(jnp.argsort(jnp.where(ids == 0, 2, drawn), 1), 1))


def random_tokens(key, ids, *, vocab, ratio=0.15, masked=0.8, replaced=0.1, starts=None):
  """BERT (Devlin et al., 2019): (ids, masked [B, T], hidden [B, T]): what is to be predicted, and what is seen there.

  Args:
    vocab: number of ids; random ones are above 0.
    ratio: share of each row's tokens that is hidden, to the nearest whole number, and at least one; of whole words
      so many tokens that the last word is whole.
    masked, replaced: shares of the hidden tokens that are True in `masked`, and that are random ids; the rest stay.
    starts: the ids that words begin with, bool [V]: whole words are hidden; None: tokens.
  """
  k_order, k_tokens = jax.random.split(key)
  first = None if starts is None else words(ids, starts)
  turn, count = random_order(k_order, ids, first=first), counted(ids, ratio)[:, None]
  to = lambda share: turn < jnp.round(share * count)
  hidden = (turn < count) & (ids != 0)
  gone = to(masked) & hidden
  drawn = jax.random.randint(k_tokens, ids.shape, 1, vocab, ids.dtype)
  return jnp.where(hidden & ~gone & to(masked + replaced), drawn, ids), gone, hidden


def random_spans(key, ids, *, ratio=0.3, length=5):
  """Pieces of `length` tokens are hidden, [B, T], until this share of each row is (Joshi et al., 2020, SpanBERT).

  Pieces lie at multiples of `length` from a random place on; the last that is hidden is whole, the first and last of
  the text may be cut.
  """
  k_shift, k_order = jax.random.split(key)
  shift = jax.random.randint(k_shift, (len(ids), 1), 0, length)
  turn = random_order(k_order, ids, first=_first_of((jnp.arange(ids.shape[1]) + shift) % length == 0))
  return (turn < counted(ids, ratio)[:, None]) & (ids != 0)
