"""Encoders of objects: a 3-D convolution against SciPy, PointNet against NumPy, and that order means nothing to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from sslx import encoders, errors

RNG = np.random.default_rng(0)
GRID = RNG.random((2, 8, 6, 8, 1), np.float32)
SET = RNG.uniform(-1, 1, (2, 9, 3)).astype(np.float32)


def started(name, x, **options):
  module = encoders.make(name, width=2, **options)
  variables = jax.jit(module.init)(jax.random.key(0), x)
  return module, jax.tree.map(lambda v: v + 0.1 * RNG.normal(size=v.shape).astype(v.dtype) ** 2, variables)


@pytest.mark.parametrize("name, key, shape, count", [
    ("pointnet", "points", (64, 3), 64 * 3 + 2 * 64**2 + 64 * 128 + 128 * 1024 + 2 * (3 * 64 + 128 + 1024)),
    ("voxel_resnet6", "voxels", (32, 32, 32, 1), 125 * 32 + 27 * (32 * 64 + 64**2 + 64 * 128 + 128**2)
     + 32 * 64 + 64 * 128 + 2 * (32 + 3 * 64 + 3 * 128))])
def test_parameter_counts(name, key, shape, count):
  rng, x = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  params = jax.eval_shape(encoders.make(name).init, rng, x)["params"]
  assert sum(v.size for v in jax.tree.leaves(params)) == count


@pytest.mark.parametrize("stem", ["small", "voxnet"])
def test_layers_side_by_side_are_a_convolution_in_three_dimensions(stem):
  module, variables = started("voxel_resnet6", GRID, stem=stem)
  out, seen = module.apply(variables, GRID, capture_intermediates=True, mutable="intermediates", method="features")
  k, stride = {"small": (3, 1), "voxnet": (5, 2)}[stem]
  kernel = np.asarray(variables["params"]["stem_conv"]["kernel"]).reshape(k, k, k, 1, 2)
  kernel = kernel.transpose(2, 0, 1, 3, 4)                                              # [layer, H, W, C, width]
  pad = np.pad(GRID[..., 0], ((0, 0), *[(k // 2, k // 2)] * 3))
  one = lambda x: np.stack([signal.correlate(x, kernel[..., 0, c], "valid", "direct") for c in range(2)], -1)
  want = np.stack([one(x) for x in pad])
  got = seen["intermediates"]["stem_conv"]["__call__"][0]
  want = want[:, ::stride, ::stride, ::stride]
  np.testing.assert_allclose(np.reshape(got, want.shape), want, rtol=1e-4, atol=1e-5)
  assert out["stage1"].shape[-1] == 4 and out["grid"].shape == out["stage2"].shape and out["pooled"].shape == (2, 8)
  np.testing.assert_allclose(out["grid"].mean((1, 2, 3)), out["pooled"], rtol=1e-5)


def test_pointnet_in_numpy():
  module, variables = started("pointnet", SET)
  x, params, stats = SET, variables["params"], variables["batch_stats"]
  for i in range(1, 6):
    norm, seen = params[f"layer{i}_norm"], stats[f"layer{i}_norm"]
    y = x @ np.asarray(params[f"layer{i}"]["kernel"])
    x = np.maximum((y - seen["mean"]) / np.sqrt(seen["var"] + 1e-5) * norm["scale"] + norm["bias"], 0)
  out = module.apply(variables, SET, method="features")
  np.testing.assert_allclose(out["tokens"], x, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(out["pooled"], x.max(1), rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(module.apply(variables, SET), out["pooled"])
  assert out["pooled"].shape == (2, 32) and out["stage4"].shape == (2, 9, 4)


@pytest.mark.parametrize("transform", [False, True])
def test_the_order_of_points_and_their_copies_mean_nothing(transform):
  module, variables = started("pointnet", SET, transform=transform)
  one, mixed, twice = (module.apply(variables, SET[:, i])
                       for i in (np.arange(9), RNG.permutation(9), np.arange(18) % 9))
  np.testing.assert_allclose(mixed, one, atol=1e-5)
  np.testing.assert_allclose(twice, one, atol=1e-5)
  assert np.abs(module.apply(variables, SET[:, ::2]) - one).max() > 1e-4


def test_the_input_transform_starts_as_the_identity():
  module = encoders.make("pointnet", width=2, transform=True)
  variables = jax.jit(module.init)(jax.random.key(0), SET)
  plain = {k: {n: v for n, v in tree.items() if "transform" not in n} for k, tree in variables.items()}
  without = encoders.make("pointnet", width=2).apply(plain, SET)
  np.testing.assert_allclose(module.apply(variables, SET), without, atol=1e-5)


def test_what_does_not_fit_is_named():
  for make, says in ((lambda: encoders.make("voxel_resnet6", stem="smal"), "did you mean small"),
                     (lambda: encoders.make("pointnet").init(jax.random.key(0), np.zeros((1, 4, 3), np.uint8)),
                      "points are uint8"),
                     (lambda: encoders.make("pointnet").init(jax.random.key(0), np.zeros((1, 4, 4), np.float32)),
                      "floats \\[B, M, 3\\] are needed"),
                     (lambda: encoders.make("voxel_resnet6").init(jax.random.key(0), GRID.astype(np.uint8)),
                      "to_float")):
    with pytest.raises(errors.UsageError, match=says):
      make()
