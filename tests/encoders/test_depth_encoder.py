"""Depth on a logarithmic scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders, errors


def test_depth_is_read_by_its_logarithm():
  encoder = encoders.make("depth_resnet10", width=4, stem="small")
  x = np.random.default_rng(0).integers(0, 65536, (2, 8, 8, 1)).astype(np.uint16)
  variables = encoder.init(jax.random.key(0), jnp.asarray(x / 65535))
  plain = encoders.make("resnet10", width=4, stem="small", mean=(0.8,), std=(0.1,))
  wanted = plain.apply({k: v["trunk"] for k, v in variables.items()}, jnp.asarray(np.log(1.0 + x) / np.log(65536)))
  np.testing.assert_allclose(encoder.apply(variables, jnp.asarray(x / 65535)), wanted, rtol=1e-3, atol=1e-5)
  with pytest.raises(errors.UsageError, match="uint16.*to_float"):
    encoder.apply(variables, jnp.asarray(x))
