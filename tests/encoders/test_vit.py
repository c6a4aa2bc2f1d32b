"""Vision transformers against timm's parameter counts, a loop for the positions and a forward pass in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from sslx import encoders, errors
from sslx.encoders import vit

COUNTS = {  # timm's vit_*_patch16_224 (vit_huge_patch14_224) without classifier and learned positions
  "vit_ti": (16, 5_486_592), "vit_s": (16, 21_590_016), "vit_b": (16, 85_647_360), "vit_l": (16, 303_099_904),
  "vit_h": (14, 630_435_840)}
RNG = np.random.default_rng(0)
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
  patch, count = COUNTS[name]
  key, x = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((1, 2 * patch, patch, 3), jnp.float32)
  variables = jax.eval_shape(encoders.make(name, patch=patch).init, key, x)
  assert sum(v.size for v in jax.tree.leaves(variables)) == count and set(variables) == {"params"}


def test_positions():
  h, w, width = 2, 3, 8
  want = np.zeros((h * w, width))
  for y in range(h):
    for x in range(w):
      for i in range(width // 4):
        a, b = x / 10000 ** (4 * i / width), y / 10000 ** (4 * i / width)
        want[y * w + x, [i, 2 + i, 4 + i, 6 + i]] = np.sin(a), np.cos(a), np.sin(b), np.cos(b)
  np.testing.assert_allclose(vit.sincos(h, w, width), want, atol=1e-12)


def forward(p, x, patch, heads, depth):
  """Tokens after the last norm, in NumPy; x is normalised already."""
  def norm(x, n):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * n["scale"] + n["bias"]
  dense = lambda x, n: x @ n["kernel"] + n["bias"]
  B, H, W, C = x.shape
  h, w, width = H // patch, W // patch, p["patches"]["bias"].size
  x = x.reshape(B, h, patch, w, patch, C).transpose(0, 1, 3, 2, 4, 5).reshape(B, h * w, -1)
  x = x @ p["patches"]["kernel"].reshape(-1, width) + p["patches"]["bias"] + vit.sincos(h, w, width)
  if "token" in p:
    x = np.concatenate([np.repeat(p["token"], B, 0), x], 1)
  for i in range(depth):
    b = p[f"block{i + 1}"]
    qkv, out = np.split(dense(norm(x, b["norm1"]), b["qkv"]), 3, -1), []
    for q, k, v in zip(*(np.split(a, heads, -1) for a in qkv), strict=True):
      a = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(width // heads))
      out.append(a / a.sum(-1, keepdims=True) @ v)
    x = x + dense(np.concatenate(out, -1), b["proj"])
    y = dense(norm(x, b["norm2"]), b["mlp1"])
    x = x + dense(y * (1 + erf(y / np.sqrt(2))) / 2, b["mlp2"])
  return norm(x, p["norm"])


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_forward(pool):
  module = vit.make((8, 2, 2), patch=2, pool=pool, mean=(0.5,), std=(0.25,))
  x = RNG.random((2, 4, 6, 3), np.float32)
  spec = jax.eval_shape(module.init, jax.eval_shape(lambda: jax.random.key(0)), x)
  v = jax.tree.map(lambda s: RNG.normal(0, 0.5, s.shape).astype(np.float32), spec)
  out = jax.jit(lambda v, x: module.apply(v, x, method="features"))(v, x)
  want = forward(jax.tree.map(lambda a: a.astype(float), v["params"]), (x.astype(float) - 0.5) / 0.25, 2, 2, 2)
  assert set(out) == {"stage1", "stage2", "grid", "tokens", "pooled"} and out["stage1"].shape == (2, 2, 3, 8)
  np.testing.assert_allclose(out["tokens"], want, atol=1e-4)
  np.testing.assert_allclose(out["grid"].reshape(2, 6, 8), want[:, -6:], atol=1e-4)
  np.testing.assert_allclose(out["pooled"], want[:, 0] if pool == "token" else want.mean(1), atol=1e-4)
  np.testing.assert_allclose(jax.jit(module.apply)(v, x), out["pooled"], atol=1e-5)


def test_patches_start_as_a_dense_layer():
  """Glorot over patch and width as MAE and MoCo v3 have it, so that patches are not drowned by their positions."""
  v = jax.jit(vit.make((64, 1, 2), patch=8).init, compiler_options=QUICK)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
  largest, bound = jnp.abs(v["params"]["patches"]["kernel"]).max(), np.sqrt(6 / (8 * 8 * 3 + 64))
  assert 0.99 * bound < largest <= bound


def test_sizes_and_patches():
  key = jax.eval_shape(lambda: jax.random.key(0))
  with pytest.raises(errors.UsageError, match="30x32 does not divide into patches of 16"):
    jax.eval_shape(encoders.make("vit_ti").init, key, jax.ShapeDtypeStruct((1, 30, 32, 3), jnp.float32))


def test_bfloat16_keeps_parameters_wide():
  x = RNG.random((2, 4, 4, 3), np.float32)
  build = lambda **kw: vit.make((8, 1, 2), patch=2, **kw)
  v = jax.jit(build(dtype="bfloat16").init, compiler_options=QUICK)(jax.random.key(0), x)
  assert {a.dtype for a in jax.tree.leaves(v)} == {jnp.dtype("float32")}
  low, full = (jax.jit(build(dtype=d).apply)(v, x) for d in ("bfloat16", None))
  assert low.dtype == jnp.bfloat16
  np.testing.assert_allclose(low.astype(float), full, atol=0.1)
