"""Layers that equal Flax's and JAX's own, in the forms that compile well on CPUs too."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dense(nn.Dense):
  """nn.Dense with all axes of x [..., D] but the last in one: on CPUs the kernel's gradient is then a product of two
  matrices, where XLA first copies a stack of them into another order."""

  def __call__(self, x):
    return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.features)


def gelu(x):
  """x times the normal distribution function of x (Hendrycks & Gimpel, 2016), exact.

  By erf, which is one pass over x where JAX's erfc is three on CPUs. Types below float32 keep erfc: their 1 + erf(x) is
  all rounding for x well below 0.
  """
  if jnp.finfo(x.dtype).bits < 32:
    return nn.gelu(x, approximate=False)
  return x * (1 + jax.lax.erf(x * 0.5 ** 0.5)) / 2


def attention(q, k, v, mask=None):
  """jax.nn.dot_product_attention of q, k, v [B, T, heads, D]; on CPUs with the heads before the tokens.

  mask: [1 or B, 1 or T, T], True where a query (second axis) sees a key (third); None: every one sees all.
  """
  if mask is None:
    return jax.lax.platform_dependent(q, k, v, cpu=_heads_first, default=jax.nn.dot_product_attention)
  plain = lambda q, k, v, mask: jax.nn.dot_product_attention(q, k, v, mask=mask[:, None])
  return jax.lax.platform_dependent(q, k, v, mask, cpu=_heads_first, default=plain)


def _heads_first(q, k, v, mask=None):
  """jax.nn.dot_product_attention, each array turned once, so that every product is one of plain matrices.

  The softmax of float64 is in float64, where JAX's own is in float32.
  """
  q, k, v = (jnp.swapaxes(a, 1, 2) for a in (q, k, v))                                   # [B, heads, T, D]
  scores = jnp.einsum("bhtd,bhsd->bhts", q, k, preferred_element_type=jnp.promote_types(q.dtype, jnp.float32))
  scores = scores * q.shape[-1] ** -0.5
  scores = scores if mask is None else jnp.where(mask[:, None], scores, 0.7 * jnp.finfo(scores.dtype).min)
  share = jax.nn.softmax(scores).astype(v.dtype)
  return jnp.swapaxes(jnp.einsum("bhts,bhsd->bhtd", share, v), 1, 2)
