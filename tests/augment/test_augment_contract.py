"""What holds for every public function of sslx.augment, found by itself; options without a default are given below."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import FUSED
from jax.sharding import NamedSharding, PartitionSpec

from sslx import augment

PUBLIC = {n: f for n, f in vars(augment).items() if inspect.isfunction(f) and not n.startswith("_")}
RANDOM = [n for n, f in PUBLIC.items() if next(iter(inspect.signature(f).parameters)) == "key"]
FIXED = [n for n in PUBLIC if n not in RANDOM]
COUPLED = ["random_cutmix", "random_mixup"]                          # images of a batch meet: no prefix property
SLOW = {"rand_augment", "trivial_augment", "color_jitter"}           # the recipe's tests see to them in the fast suite
STEPS = ["equalize", "posterize", "random_equalize", "random_posterize"]                  # flat but for jumps
PMAPPED = ["adjust_contrast", "crop_resize", "equalize", "random_gaussian_blur", "random_saturation"]   # run, not built
X = np.random.default_rng(0).random((8, 7, 8, 3), np.float32)
X[6], X[7] = 0, np.round(X[7])                                       # a black image, and one of pure colours: ties
CORNERS = np.array([(0.0, 0.0), (8.0, 0.0), (8.0, 7.0), (0.0, 7.0)])
REQUIRED = {"kernel_size": 3, "factor": 0.7, "delta": 0.2, "sigma": 0.9, "angle": 20.0, "size": (5, 4), "k": 1,
            "box": (1, 2, 4, 5), "mean": (0.5,), "std": (0.5,), "threshold": 0.5, "bits": 3, "top": 3, "left": 6,
            "other": X[0], "weight": 0.3, "start": CORNERS, "end": CORNERS * 0.7 + 1, "displacement": X[0, ..., :2]}
QUICK = {"xla_backend_optimization_level": 0, **FUSED}               # a tenth of the time to compile random draws
MESH = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
ONE_EACH, ALL = PartitionSpec("d"), PartitionSpec()


def bound(name):
  """(the function with every option that has no default, a batch it takes)."""
  parameters = inspect.signature(PUBLIC[name]).parameters
  need = [p.name for p in parameters.values() if p.default is p.empty and p.name not in ("key", "image")]
  options = {n: REQUIRED[n] for n in need} | ({"p": 0.5} if "p" in parameters else {})
  return functools.partial(PUBLIC[name], **options), X[:, :, :7] if "rot90" in name else X


def gradient(f, x):
  """The gradient, by a batch, of its views times unlike numbers."""
  def value(x):
    out = jax.tree.leaves(f(x))[0]
    return jnp.sum(out * jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))
  return jax.grad(value)(x)


def check_gradient(name, slope):
  """Finite everywhere, and not zero where the function is not made of steps."""
  assert np.isfinite(slope).all() and (name in STEPS or np.abs(slope).max() > 0)


def same(ours, theirs, *, atol=0.0):
  """Two trees of arrays are equal, by default to the bit."""
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


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


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in RANDOM])
def test_random(name):
  f, x = bound(name)
  keys = jax.random.split(jax.random.key(7))
  twin = {name.removeprefix("random_"), name.replace("random_", "adjust_")} & set(FIXED)    # its gradient is seen to
  slopes = lambda key, x: () if twin else gradient(lambda x: f(key, x), x)
  run = jax.jit(lambda key, x: (f(key, x), f(key, x[:1]), slopes(key, x)), compiler_options=QUICK)
  (out, first, slope), (other, _, _) = (run(key, x) for key in keys)
  views, alike = jax.tree.leaves(out)[0], run(keys[0], np.repeat(x[:1], 8, 0))[0]
  assert views.shape == x.shape and views.dtype == x.dtype
  assert views.min() >= -1e-6 and views.max() <= 1 + 1e-6
  same(out, run(keys[0], x)[0])
  assert not np.array_equal(views, jax.tree.leaves(other)[0])
  if not twin:
    check_gradient(name, slope)
  if name not in COUPLED:
    np.testing.assert_allclose(first, out[:1], atol=5e-7)            # the draws do not depend on the batch size
    assert len(np.unique(alike.reshape(8, -1), axis=0)) > 1          # each image its own draw

  def spread(keys, x):                                              # one batch on eight devices, or two on each by vmap
    shards = jax.shard_map(jax.vmap(f, (0, None)), mesh=MESH, in_specs=(ONE_EACH, ALL), out_specs=ONE_EACH)
    wide = jax.lax.with_sharding_constraint(x, NamedSharding(MESH, ONE_EACH))
    return f(keys[0], wide), jax.tree.map(lambda v: v[-2:], shards(keys[jnp.arange(16) % 2], x))
  eight, shards = jax.jit(spread, compiler_options=QUICK)(keys, x)
  both = jax.tree.map(lambda *v: jnp.stack(v), out, other)
  same(eight, out)
  same(shards, both, atol=5e-7)
  twice = np.stack([x, x])
  pmapped = jax.pmap(f, devices=jax.devices()[:2]).lower(keys, twice)
  if name in PMAPPED:
    same(pmapped.compile(compiler_options=QUICK)(keys, twice), both)


@pytest.mark.parametrize("name", FIXED)
def test_fixed(name):
  """One image is one of the batch; vmap, shard_map, pmap and eight devices change nothing; gradients are finite."""
  f, x = bound(name)
  run = jax.jit(lambda x: (f(x), f(x[2]), f(x[None]), gradient(f, x)), compiler_options=QUICK)
  out, one, more, slope = run(x)
  same((one, more[0]), (out[2], out), atol=1e-6)
  check_gradient(name, slope)
  shards = jax.shard_map(jax.vmap(f), mesh=MESH, in_specs=ONE_EACH, out_specs=ONE_EACH)
  wide = jax.device_put(x, NamedSharding(MESH, ONE_EACH))
  eight, mapped = jax.jit(lambda x: (f(x), shards(x)), compiler_options=QUICK)(wide)
  same(eight, out)
  same(mapped, out, atol=1e-6)
  pmapped = jax.pmap(f).lower(x[:, None])
  if name in PMAPPED:
    same(pmapped.compile(compiler_options=QUICK)(x[:, None]), out[:, None])


@pytest.mark.parametrize("name", PUBLIC)
def test_keeps_the_float_type(name):
  f, x = bound(name)
  def of(dtype):
    keys = (jax.eval_shape(lambda: jax.random.key(0)),) if name in RANDOM else ()
    return jax.tree.leaves(jax.eval_shape(f, *keys, jax.ShapeDtypeStruct(x.shape, dtype)))[0].dtype
  assert of(jnp.float32) == jnp.float32 and of(jnp.bfloat16) == jnp.bfloat16
  with jax.enable_x64(True):
    assert of(jnp.float64) == jnp.float64
