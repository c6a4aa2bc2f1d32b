"""What holds for every recipe, found by itself."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import errors
from sslx.augment import recipes

X = np.random.default_rng(0).integers(0, 256, (8, 12, 10, 3), np.uint8)
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
KEY = jax.random.key(1)


@pytest.mark.parametrize("name", recipes.names())
def test_recipe(name):
  aug = jax.jit(recipes.make(name), compiler_options=QUICK)
  out = aug(KEY, X)
  assert out.shape == X.shape and out.dtype == jnp.float32 and out.min() >= -1e-6 and out.max() <= 1 + 1e-6
  assert np.array_equal(out, aug(KEY, X)) and not np.array_equal(out, aug(jax.random.key(2), X))
  np.testing.assert_allclose(aug(KEY, X[:1].astype(np.float32) / 255), out[:1], atol=2e-6)   # floats; the batch's draws
  alike = np.asarray(aug(KEY, np.repeat(X[:1], 8, 0)))
  assert len(np.unique(alike.reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize("name", recipes.names())
def test_other_channel_counts(name):
  x = np.repeat(X[:2, ..., :1], 5, -1)
  x[..., -1] = 0
  out = jax.jit(recipes.make(name), compiler_options=QUICK)(KEY, x)
  assert out.shape == x.shape and np.isfinite(out).all()
  np.testing.assert_allclose(out[..., :1], out[..., 1:2], atol=1e-6)                         # channels alike stay alike
  key = jax.eval_shape(lambda: jax.random.key(0))
  assert jax.eval_shape(recipes.make(name), key, x[..., :1]).shape == x[..., :1].shape


@pytest.mark.parametrize("name", recipes.names())
def test_float64_stays(name):
  with jax.enable_x64(True):
    spec = jax.ShapeDtypeStruct
    aug = recipes.make(name)
    for dtype in (jnp.float64, jnp.uint8):
      key = jax.eval_shape(lambda: jax.random.key(0))
      assert jax.eval_shape(aug, key, spec((2, 8, 8, 3), dtype)).dtype == jnp.float64
    assert jax.eval_shape(aug, key, spec((2, 8, 8, 3), jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize("name", recipes.names())
def test_options_make_the_recipe(name):
  options = recipes.options(name)
  factory = recipes.RECIPES[name]
  assert all(p.kind == p.KEYWORD_ONLY for p in inspect.signature(factory).parameters.values()) and factory.__doc__
  assert options.name == name and len(options) == 1 + len(inspect.signature(factory).parameters)
  key, x = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.uint8)
  assert jax.eval_shape(recipes.make(**options), key, x).shape == x.shape


def test_simclr_size_and_switches():
  aug = jax.jit(recipes.make("simclr", size=6, scale=(1.0, 1.0), strength=0.0, grayscale_p=0.0, blur_p=0.0))
  out = aug(KEY, np.full((2, 12, 10, 3), 51, np.uint8))
  assert out.shape == (2, 6, 6, 3)
  np.testing.assert_allclose(out, 0.2, atol=1e-6)


def test_errors_name_the_nearest():
  with pytest.raises(errors.UsageError, match="did you mean simclr"):
    recipes.make("simclar")
  with pytest.raises(errors.UsageError, match="did you mean strength"):
    recipes.make("simclr", strenght=0.5)
  with pytest.raises(errors.UsageError, match="did you mean strength"):
    recipes.options("simclr", strenght=0.5)


def test_dotted_name(tmp_path, monkeypatch):
  (tmp_path / "my_recipe_for_test.py").write_text("def make(*, by=0.5):\n  return lambda key, image: image * by\n")
  monkeypatch.syspath_prepend(tmp_path)
  assert recipes.options("my_recipe_for_test.make").by == 0.5
  assert recipes.make("my_recipe_for_test.make", by=0.25)(None, 2.0) == 0.5
