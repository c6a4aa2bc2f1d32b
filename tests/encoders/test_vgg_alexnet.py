"""VGG and AlexNet against torchvision's parameter counts and sizes of maps, dense layers left out."""

import jax
import jax.numpy as jnp
import pytest

from sslx import encoders

COUNTS = {"alexnet": 2_469_696, "vgg11": 9_220_480, "vgg13": 9_404_992, "vgg16": 14_714_688, "vgg19": 20_024_384,
          "vgg11_bn": 9_225_984, "vgg13_bn": 9_410_880, "vgg16_bn": 14_723_136, "vgg19_bn": 20_035_392}
SIDES = {"alexnet": (27, 13, 13, 13, 6), "vgg16_bn": (112, 56, 28, 14, 7)}


def shapes(module, *shape):
  key, x = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct(shape, jnp.float32)
  variables = jax.eval_shape(module.init, key, x)
  return variables, jax.eval_shape(lambda v, x: module.apply(v, x, method="features"), variables, x)


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_and_any_size(name):
  variables, out = shapes(encoders.make(name), 1, 224, 224, 3)
  assert sum(v.size for v in jax.tree.leaves(variables["params"])) == COUNTS[name]
  if name in SIDES:
    assert tuple(out[f"stage{i}"].shape[1] for i in range(1, 6)) == SIDES[name]
  assert out["pooled"].shape == (1, 256 if name == "alexnet" else 512)
  for side in (7, 8, 13, 32):
    _, out = shapes(encoders.make(name, **({"stem": "small"} if name == "alexnet" else {})), 2, side, side, 1)
    assert min(out["grid"].shape) >= 1 and out["grid"].shape[-1] == out["pooled"].shape[-1]


def test_options():
  variables, _ = shapes(encoders.make("alexnet", norm=True), 1, 64, 64, 3)
  assert set(variables) == {"params", "batch_stats"}
  assert shapes(encoders.make("vgg11", width=8), 1, 32, 32, 3)[1]["pooled"].shape == (1, 64)
