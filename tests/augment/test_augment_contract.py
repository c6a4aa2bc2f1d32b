"""What holds for every public function of sslx.augment, found by itself; options without a default are given below."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import augment

PUBLIC = {n: f for n, f in vars(augment).items() if inspect.isfunction(f) and not n.startswith("_")}
RANDOM = [n for n, f in PUBLIC.items() if next(iter(inspect.signature(f).parameters)) == "key"]
FIXED = [n for n in PUBLIC if n not in RANDOM]
REQUIRED = {"kernel_size": 3, "factor": 0.7, "delta": 0.2, "sigma": 0.9, "angle": 20.0, "size": (5, 4),
            "box": (1, 2, 4, 5), "mean": (0.5,), "std": (0.5,), "threshold": 0.5, "bits": 3}
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
X = np.random.default_rng(0).random((8, 7, 8, 3), np.float32)


def bound(name):
  """The function with every option that has no default."""
  parameters = inspect.signature(PUBLIC[name]).parameters
  need = [p.name for p in parameters.values() if p.default is p.empty and p.name not in ("key", "image")]
  return functools.partial(PUBLIC[name], **{n: REQUIRED[n] for n in need}, **({"p": 0.5} if "p" in parameters else {}))


def test_all():
  assert sorted(augment.__all__) == augment.__all__ == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_signature(name):
  parameters = list(inspect.signature(PUBLIC[name]).parameters.values())
  assert PUBLIC[name].__doc__
  assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters)
  if name in RANDOM:
    assert [p.name for p in parameters[:2]] == ["key", "image"]
    assert all(p.kind == p.KEYWORD_ONLY for p in parameters[2:])
  else:
    assert parameters[0].name == "image" and not name.startswith("random")


@pytest.mark.parametrize("name", RANDOM)
def test_random(name):
  f, key = bound(name), jax.random.key(7)
  jitted = jax.jit(f, compiler_options=QUICK)
  out = jitted(key, X)
  assert out.shape == X.shape and out.dtype == X.dtype
  assert out.min() >= -1e-6 and out.max() <= 1 + 1e-6
  assert np.array_equal(out, jitted(key, X)) and not np.array_equal(out, jitted(jax.random.key(8), X))
  prefixes = jax.jit(lambda key, x: (f(key, x[:1]), f(key, x[:3])), compiler_options=QUICK)(key, X)
  for part in prefixes:                                              # the draws are a prefix of those of a larger batch
    np.testing.assert_allclose(part, out[:len(part)], atol=5e-7)
  alike = np.asarray(jitted(key, np.repeat(X[:1], 8, 0)))
  assert len(np.unique(alike.reshape(8, -1), axis=0)) > 1            # each image its own draw


@pytest.mark.parametrize("name", FIXED)
def test_one_image_is_one_of_the_batch(name):
  f = bound(name)
  out, one, more = jax.jit(lambda x: (f(x), f(x[2]), f(x[None])), compiler_options=QUICK)(X)
  np.testing.assert_allclose(one, out[2], atol=1e-6)
  np.testing.assert_allclose(more[0], out, atol=1e-6)


@pytest.mark.parametrize("name", PUBLIC)
def test_keeps_the_float_type(name):
  def of(dtype):
    keys = (jax.eval_shape(lambda: jax.random.key(0)),) if name in RANDOM else ()
    return jax.eval_shape(bound(name), *keys, jax.ShapeDtypeStruct(X.shape, dtype)).dtype
  assert of(jnp.float32) == jnp.float32 and of(jnp.bfloat16) == jnp.bfloat16
  with jax.enable_x64(True):
    assert of(jnp.float64) == jnp.float64
