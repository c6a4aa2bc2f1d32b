"""The decoder gives any size from any grid."""

import jax
import jax.numpy as jnp
import pytest

from sslx import heads


@pytest.mark.parametrize("x", [(2, 5), (2, 1, 1, 5), (2, 3, 4, 5), (2, 16, 16, 5)])
@pytest.mark.parametrize("size", [(8, 8, 1), (33, 20, 3), (16, 16, 2)])
def test_sizes(x, size):
  decoder, x = heads.Decoder(size, 4), jax.ShapeDtypeStruct(x, jnp.bfloat16)
  key = jax.eval_shape(lambda: jax.random.key(0))
  out, variables = jax.eval_shape(lambda k, v: decoder.init_with_output(k, v, train=True), key, x)
  assert out.shape == (2, *size) and out.dtype == jnp.float32
  assert variables["params"]["pixels"]["kernel"].shape[-1] == size[-1]
