"""How surprised a model of text is by text that was held out, every token of it counted (Shannon, 1951)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors


def surprisal(net, variables, ids, before, *, context, stride=0, batch_size=32):
  """-log2 of the probability of each token, given those before it: float64 [n], in bits.

  Their sum over the bytes of the text is its bits per byte; 2 to the power of their mean is the perplexity.

  Args:
    net, variables: a module of ids [B, context] -> logits [B, context, V] of the token after each.
    ids: [n], the text, without padding.
    before: [m], the text in front of it, at least one token; that much less is seen of where it is short.
    context: k, the most tokens that one is predicted from.
    stride: tokens that are counted of each piece of k: each of them sees from k - stride + 1 to k; 1 is exact and
      takes n passes, 0 is half of k.
  """
  ids, before = np.asarray(ids, np.int32), np.asarray(before, np.int32)
  stride = stride or max(1, context // 2)
  if not (len(before) and len(ids) and (ids > 0).all() and 1 <= stride <= context):
    raise errors.UsageError("surprisal needs text without padding, a token in front, a stride from 1 to the context; "
                            f"there are {len(ids)} tokens, {len(before)} in front, stride {stride} of {context}")
  text, n = np.concatenate([before[-context:], ids]), len(ids)
  ends = np.minimum(np.arange(stride, n + stride, stride), n) + len(text) - n           # the first token not counted
  counts = np.diff(ends, prepend=len(text) - n)
  firsts = np.maximum(ends - 1 - context, 0)
  out = []
  for some in np.array_split(np.arange(len(ends)), -(-len(ends) // batch_size)):
    x = np.zeros((batch_size, context + 1), np.int32)
    for row, i in zip(x, some, strict=False):
      row[:ends[i] - firsts[i]] = text[firsts[i]:ends[i]]
    found = np.asarray(_bits(net)(variables, x), np.float64)                            # [b, k]
    out += [found[row, last - counts[i]:last] for row, i in enumerate(some) for last in [ends[i] - firsts[i] - 1]]
  return np.concatenate(out)


@functools.lru_cache(maxsize=8)
def _bits(net):
  """The jitted bits of x[:, 1:] given what is before: [B, k + 1] -> [B, k]; the same object for equal modules."""
  @jax.jit
  def bits(variables, x):
    share = jax.nn.log_softmax(net.apply(variables, x[:, :-1]))
    return -jnp.take_along_axis(share, x[:, 1:, None], 2)[..., 0] / np.log(2)
  return bits
