"""NT-Xent: value and gradient against NumPy, its limits, and one number however the batch is spread."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from sslx import losses

RNG = np.random.default_rng(0)
Z = RNG.normal(0, 1, (2, 4, 3))


def np_ntxent(z1, z2, temperature):
  """Chen et al., 2020, eq. 1, pair by pair."""
  z = np.concatenate([z1, z2])
  length = np.linalg.norm(z, axis=1, keepdims=True)
  z, n, total = np.divide(z, length, out=np.zeros_like(z), where=length > 0), len(z1), 0.0
  for i in range(2 * n):
    others = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i]
    total -= np.log(np.exp(z[i] @ z[(i + n) % (2 * n)] / temperature) / sum(others))
  return total / (2 * n)


def np_gradient(f, z, h=1e-5):
  """Central differences of f at z, an entry at a time."""
  out = np.zeros_like(z)
  for i in np.ndindex(z.shape):
    step = np.zeros_like(z)
    step[i] = h
    out[i] = (f(z + step) - f(z - step)) / (2 * h)
  return out


QUICK = {"xla_backend_optimization_level": 0}                        # less time to compile
OURS = jax.jit(jax.value_and_grad(lambda z, t: losses.ntxent(z[0], z[1], temperature=t)), compiler_options=QUICK)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
def test_value_and_gradient(temperature):
  want = np_ntxent(*Z, temperature), np_gradient(lambda z: np_ntxent(*z, temperature), Z)
  with jax.enable_x64(True):
    value, gradient = OURS(Z, temperature)
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(value, want[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, want[1], rtol=1e-6, atol=1e-8)
  value, gradient = OURS(Z.astype(np.float32), temperature)
  np.testing.assert_allclose(value, want[0], rtol=1e-5)
  np.testing.assert_allclose(gradient, want[1], rtol=1e-4, atol=1e-5)


def test_length_does_not_matter():
  a, b = OURS(Z.astype(np.float32), 0.5)[0], OURS((Z * [[[1e-20], [1e20], [3], [1]]]).astype(np.float32), 0.5)[0]
  np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("row", [(0, 1), slice(None)], ids=["one", "all"])
def test_zero_vectors(row):
  z = Z.astype(np.float32)
  z[row] = 0
  value, gradient = OURS(z, 0.1)
  np.testing.assert_allclose(value, np_ntxent(*z.astype(float), 0.1), rtol=1e-5)
  assert jnp.isfinite(gradient).all() and not gradient[row].any()


def test_identical_views_and_collapse():
  same = np.stack([Z[0], Z[0]])
  np.testing.assert_allclose(OURS(same.astype(np.float32), 0.5)[0], np_ntxent(*same, 0.5), rtol=1e-5)
  collapsed = np.ones((2, 4, 3), np.float32)
  np.testing.assert_allclose(OURS(collapsed, 0.05)[0], np.log(7), rtol=1e-5)              # chance: 1 of 2B - 1


def test_bfloat16_is_computed_in_float32():
  z = jnp.asarray(Z, jnp.bfloat16)
  value = jax.jit(lambda z: losses.ntxent(z[0], z[1], temperature=0.1))(z)
  assert value.dtype == jnp.float32
  np.testing.assert_allclose(value, np_ntxent(*np.asarray(z, float), 0.1), rtol=1e-5)


def test_wrong_shapes():
  with pytest.raises(ValueError, match="at least two examples"):
    losses.ntxent(jnp.ones((1, 3)), jnp.ones((1, 3)), temperature=0.5)
  with pytest.raises(AssertionError, match="rank"):
    losses.ntxent(jnp.ones(3), jnp.ones(3), temperature=0.5)
  with pytest.raises(AssertionError, match="shape"):
    losses.ntxent(jnp.ones((2, 3)), jnp.ones((4, 3)), temperature=0.5)


X, W = RNG.normal(0, 1, (2, 8, 5)), RNG.normal(0, 1, (5, 3))


def loss(w, x, axis_name=None):
  """NT-Xent of a linear map of x [2, B, 5]."""
  z = jnp.tanh(x @ w)
  return losses.ntxent(z[0], z[1], temperature=0.2, axis_name=axis_name)


def spread(way, devices):
  """(value, gradient of W) of the global batch X on so many devices, computed in one of the ways JAX has."""
  split = X.reshape(2, devices, -1, 5).swapaxes(0, 1)                                      # [devices, 2, b, 5]
  mapped = lambda w, x: jax.lax.pmean(jax.value_and_grad(loss)(w, x, "data"), "data")
  if way == "pmap":
    return jax.tree.map(lambda v: v[0], jax.pmap(mapped, axis_name="data", in_axes=(None, 0))(W, split))
  if way == "vmap":
    return jax.tree.map(lambda v: v[0], jax.jit(jax.vmap(mapped, axis_name="data", in_axes=(None, 0)))(W, split))
  mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
  if way == "jit":
    x = jax.device_put(X, NamedSharding(mesh, P(None, "data")))
    assert len(x.sharding.device_set) == devices
    return jax.jit(jax.value_and_grad(loss))(jnp.asarray(W), x)
  check = way == "shard_map_checked"
  step = (lambda w, x: jax.value_and_grad(loss)(w, x, "data")) if check else mapped        # checked: no pmean needed
  return jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), P(None, "data")), out_specs=P(), check_vma=check))(W, X)


@pytest.mark.parametrize("way, devices", [("jit", 8), ("jit", 4), ("pmap", 8), ("vmap", 4), ("shard_map", 4),
                                          ("shard_map_checked", 4), ("shard_map_checked", 8)])
def test_one_number_however_the_batch_is_spread(way, devices):
  with jax.enable_x64(True):
    want = np_ntxent(*np.tanh(X @ W), 0.2), np_gradient(lambda w: np_ntxent(*np.tanh(X @ w), 0.2), W)
    value, gradient = spread(way, devices)
    np.testing.assert_allclose(value, want[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, want[1], rtol=1e-6, atol=1e-9)
