"""Attention that equals JAX's own, in the form that compiles well on CPUs too."""

import jax
import jax.numpy as jnp


def attend(q, k, v, mask=None):
  """jax.nn.dot_product_attention of q, k, v [B, T, heads, D]; on CPUs with the heads before the tokens.

  mask: [1 or B, 1 or T, T], True where a query (second axis) sees a key (third); None: every one sees all.
  """
  if mask is None:
    return jax.lax.platform_dependent(q, k, v, cpu=heads_first, default=jax.nn.dot_product_attention)
  plain = lambda q, k, v, mask: jax.nn.dot_product_attention(q, k, v, mask=mask[:, None])
  return jax.lax.platform_dependent(q, k, v, mask, cpu=heads_first, default=plain)


def heads_first(q, k, v, mask=None):
  """jax.nn.dot_product_attention, each array turned once, so that every product is one of plain matrices.

  The softmax of float64 is in float64, where JAX's own is in float32.
  """
  q, k, v = (jnp.swapaxes(a, 1, 2) for a in (q, k, v))                                   # [B, heads, T, D]
  scores = jnp.einsum("bhtd,bhsd->bhts", q, k, preferred_element_type=jnp.promote_types(q.dtype, jnp.float32))
  scores = scores * q.shape[-1] ** -0.5
  scores = scores if mask is None else jnp.where(mask[:, None], scores, 0.7 * jnp.finfo(scores.dtype).min)
  share = jax.nn.softmax(scores).astype(v.dtype)
  return jnp.swapaxes(jnp.einsum("bhts,bhsd->bhtd", share, v), 1, 2)
