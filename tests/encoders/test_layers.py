"""Our layers against Flax's and JAX's own, in value and gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders
from sslx.encoders import layers

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_gelu(dtype, tolerance):
  with jax.enable_x64(dtype == "float64"):
    x = jnp.asarray(np.linspace(-12, 12, 481), dtype)
    plain, plain_back = jax.vjp(lambda x: jax.nn.gelu(x, approximate=False), x)
    ours, back = jax.vjp(layers.gelu, x)
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, plain, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(back(jnp.ones_like(x))[0], plain_back(jnp.ones_like(x))[0], atol=tolerance,
                               rtol=tolerance)
    second = lambda f: jax.vmap(jax.grad(jax.grad(f)))(x)    # the rule is differentiable, forwards too
    np.testing.assert_allclose(second(layers.gelu), second(lambda x: jax.nn.gelu(x, approximate=False)),
                               atol=10 * tolerance, rtol=10 * tolerance)
    assert jax.jvp(layers.gelu, (x,), (x,))[1].shape == x.shape


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gelu_keeps_the_tail_of_short_floats(dtype):
  x = jnp.linspace(-4, -1, 200).astype(dtype)
  wanted = jax.nn.gelu(x.astype(jnp.float32), approximate=False)
  np.testing.assert_allclose(layers.gelu(x).astype(jnp.float32), wanted, rtol=2 * float(jnp.finfo(dtype).eps))
  slope = lambda f, x: jax.vmap(jax.grad(f))(x).astype(jnp.float32)
  np.testing.assert_allclose(slope(layers.gelu, x), slope(jax.nn.gelu, x.astype(jnp.float32)), atol=2e-3)


@pytest.mark.parametrize("features", [2, 4])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 5, 3), (2, 4, 5, 3), (0, 5, 3)])
def test_dense(shape, features):
  ours, plain = layers.Dense(features, param_dtype=jnp.float32), nn.Dense(features, param_dtype=jnp.float32)
  x = jnp.asarray(RNG.normal(size=shape), jnp.float32)
  v = plain.init(jax.random.key(0), x)
  assert jax.tree.all(jax.tree.map(jnp.array_equal, v, ours.init(jax.random.key(0), x)))
  run = lambda m: jax.value_and_grad(lambda v, x: jnp.sum(jnp.cos(m.apply(v, x))), (0, 1))(v, x)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), run(ours), run(plain))
  assert ours.apply(v, x).shape == (*shape[:-1], features)


@pytest.mark.parametrize("features", [2, 4])
def test_dense_under_transformations(features):
  """vmap over parameters, remat, shard_map and a second derivative."""
  ours, plain = layers.Dense(features, param_dtype=jnp.float32), nn.Dense(features, param_dtype=jnp.float32)
  x = jnp.asarray(RNG.normal(size=(8, 3)), jnp.float32)
  v = plain.init(jax.random.key(0), x)
  mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])

  def slopes(m):
    loss = lambda v, x: jnp.sum(jnp.cos(m.apply(v, x)))
    own = lambda v, x: jax.lax.psum(loss(v, x), "data")
    spread = jax.shard_map(own, mesh=mesh, in_specs=(jax.P(), jax.P("data")), out_specs=jax.P())
    forms = (jax.vmap(jax.grad(loss)), jax.grad(jax.checkpoint(loss)), jax.grad(spread), jax.grad(loss),
             jax.grad(lambda v, x: sum(jnp.sum(g**2) for g in jax.tree.leaves(jax.grad(loss)(v, x)))))
    several = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), (v, x))
    return [jax.jit(f)(*(several if f is forms[0] else (v, x))) for f in forms]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), slopes(ours), slopes(plain))
  named = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,), devices=jax.devices()[:4])
  with jax.set_mesh(named):
    there = jax.device_put(x, jax.NamedSharding(named, jax.P("data")))
    slope = jax.jit(jax.grad(lambda v, x: jnp.sum(jnp.cos(ours.apply(v, x)))))(v, there)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), slope, slopes(plain)[3])


@pytest.mark.parametrize("options", [
    {"name": "vit_ti", "patch": 4, "width": 8, "depth": 1, "heads": 2},
    {"name": "resnet10", "width": 8, "stem": "small"}], ids=lambda o: o["name"])
def test_elsewhere_than_on_cpus_encoders_have_a_forward_mode(options, monkeypatch):
  encoder, x = encoders.make(**options), jnp.asarray(RNG.normal(size=(64, 8, 8, 3)), jnp.float32)
  v = encoder.init(jax.random.key(0), x)
  slope = lambda: jax.jit(lambda x: jax.jvp(lambda x: encoder.apply(v, x), (x,), (x,))).lower(x).out_info
  with pytest.raises(TypeError, match="forward-mode"):
    slope()
  monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
  y, dy = slope()
  assert y.shape == dy.shape and len(y) == 64
