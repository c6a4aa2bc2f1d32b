"""What methods that predict tokens have in common: scores of a vocabulary, text for the report."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors, tokens
from sslx.encoders.layers import Dense
from sslx.methods import base


class Scores(nn.Module):
  """An encoder of text and a score for each id of its vocabulary at each token: ids [B, T] -> [B, T, V].

  mask [B, T]: where it is True the encoder sees a learnt vector, "fill", which there is if `masks`. Scores are never
  below float32.
  """
  encoder: nn.Module
  masks: bool = False

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    wide, small = jnp.result_type(float), nn.initializers.normal(0.02)
    fill = self.param("fill", small, (self.encoder.width,), wide) if self.masks else None
    found = self.encoder.features(x, train, mask=mask, fill=fill)["tokens"][:, -x.shape[1]:]   # no class token
    found = found.astype(jnp.promote_types(found.dtype, jnp.float32))
    return Dense(self.encoder.vocab, param_dtype=wide, kernel_init=small, name="scores")(found)


def coder(encoder, method, tokenizer):
  """The Coder of `tokenizer`, or a UsageError where the encoder reads no text, or has another vocabulary."""
  if not hasattr(encoder, "vocab"):
    raise errors.UsageError(f"{method} reads text, and {type(encoder).__name__} does not: set encoder.name to a text "
                            "encoder, such as text_ti")
  found = tokens.coder(tokenizer)
  if found.vocab != encoder.vocab:
    raise errors.UsageError(f"the encoder has {encoder.vocab} ids and the tokenizer {tokenizer} {found.vocab}: set "
                            f"encoder.vocab={found.vocab}")
  return found


def share(right, weight):
  """The mean of booleans by weight, without gradient."""
  return jnp.sum(right * weight) / jnp.maximum(jnp.sum(weight), 1)


def lines(coder, ids, gone=None):
  """base.Text of ids [B, T]; where gone [B, T] is True a line has "_" for each token."""
  gone = np.zeros(ids.shape, bool) if gone is None else np.asarray(gone)
  pieces = [np.split(np.arange(len(g)), np.flatnonzero(np.diff(g)) + 1) for g in gone]
  return base.Text(["".join("_" * len(p) if g[p[0]] else coder.decode(row[p]) for p in own)
                    for row, g, own in zip(np.asarray(ids), gone, pieces, strict=True)])


def nucleus(logits, top_p):
  """Logits [..., V] of which only the likeliest stay, the fewest with a probability of `top_p` together, at least one.

  Holtzman et al., 2020; the others become -infinity.
  """
  order = jnp.flip(jnp.sort(logits, -1), -1)
  before = jnp.cumsum(jax.nn.softmax(order), -1) - jax.nn.softmax(order)                # of all that are likelier
  least = jnp.min(jnp.where(before < top_p, order, jnp.inf), -1, keepdims=True)
  return jnp.where(logits >= least, logits, -jnp.inf)


def continued(scores, key, ids, *, number, context, temperature=1.0, top_p=1.0):
  """ids [B, T] and `number` tokens after them, each drawn from the last `context`: [B, T + number].

  scores: ids [B, context] -> logits [B, context, V] of what comes after each token. ids: without padding.
  temperature: that logits are divided by; 0 takes the likeliest. top_p: of `nucleus`.
  """
  B, T = ids.shape
  whole = jnp.pad(ids, ((0, 0), (0, max(number, context - T))))

  def one(i, whole):
    first = jnp.maximum(i - context, 0)
    seen = jax.lax.dynamic_slice_in_dim(whole, first, context, 1)                       # 0 from i on
    logits = jax.lax.dynamic_index_in_dim(scores(seen), i - first - 1, 1, keepdims=False)
    logits = logits.at[:, 0].set(-jnp.inf)                                              # padding
    drawn = jax.random.categorical(jax.random.fold_in(key, i), nucleus(logits / (temperature or 1), top_p))
    new = drawn if temperature else jnp.argmax(logits, -1)
    return jax.lax.dynamic_update_index_in_dim(whole, new.astype(whole.dtype), i, 1)
  return jax.lax.fori_loop(T, T + number, one, whole)[:, :T + number]
