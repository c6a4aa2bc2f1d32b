"""Our attention against JAX's own, in value and gradient, under every transformation that methods use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.encoders import vit
from sslx.encoders.attention import attend, heads_first

RNG = np.random.default_rng(0)
B, T, H, D = 8, 5, 3, 4
PLAIN = jax.nn.dot_product_attention
WEIGHT = RNG.normal(size=(B, T, H, D))


def by_hand(q, k, v):
  """Attention; JAX's own takes its softmax in float32 whatever the type."""
  share = jnp.exp(jnp.einsum("bthd,bshd->bths", q, k) / D ** 0.5)
  return jnp.einsum("bths,bshd->bthd", share / share.sum(-1, keepdims=True), v)


def arrays(dtype="float32"):
  return [jnp.asarray(RNG.normal(0, 2, (B, T, H, D)), dtype) for _ in range(3)]


def close(a, b, tolerance=1e-5):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), a, b)


def both(f):
  """(the value, the gradient of a weighted sum of it to every array)."""
  def run(*args):
    value, back = jax.vjp(f, *args)
    return value, back(jnp.asarray(WEIGHT, value.dtype))
  return jax.jit(run)


@pytest.mark.parametrize(("dtype", "plain", "tolerance"), [("float32", PLAIN, 1e-5), ("float64", by_hand, 1e-12)])
def test_value_and_gradient(dtype, plain, tolerance):
  with jax.enable_x64(dtype == "float64"):
    args = arrays(dtype)
    got, want = both(attend)(*args), both(plain)(*args)
    assert {a.dtype for a in jax.tree.leaves(got)} == {jnp.dtype(dtype)}
    close(got, want, tolerance)


def test_bfloat16_is_as_exact_as_the_plain_one():
  args = arrays(jnp.bfloat16)
  got, low, want = both(attend)(*args), both(PLAIN)(*args), both(PLAIN)(*(a.astype(float) for a in args))
  assert {a.dtype for a in jax.tree.leaves((got, low))} == {jnp.dtype(jnp.bfloat16)}
  for ours, plain, exact in zip(*map(jax.tree.leaves, (got, low, want)), strict=True):
    error = lambda y, exact=exact: np.abs(y.astype(np.float32) - exact).max()
    assert error(ours) <= 1.5 * error(plain)


@pytest.mark.parametrize("shape", [(1, T, T), (B, 1, T), (1, 1, T), (B, 2, T)])
def test_masks(shape):
  """Also of queries that see nothing, and of fewer queries than keys."""
  q, k, v = arrays()
  q, mask = q[:, :shape[1] if shape[1] > 1 else T], RNG.random(shape) < 0.6
  mask[0, 0] = False
  weight = RNG.normal(size=q.shape)
  plain = lambda *args: PLAIN(*args, mask=jnp.asarray(mask)[:, None])
  ours = lambda *args: attend(*args, jnp.asarray(mask))
  run = lambda f: jax.jit(lambda *args: (f(*args), jax.grad(lambda *a: jnp.sum(f(*a) * weight), (0, 1, 2))(*args)))
  close(run(ours)(q, k, v), run(plain)(q, k, v))


def test_transformations():
  """vmap, remat, shard_map and a batch spread over devices, with gradients."""
  args, spread = arrays(), jax.P("data")
  mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
  want = both(PLAIN)(*args)
  close(both(jax.checkpoint(attend))(*args), want)
  close(both(jax.vmap(lambda *args: attend(*(a[None] for a in args))[0]))(*args), want)
  close(both(jax.shard_map(attend, mesh=mesh, in_specs=spread, out_specs=spread))(*args), want)
  own = lambda f: lambda q, k, v: both(f)(q, k[:1].repeat(B, 0), v)
  some = jax.shard_map(lambda q, k, v: attend(q, k.repeat(len(q), 0), v), mesh=mesh,
                       in_specs=(spread, jax.P(), spread), out_specs=spread)       # keys that all devices share
  shared = both(some)(args[0], args[1][:1], args[2])
  close(shared[0], own(PLAIN)(*args)[0])
  placed = [jax.device_put(a, jax.NamedSharding(mesh, spread)) for a in args]
  program = both(attend).lower(*placed).compile()
  assert "all-gather" not in program.as_text()
  close(program(*placed), want)


def test_blocks_in_a_scan_hold_one_form_of_attention():
  """The form for other platforms leaves nothing in the program of this one."""
  module = vit.make((8, 4, 2), patch=2, scan=True, mean=(0.5,), std=(0.25,))
  x = jnp.zeros((2, 4, 6, 3))
  v = jax.eval_shape(module.init, jax.random.key(0), x)

  def size(form):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(vit, "attend", form)
      run = jax.jit(jax.grad(lambda v: module.apply(v, x).sum()))
      return run.lower(v).compile().memory_analysis().temp_size_in_bytes
  assert size(attend) <= 1.01 * size(heads_first)
