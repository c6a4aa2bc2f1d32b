"""Sums, draws and powers whose bits do not depend on order, fusion or devices."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import IN_A_RUN
from jax.sharding import NamedSharding, PartitionSpec

from sslx.augment import exact, recipes

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("length", [1, 3, 224, 1000])
def test_total(length):
  x = RNG.uniform(-1, 1, (2, length, 3)).astype(np.float32)
  total = jax.jit(lambda x: exact.total(x, -2))
  out = total(x)
  want = [[[math.fsum(x[i, :, c].astype(float)) for c in range(3)]] for i in range(2)]
  np.testing.assert_allclose(out, want, rtol=2e-7, atol=length * 2.0 ** -(31 - (length - 1).bit_length()))
  for _ in range(3):
    assert np.array_equal(total(RNG.permutation(x, axis=1)), out)
  slope = jax.jit(jax.grad(lambda x: jnp.sum(exact.total(x, -2) * jnp.arange(3.0))))(x)
  assert np.array_equal(slope, np.broadcast_to(np.arange(3.0), x.shape))


def test_total_in_other_widths():
  with jax.enable_x64(True):
    x = RNG.uniform(-1, 1, 500)
    np.testing.assert_allclose(exact.total(jnp.asarray(x), 0), [math.fsum(x)], atol=1e-12)
  x = jnp.full(300, 0.5, jnp.bfloat16)
  assert exact.total(x, 0).dtype == jnp.bfloat16 and exact.total(x, 0)[0] == 150


def test_uniform_and_exp():
  drawn = jax.jit(lambda: exact.uniform(jax.random.key(0), (20_000,), jnp.float32, -3.0, 5.0))()
  assert drawn.min() >= -3 and drawn.max() <= 5
  np.testing.assert_allclose(np.histogram(drawn, 8, (-3, 5))[0] / 2500, 1, atol=0.08)
  x = np.linspace(-20, 3, 101, dtype=np.float32)
  np.testing.assert_allclose(exact.exp(x), np.exp(x), rtol=3e-6)


@pytest.mark.parametrize("images, height, width", [(16, 17, 24), pytest.param(8, 32, 32, marks=pytest.mark.slow)])
def test_views_of_optimized_code(images, height, width):
  """SimCLR's whole stack, compiled as in a run: one device and eight, of one or two images each, to the bit."""
  x = RNG.integers(0, 256, (images, height, width, 3), np.uint8)
  aug = jax.jit(recipes.make("simclr"), compiler_options=IN_A_RUN)
  mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
  spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("d")))
  assert np.array_equal(aug(jax.random.key(0), x), aug(jax.random.key(0), spread))
