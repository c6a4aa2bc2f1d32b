"""Attention that equals JAX's own, in the form that compiles well on CPUs too."""

import jax
import jax.numpy as jnp


def attend(q, k, v):
  """jax.nn.dot_product_attention of q, k, v [B, T, heads, D]; on CPUs with the heads before the tokens."""
  return jax.lax.platform_dependent(q, k, v, cpu=heads_first, default=jax.nn.dot_product_attention)


def heads_first(q, k, v):
  """jax.nn.dot_product_attention, each array turned once, so that every product is one of plain matrices.

  The softmax of float64 is in float64, where JAX's own is in float32.
  """
  q, k, v = (jnp.swapaxes(a, 1, 2) for a in (q, k, v))                                   # [B, heads, T, D]
  scores = jnp.einsum("bhtd,bhsd->bhts", q, k, preferred_element_type=jnp.promote_types(q.dtype, jnp.float32))
  share = jax.nn.softmax(scores * q.shape[-1] ** -0.5).astype(v.dtype)
  return jnp.swapaxes(jnp.einsum("bhts,bhsd->bhtd", share, v), 1, 2)
