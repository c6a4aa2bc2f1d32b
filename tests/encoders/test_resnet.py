"""ResNets against torchvision's parameter counts and against a forward pass in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders
from sslx.encoders import resnet

COUNTS = {  # torchvision without its classifier: (parameters, running means and variances)
  "resnet18": (11_176_512, 9_600), "resnet34": (21_284_672, 17_024), "resnet50": (23_508_032, 53_120),
  "resnet101": (42_500_160, 105_344), "resnet152": (58_143_808, 151_424)}
RNG = np.random.default_rng(0)
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
size = lambda tree: sum(v.size for v in jax.tree.leaves(tree))


def shapes(module, *shape, **kw):
  """(variables, features) as shapes, nothing computed."""
  key, x = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct(shape, jnp.float32)
  variables = jax.eval_shape(module.init, key, x)
  return variables, jax.eval_shape(lambda v, x: module.apply(v, x, method="features", **kw), variables, x)


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
  variables, features = shapes(encoders.make(name), 1, 32, 32, 3)
  assert (size(variables["params"]), size(variables["batch_stats"])) == COUNTS[name]
  assert features["pooled"].shape == (1, 512 if name in ("resnet18", "resnet34") else 2048)


@pytest.mark.parametrize("stem, sides", [("imagenet", (17, 9, 5, 3)), ("small", (65, 33, 17, 9))])
def test_feature_shapes(stem, sides):
  _, out = shapes(encoders.make("resnet50", width=8, stem=stem), 2, 65, 65, 1)
  assert set(out) == {"stage1", "stage2", "stage3", "stage4", "grid", "pooled"}
  for i, side in enumerate(sides):
    assert out[f"stage{i + 1}"].shape == (2, side, side, 32 * 2**i)
  assert out["grid"].shape == out["stage4"].shape and out["pooled"].shape == (2, 256)


def conv(x, kernel, stride, pad):
  """Correlation of x [B, H, W, C] with kernel [k, k, C, D], the border padded by zeros on both sides alike."""
  x, k = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))), kernel.shape[0]
  h, w = ((n - k) // stride + 1 for n in x.shape[1:3])
  return sum(x[:, i:i + stride * h:stride, j:j + stride * w:stride] @ kernel[i, j] for i in range(k) for j in range(k))


def forward(v, x, stem, bottleneck):
  """The network of one block a stage, two stages, in evaluation mode."""
  p, s = v["params"], v["batch_stats"]
  def norm(x, n):
    return (x - s[n]["mean"]) / np.sqrt(s[n]["var"] + 1e-5) * p[n]["scale"] + p[n]["bias"]
  layer = lambda x, n, stride, pad: norm(conv(x, p[n]["kernel"], stride, pad), n.replace("conv", "norm"))
  relu = lambda x: np.maximum(x, 0)
  x = (x - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
  if stem == "small":
    x = relu(layer(x, "stem_conv", 1, 1))
  else:
    x = np.pad(relu(layer(x, "stem_conv", 2, 3)), ((0, 0), (1, 1), (1, 1), (0, 0)))       # relu: 0 is below all
    h, w = ((n - 3) // 2 + 1 for n in x.shape[1:3])
    x = np.max([x[:, i:i + 2 * h:2, j:j + 2 * w:2] for i in range(3) for j in range(3)], 0)
  for stage in (1, 2):
    n = f"stage{stage}_block1_"
    if bottleneck:
      y = relu(layer(x, n + "conv1", 1, 0))
      y = layer(relu(layer(y, n + "conv2", stage, 1)), n + "conv3", 1, 0)
    else:
      y = layer(relu(layer(x, n + "conv1", stage, 1)), n + "conv2", 1, 1)
    x = relu(y + (layer(x, n + "skip_conv", stage, 0) if n + "skip_conv" in p else x))
  return x


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_forward(stem, bottleneck):
  module = resnet.make(((1, 1), bottleneck), width=4, stem=stem, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
  x = RNG.random((2, 16, 13, 3), np.float32)                    # even and odd sides after the stem: padding shows
  spec = jax.eval_shape(module.init, jax.eval_shape(lambda: jax.random.key(0)), x)
  v = jax.tree.map(lambda s: RNG.uniform(0.5, 1.5, s.shape).astype(np.float32), spec)
  v["params"] = jax.tree.map(lambda a: RNG.normal(0, 0.3, a.shape).astype(np.float32), v["params"])
  out = jax.jit(lambda v, x: module.apply(v, x, method="features"))(v, x)
  want = forward(jax.tree.map(lambda a: a.astype(float), v), x.astype(float), stem, bottleneck)
  np.testing.assert_allclose(out["grid"], want, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(out["pooled"], want.mean((1, 2)), rtol=1e-4, atol=1e-5)


SMALL = {"width": 4, "stem": "small"}


def test_training_updates_statistics_of_the_global_batch():
  x = RNG.random((4, 5, 5, 3), np.float32)
  build = lambda **kw: resnet.make(((1,), False), **SMALL, **kw)
  v = jax.jit(build().init, compiler_options=QUICK)(jax.random.key(0), x)
  train = lambda module: lambda x: module.apply(v, x, train=True, mutable=["batch_stats"])
  y, new = jax.jit(train(build()))(x)
  h = conv((x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], np.asarray(v["params"]["stem_conv"]["kernel"]), 1, 1)
  stats = new["batch_stats"]["stem_norm"]
  np.testing.assert_allclose(stats["mean"], 0.1 * h.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * h.var((0, 1, 2)), rtol=1e-4)
  parts = jax.jit(jax.vmap(train(build(axis_name="batch")), axis_name="batch"))(x.reshape(2, 2, 5, 5, 3))
  np.testing.assert_allclose(parts[0].reshape(y.shape), y, rtol=1e-4, atol=1e-5)
  for a, b in zip(jax.tree.leaves(parts[1]), jax.tree.leaves(new), strict=True):
    np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5)


def test_zero_init_starts_every_branch_at_zero():
  module = resnet.make(((1, 1), False), **SMALL, zero_init=True)
  params = jax.jit(module.init, compiler_options=QUICK)(jax.random.key(0), np.zeros((1, 4, 4, 3)))["params"]
  zero = sorted(n for n, p in params.items() if "scale" in p and not p["scale"].any())
  assert zero == ["stage1_block1_norm2", "stage2_block1_norm2"]


def test_kernels_start_as_he_normal_over_outputs():
  module = resnet.make(((1,), False), width=64)
  v = jax.jit(module.init, compiler_options=QUICK)(jax.random.key(0), np.zeros((1, 8, 8, 3)))
  kernel = np.asarray(v["params"]["stem_conv"]["kernel"])
  assert abs(kernel.std() / np.sqrt(2 / (49 * 64)) - 1) < 0.03


def test_bfloat16_keeps_parameters_and_statistics_wide():
  x = RNG.random((2, 6, 6, 3), np.float32)
  module = resnet.make(((1, 1), False), **SMALL, dtype="bfloat16")
  v = jax.jit(module.init, compiler_options=QUICK)(jax.random.key(0), x)
  y, new = jax.jit(lambda x: module.apply(v, x, train=True, mutable=["batch_stats"]))(x)
  wide = resnet.make(((1, 1), False), **SMALL)
  full, _ = jax.jit(lambda x: wide.apply(v, x, train=True, mutable=["batch_stats"]))(x)
  assert {a.dtype for a in jax.tree.leaves((v, new))} == {jnp.dtype("float32")} and y.dtype == jnp.bfloat16
  np.testing.assert_allclose(y.astype(float), full, atol=0.1)
  assert np.abs(y.astype(float) - full).max() > 1e-4                              # it did compute in bfloat16


def test_wide_bottlenecks_and_a_border_of_two():
  variables, features = shapes(encoders.make("wide_resnet50_2"), 1, 32, 32, 3)
  assert (size(variables["params"]), size(variables["batch_stats"])) == (66_834_240, 68_224)
  assert features["pooled"].shape == (1, 2048)
  _, out = shapes(encoders.make("resnet18", width=4, stem="small_pad2"), 1, 16, 16, 3)
  assert out["stage1"].shape == (1, 18, 18, 4)
