"""The MLP head: widths, where batch norm stands, and never less than float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.heads import MLP

QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
X = np.random.default_rng(0).normal(0, 1, (6, 4)).astype(np.float32)


@pytest.mark.parametrize("norm, last_norm", [(False, False), (True, False), (False, True), (True, True)])
def test_against_numpy(norm, last_norm):
  head = MLP((5, 7, 3), norm, last_norm)
  v = jax.jit(head.init, compiler_options=QUICK)(jax.random.key(0), X)
  out, new = jax.jit(lambda v, x: head.apply(v, x, train=True, mutable=["batch_stats"]))(v, X)
  p, h = jax.tree.map(lambda a: np.asarray(a, float), v["params"]), X.astype(float)
  for i, normed in enumerate((norm, norm, last_norm), 1):
    assert ("bias" in p[f"dense{i}"]) == (not normed)
    h = h @ p[f"dense{i}"]["kernel"] + p[f"dense{i}"].get("bias", 0)
    assert (f"norm{i}" in new.get("batch_stats", {})) == normed
    if normed:
      assert (f"norm{i}" in p) == (i < 3)                               # the last one has no scale and no bias
      h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
    h = np.maximum(h, 0) if i < 3 else h
  assert out.shape == (6, 3)
  np.testing.assert_allclose(out, h, atol=1e-4)


def test_evaluation_uses_running_statistics():
  head = MLP((3,), last_norm=True)
  v = jax.jit(head.init, compiler_options=QUICK)(jax.random.key(0), X)
  want = X @ np.asarray(v["params"]["dense1"]["kernel"])                # mean 0, variance 1 to begin with
  np.testing.assert_allclose(jax.jit(head.apply)(v, X), want / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-6)


def test_statistics_of_the_global_batch_under_an_axis_name():
  v = jax.jit(MLP((5, 3), True, True).init, compiler_options=QUICK)(jax.random.key(0), X)
  run = lambda axis: lambda x: MLP((5, 3), True, True, axis_name=axis).apply(v, x, train=True, mutable=["batch_stats"])
  out, new = jax.jit(run(None))(X)
  parts, stats = jax.jit(jax.vmap(run("i"), axis_name="i"))(X.reshape(3, 2, 4))
  np.testing.assert_allclose(parts.reshape(6, 3), out, atol=2e-5)
  for a, b in zip(jax.tree.leaves(stats), jax.tree.leaves(new), strict=True):
    np.testing.assert_allclose(a[1], b, atol=1e-5)


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_never_below_float32(dtype):
  head = MLP((5, 3), True, True, dtype)
  v = jax.jit(head.init, compiler_options=QUICK)(jax.random.key(0), X)
  run = jax.jit(lambda v, x: head.apply(v, x, train=True, mutable=["batch_stats"]))
  out, new = run(v, X.astype(jnp.bfloat16))
  assert {a.dtype for a in jax.tree.leaves((v, new, out))} == {jnp.dtype("float32")}


def test_float64_stays():
  with jax.enable_x64(True):
    out, _ = jax.eval_shape(lambda: MLP((5, 3), True).init_with_output(jax.random.key(0), jnp.zeros((2, 4))))
    assert out.dtype == jnp.float64
