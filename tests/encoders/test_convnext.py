"""ConvNeXt against timm's parameter counts, and a block in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from sslx import encoders, errors
from sslx.encoders import convnext

COUNTS = {  # timm's, without classifier
  "convnext_atto": 3374520, "convnext_femto": 4832784, "convnext_pico": 8532672, "convnext_nano": 14952560,
  "convnext_tiny": 27820128, "convnext_small": 49454688, "convnext_base": 87566464, "convnext_large": 196230336,
  "convnext_xlarge": 348147968, "convnextv2_atto": 3387400, "convnextv2_femto": 4848240, "convnextv2_pico": 8553280,
  "convnextv2_nano": 14982800, "convnextv2_tiny": 27866496, "convnextv2_base": 87692800,
  "convnextv2_large": 196419840, "convnextv2_huge": 657472640}
RNG = np.random.default_rng(0)


def shapes(module, *shape):
  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(module.init, key, jax.ShapeDtypeStruct(shape, jnp.float32))


def test_parameter_counts():
  count = lambda name: sum(v.size for v in jax.tree.leaves(shapes(encoders.make(name), 1, 64, 64, 3)))
  assert {name: count(name) for name in convnext.VARIANTS} == COUNTS


def block(x, p):
  """x [B, h, w, D] after a block of V1 or V2, by the definition."""
  wide = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
  h, w, kernel = *x.shape[1:3], p["conv"]["kernel"]
  y = sum(wide[:, i:i + h, j:j + w] * kernel[i, j, 0] for i in range(7) for j in range(7)) + p["conv"]["bias"]
  y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
  y = (y * p["norm"]["scale"] + p["norm"]["bias"]) @ p["mlp1"]["kernel"] + p["mlp1"]["bias"]
  y = y * (1 + erf(y / np.sqrt(2))) / 2
  if "response_scale" in p:
    length = np.sqrt((y**2).sum((1, 2), keepdims=True))
    y = y + p["response_scale"] * y * length / (length.mean(-1, keepdims=True) + 1e-6) + p["response_bias"]
  y = y @ p["mlp2"]["kernel"] + p["mlp2"]["bias"]
  return x + y * p.get("scale", 1)


@pytest.mark.parametrize("second", [False, True])
def test_block(second):
  module = convnext.Block(second, 0.0 if second else 0.5, None)
  x = RNG.normal(size=(2, 4, 5, 6)).astype(np.float32)
  p = jax.tree.map(lambda s: RNG.normal(0, 0.5, s.shape).astype(np.float32), shapes(module, *x.shape)["params"])
  np.testing.assert_allclose(jax.jit(module.apply)({"params": p}, x), block(x, p), rtol=1e-4, atol=1e-4)


def test_no_response_of_an_empty_image_has_a_gradient():
  module = convnext.Block(True, 0.0, None)
  p = jax.tree.map(lambda s: jnp.zeros(s.shape), shapes(module, 1, 2, 2, 4)["params"])
  gradient = jax.grad(lambda p: module.apply({"params": p}, jnp.ones((1, 2, 2, 4))).sum())(p)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_features_and_stems():
  module = encoders.make("convnext_atto", width=4, stem=2, drop_path=0.5)
  out = jax.eval_shape(lambda v, x: module.apply(v, x, method="features"), shapes(module, 1, 32, 32, 1),
                       jax.ShapeDtypeStruct((3, 32, 32, 1), jnp.float32))
  assert {k: v.shape for k, v in out.items()} == {
    "stage1": (3, 16, 16, 4), "stage2": (3, 8, 8, 8), "stage3": (3, 4, 4, 16), "stage4": (3, 2, 2, 32),
    "grid": (3, 2, 2, 32), "pooled": (3, 32)}


def test_small_images_and_odd_stems():
  with pytest.raises(errors.UsageError, match="8x8 are too small.*stem=4, which needs 32"):
    shapes(encoders.make("convnext_atto"), 1, 8, 8, 1)
  with pytest.raises(errors.UsageError, match="unknown stem 'small'"):
    encoders.make("convnext_atto", stem="small")


def test_drop_path_skips_whole_examples_in_training_alone():
  module, x = convnext.Block(False, 1.0, None), jnp.asarray(RNG.normal(size=(64, 2, 2, 3)), jnp.float32)
  p = module.init(jax.random.key(0), x)
  full = module.apply(p, x)
  out = module.apply(p, x, 0.5, rngs={"dropout": jax.random.key(1)})
  skipped = np.all(np.asarray(out == x), (1, 2, 3))
  assert 16 < skipped.sum() < 48
  np.testing.assert_allclose((out - x)[~skipped], 2 * (full - x)[~skipped], rtol=1e-4, atol=1e-5)
