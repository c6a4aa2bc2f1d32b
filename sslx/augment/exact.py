"""Arithmetic whose bits do not depend on how a compiler fuses and orders it, so neither on the number of devices."""

import functools
import math

import jax
import jax.numpy as jnp


def rounded(x):
  """x rounded to one bit less, which keeps a compiler from fusing the product x into a sum: same bits everywhere."""
  kind = jnp.finfo(x.dtype)
  return jax.lax.reduce_precision(x, kind.nexp, kind.nmant - 1)


def exp(x):
  """e to the x; unlike jnp.exp the same for the last of an odd number of values on a CPU."""
  return jnp.exp2(x * math.log2(math.e))


def uniform(key, shape, dtype, low, high):
  """Uniform in [low, high); without a product fused into the sum, unlike jax.random.uniform of a range."""
  return low + rounded(jax.random.uniform(key, shape, dtype) * (high - low))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def total(x, axis):
  """The sum of x, values in [-1, 1], over an axis, which stays with length 1: in whole steps, so in any order.

  A step is 2^-22 for lengths to 256 (2^-54 in float64), and coarser as the length grows.
  """
  exact = jnp.promote_types(x.dtype, jnp.float32)
  word = jnp.int64 if exact == jnp.float64 else jnp.int32
  one = 2.0 ** (jnp.iinfo(word).bits - 2 - (x.shape[axis] - 1).bit_length())
  steps = jnp.round(x.astype(exact) * one).astype(word)
  return (jnp.sum(steps, axis, keepdims=True).astype(exact) / one).astype(x.dtype)


@total.defjvp
def _(axis, primals, tangents):
  return total(*primals, axis), jnp.sum(*tangents, axis, keepdims=True)
