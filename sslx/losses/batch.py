"""The global batch: what losses that couple its rows share, so that they are one number however the batch is spread.

Values are right on every device by construction. Gradients of parameters are those of the global batch after `pmean`
(pmap, vmap, shard_map with check_vma=False), or as they come (check_vma=True), because everything that crosses devices
is `all_gather` or `pmean`, whose transposes keep to that.
"""

import chex
import jax
import jax.numpy as jnp


def unit(z):
  """Rows of z [N, D] at length 1, in at least float32; rows of length 0 stay 0 (and pass no gradient)."""
  z = wide(z)
  largest = jax.lax.stop_gradient(jnp.max(jnp.abs(z), axis=1, keepdims=True))    # the result does not depend on it
  z = z / jnp.where(largest > 0, largest, 1)                                     # squares neither over- nor underflow
  square = jnp.sum(z**2, axis=1, keepdims=True)
  return jnp.where(square > 0, z * jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)


def wide(z):
  """z in its own type if that is a float of 32 bits or more, else in float32."""
  return jnp.asarray(z).astype(jnp.promote_types(jnp.result_type(z), jnp.float32))


def count(z, axis_name):
  """The number of rows of z in the global batch, a plain integer."""
  return len(z) * (1 if axis_name is None else jax.lax.psum(1, axis_name))


def index(z, axis_name):
  """The position of each row of z in the global batch: [N]."""
  start = 0 if axis_name is None else jax.lax.axis_index(axis_name) * len(z)
  return start + jnp.arange(len(z))


def everywhere(z, axis_name):
  """The rows of z of all devices, in order."""
  return z if axis_name is None else jax.lax.all_gather(z, axis_name, tiled=True)


def gathered(z, axis_name, rows=2):
  """z [N, D] of the global batch, wide."""
  chex.assert_rank(z, 2)
  z = everywhere(wide(z), axis_name)
  chex.assert_axis_dimension_gteq(z, 0, rows)
  return z


def average(x, axis_name):
  """The mean of x [N, ...] over the rows of the global batch."""
  return agreed(x.mean(0), axis_name)


def agreed(value, axis_name):
  """The mean of the devices' values; where all have computed the same one, that value, known to be the same."""
  return value if axis_name is None else jax.lax.pmean(value, axis_name)


def root(square):
  """The square root, with gradient 0 at 0."""
  return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def times(x, y):
  """x @ y at full precision (accelerators round the factors of a plain product)."""
  return jnp.matmul(x, y, precision="highest")
