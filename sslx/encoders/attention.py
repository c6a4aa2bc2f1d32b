"""Attention that equals JAX's own, in the form that compiles well on CPUs too."""

import jax
import jax.numpy as jnp
from jax import lax

from sslx.encoders.layers import alone


def attend(q, k, v, mask=None):
  """jax.nn.dot_product_attention of q [B, T, heads, D] and k, v [B, S, heads, D]; on CPUs with the heads first.

  mask: [1 or B, 1 or T, S], True where a query (second axis) sees a key (third); None: every one sees all.
  On CPUs there is no forward-mode derivative.
  """
  plain = lambda q, k, v, mask=None: jax.nn.dot_product_attention(q, k, v, mask=None if mask is None else mask[:, None])
  args = (q, k, v) if mask is None else (q, k, v, mask)
  if jax.default_backend() != "cpu":
    return plain(*args)
  first = heads_first if alone(q) else lambda *args: _forward(*args)[0]
  return lax.platform_dependent(*args, cpu=first, default=plain)                         # the program may be for others


@jax.custom_vjp
def heads_first(q, k, v, mask=None):
  """jax.nn.dot_product_attention, each array turned once, so that every product is one of plain matrices.

  The softmax of float64 is in float64, where JAX's own is in float32.
  """
  return _forward(q, k, v, mask)[0]


def _forward(q, k, v, mask=None):
  wide = jnp.promote_types(q.dtype, jnp.float32)
  q, k, v = (jnp.swapaxes(a, 1, 2) for a in (q, k, v))                                   # [B, heads, T, D]
  scores = jnp.einsum("bhtd,bhsd->bhts", q, k, preferred_element_type=wide) * q.shape[-1] ** -0.5
  scores = scores if mask is None else jnp.where(mask[:, None], scores, 0.7 * jnp.finfo(wide).min)
  share = jax.nn.softmax(scores)
  y = jnp.einsum("bhts,bhsd->bhtd", share.astype(v.dtype), v)
  return jnp.swapaxes(y, 1, 2), (q, k, v, mask, share, y)


def _backward(kept, g):
  """The barriers keep XLA from folding the turns into the products, and from joining the three while it turns them."""
  q, k, v, mask, share, y = kept
  g, wide = jnp.swapaxes(g, 1, 2), jnp.promote_types(q.dtype, jnp.float32)
  slope = jnp.einsum("bhtd,bhsd->bhts", g, v, preferred_element_type=wide)
  across = g * y if y.dtype == wide else share * slope       # one sum, but for rounding
  slope = share * (slope - jnp.sum(across, -1, keepdims=True)) * q.shape[-1] ** -0.5
  slope = (slope if mask is None else jnp.where(mask[:, None], slope, 0)).astype(q.dtype)
  turned = lambda a: lax.optimization_barrier(jnp.swapaxes(a, 2, 3))
  slopes = slope @ k, turned(slope) @ q, turned(share.astype(g.dtype)) @ g
  return (*(lax.optimization_barrier(jnp.swapaxes(a, 1, 2)) for a in slopes), None)


heads_first.defvjp(_forward, _backward)
