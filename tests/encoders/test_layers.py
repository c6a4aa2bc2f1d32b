"""Our layers against Flax's and JAX's own, in value and gradient, under every transformation that methods use."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from sslx.encoders import layers, vit

RNG = np.random.default_rng(0)
B, T, H, D = 8, 5, 3, 4
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def plain_gelu(x):
  return nn.gelu(x, approximate=False)


def dense(kind):
  module = kind(6)
  return lambda x, kernel, bias: module.apply({"params": {"kernel": kernel, "bias": bias}}, x)


def by_hand(q, k, v):
  """Attention; JAX's own takes its softmax in float32 whatever the type."""
  share = jnp.exp(jnp.einsum("bthd,bshd->bths", q, k) / D ** 0.5)
  return jnp.einsum("bths,bshd->bthd", share / share.sum(-1, keepdims=True), v)


CASES = {  # name: (ours, the plain one, shapes of the arrays)
    "dense": (dense(layers.Dense), dense(nn.Dense), ((B, T, H, D), (D, 6), (6,))),
    "gelu": (layers.gelu, plain_gelu, ((B, T, D),)),
    "attention": (layers.attention, jax.nn.dot_product_attention, ((B, T, H, D),) * 3)}
each = pytest.mark.parametrize("name", CASES)


def arrays(name, dtype="float32"):
  return [jnp.asarray(RNG.normal(0, 2, s), dtype) for s in CASES[name][2]]


def close(a, b, tolerance=1e-5):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), a, b)


def both(f, weight):
  """(the value, the gradient of its weighted sum to every array)."""
  def run(*args):
    value, back = jax.vjp(f, *args)
    return value, back(weight.astype(value.dtype))
  return jax.jit(run)


@pytest.mark.parametrize("dtype", TOLERANCE)
@each
def test_value_and_gradient(name, dtype):
  with jax.enable_x64(dtype == "float64"):
    ours, plain, _ = CASES[name]
    args, plain = arrays(name, dtype), by_hand if (name, dtype) == ("attention", "float64") else plain
    weight = jnp.asarray(RNG.normal(size=plain(*args).shape), dtype)
    got, want = both(ours, weight)(*args), both(plain, weight)(*args)
    assert {a.dtype for a in jax.tree.leaves(got)} == {jnp.dtype(dtype)}
    close(got, want, TOLERANCE[dtype])


def test_gelu_against_scipy():
  x = np.linspace(-12, 12, 2001)
  close(jax.jit(layers.gelu)(x.astype(np.float32)), x * (1 + erf(x / np.sqrt(2))) / 2, 1e-6)


@each
def test_bfloat16_is_as_exact_as_the_plain_one(name):
  ours, plain, _ = CASES[name]
  args = arrays(name, jnp.bfloat16)
  got, low, want = jax.jit(ours)(*args), jax.jit(plain)(*args), plain(*(a.astype(float) for a in args))
  assert got.dtype == low.dtype == jnp.bfloat16
  error = lambda y: np.abs(y.astype(np.float32) - want).max()
  assert error(got) <= 1.5 * error(low)


@each
def test_transformations(name):
  """vmap, remat, shard_map and a batch spread over devices, with gradients."""
  ours, plain, shapes = CASES[name]
  args = arrays(name)
  spread = [jax.P("data") if s[0] == B else jax.P() for s in shapes]
  mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
  weight = jnp.asarray(RNG.normal(size=plain(*args).shape), jnp.float32)
  want = both(plain, weight)(*args)
  close(both(jax.checkpoint(ours), weight)(*args), want)
  batched = [0 if p == jax.P("data") else None for p in spread]
  one = lambda *args: ours(*(a if i is None else a[None] for a, i in zip(args, batched, strict=True)))[0]
  close(both(jax.vmap(one, batched), weight)(*args), want)
  close(both(jax.shard_map(ours, mesh=mesh, in_specs=tuple(spread), out_specs=jax.P("data")), weight)(*args), want)
  placed = [jax.device_put(a, jax.NamedSharding(mesh, p)) for a, p in zip(args, spread, strict=True)]
  program = both(ours, weight).lower(*placed).compile()
  assert "all-gather" not in program.as_text()
  close(program(*placed), want)


def test_blocks_in_a_scan_hold_one_form_of_attention():
  """The form for other platforms leaves nothing in the program of this one."""
  module = vit.make((8, 4, 2), patch=2, scan=True, mean=(0.5,), std=(0.25,))
  x = jnp.zeros((2, 4, 6, 3))
  v = jax.eval_shape(module.init, jax.random.key(0), x)

  def size(attend):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(layers, "attention", attend)
      run = jax.jit(jax.grad(lambda v: module.apply(v, x).sum()))
      return run.lower(v).compile().memory_analysis().temp_size_in_bytes
  assert size(layers.attention) <= 1.01 * size(layers._heads_first)
