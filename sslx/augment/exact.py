"""Arithmetic whose bits do not depend on how a compiler fuses and orders it, so neither on the number of devices."""

import functools

import jax
import jax.numpy as jnp


def rounded(x):
  """x rounded to one bit less, which keeps a compiler from fusing the product x into a sum: same bits everywhere."""
  kind = jnp.finfo(x.dtype)
  return jax.lax.reduce_precision(x, kind.nexp, kind.nmant - 1)


def uniform(key, shape, dtype, low, high):
  """Uniform in [low, high); without a product fused into the sum, unlike jax.random.uniform of a range."""
  return low + rounded(jax.random.uniform(key, shape, dtype) * (high - low))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def total(x, axes):
  """The sum of x, in [-1, 1], over `axes`, which stay with length 1: in fixed point of two words, so in any order."""
  exact = jnp.promote_types(x.dtype, jnp.float32)
  word = jnp.int64 if exact == jnp.float64 else jnp.int32
  bits = jnp.iinfo(word).bits - 2 - (max(functools.reduce(lambda n, i: n * x.shape[i], axes, 1) - 1, 1)).bit_length()
  scaled = x.astype(exact) * 2.0**bits
  high = jnp.floor(scaled)
  summed = lambda v: jnp.sum(v.astype(word), axes, keepdims=True).astype(exact)
  return ((summed(high) + summed(jnp.round((scaled - high) * 2.0**bits)) / 2.0**bits) / 2.0**bits).astype(x.dtype)


@total.defjvp
def _(axes, primals, tangents):
  return total(*primals, axes), jnp.sum(*tangents, axes, keepdims=True)
