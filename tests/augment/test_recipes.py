"""What holds for every recipe, found by itself."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import FUSED
from jax.sharding import NamedSharding, PartitionSpec

from sslx import errors
from sslx.augment import recipes

X = np.random.default_rng(0).integers(0, 256, (8, 12, 10, 3), np.uint8)
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
KEY = jax.random.key(1)
FEW = ("simclr", "dino", "rand_augment", "handwriting_crops")        # one of each kind in the fast suite
few = lambda *names: pytest.mark.parametrize("name", [n if n in names else pytest.param(n, marks=pytest.mark.slow)
                                                     for n in recipes.names()])
compiled = few(*FEW)


def arrays(out):
  """What an aug gives as a tuple of [B, V, h, w, C]."""
  return out if isinstance(out, tuple) else (out[:, None],)


def shapes(aug, shape, dtype=jnp.uint8):
  key, x = jax.eval_shape(lambda: KEY), jax.ShapeDtypeStruct(shape, dtype)
  return [x.shape for x in jax.eval_shape(lambda key, x: arrays(aug(key, x)), key, x)]


@compiled
def test_recipe(name):
  aug = jax.jit(lambda key, x: arrays(recipes.make(name)(key, x)), compiler_options=QUICK)
  every, again, other = aug(KEY, X), aug(KEY, X), aug(jax.random.key(2), X)
  few = aug(KEY, X[:1].astype(np.float32) / 255)                                             # floats; the batch's draws
  alike = aug(KEY, np.repeat(X[:1], 8, 0))
  assert every[0].shape[2:] == X.shape[1:]
  for out, same, changed, first, equals in zip(every, again, other, few, alike, strict=True):
    assert out.ndim == 5 and len(out) == len(X) and out.shape[-1] == 3 and out.dtype == jnp.float32
    assert out.min() >= -1e-6 and out.max() <= 1 + 1e-6
    assert np.array_equal(out, same) and not np.array_equal(out, changed)
    np.testing.assert_allclose(first, out[:1], atol=2e-6)
    drawn = len(np.unique(np.asarray(equals).reshape(8 * out.shape[1], -1), axis=0))
    assert drawn >= 7 * out.shape[1]                                 # crops in whole pixels of small images may meet
  assert [x.shape[2] for x in every] == sorted({x.shape[2] for x in every}, reverse=True)    # the large ones first


@few("simclr", "handwriting_crops")                                  # the operations' own tests see to the others
def test_devices_do_not_matter(name):
  """The same bits on one device and on eight; batches of every view stay where their images are."""
  aug = jax.jit(lambda key, x: recipes.views(recipes.make(name), key, x), compiler_options=FUSED)
  spread = NamedSharding(jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,)), PartitionSpec("d"))
  for one, eight in zip(aug(KEY, X), aug(KEY, jax.device_put(X, spread)), strict=True):
    assert one.shape[0] == len(X) and one.shape[1] >= 2
    assert np.array_equal(one, eight) and eight.sharding.is_equivalent_to(spread, eight.ndim)


@compiled
def test_other_channel_counts(name):
  aug = lambda key, x: arrays(recipes.make(name)(key, x))
  x = np.repeat(X[:2, ..., :1], 5, -1)
  x[..., -1] = 0
  for out in jax.jit(aug, compiler_options=QUICK)(KEY, x):
    assert out.shape[-1] == 5 and np.isfinite(out).all()
    np.testing.assert_allclose(out[..., :1], out[..., 1:2], atol=1e-6)                       # channels alike stay alike
  like = shapes(aug, X.shape)
  for channels in (1, 4):
    assert shapes(aug, (*X.shape[:3], channels)) == [(*s[:4], channels) for s in like]


@pytest.mark.parametrize("name", recipes.names())
def test_float64_stays(name):
  with jax.enable_x64(True):
    spec = jax.ShapeDtypeStruct
    def of(dtype):
      return jax.tree.map(lambda x: x.dtype, jax.eval_shape(recipes.make(name), key, spec((2, 8, 8, 3), dtype)))
    key = jax.eval_shape(lambda: jax.random.key(0))
    for dtype in (jnp.float64, jnp.uint8):
      assert set(jax.tree.leaves(of(dtype))) == {jnp.dtype("float64")}
    assert set(jax.tree.leaves(of(jnp.float32))) == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", recipes.names())
def test_options_make_the_recipe(name):
  options = recipes.options(name)
  factory = recipes.RECIPES[name]
  assert all(p.kind == p.KEYWORD_ONLY for p in inspect.signature(factory).parameters.values()) and factory.__doc__
  assert options.name == name and len(options) == 1 + len(inspect.signature(factory).parameters)
  assert shapes(recipes.make(**options), X.shape) == shapes(recipes.make(name), X.shape)
  if "size" in options:
    large = shapes(recipes.make(name, size=32), X.shape)
    assert large[0][2:] == (32, 32, 3) and all(s[2:] == (12, 12, 3) for s in large[1:])
  if "small" in options:
    assert [s[1:] for s in shapes(recipes.make(name, small=3, small_size=6), X.shape)[1:]] == [(3, 6, 6, 3)]
    assert len(shapes(recipes.make(name, small=0), X.shape)) == 1
  if "interpolation" in options:
    with pytest.raises(errors.UsageError, match="did you mean bicubic"):
      recipes.make(name, interpolation="cubic")
  if "jitter" in options:
    with pytest.raises(errors.UsageError, match="jitter.*4 numbers"):
      recipes.make(name, jitter=(0.4,))
  if isinstance(options.get("blur_p"), tuple):
    with pytest.raises(errors.UsageError, match="blur_p.*each of the 2 views"):
      recipes.make(name, blur_p=(0.4, 0.1, 0.1))


@pytest.mark.parametrize("name", ["byol", "moco_v3", "barlow", "dino"])
def test_unlike_views(name):
  """The shares of views that are blurred and solarized, on flat images with one bright point and nothing else to do."""
  x = np.full((400, 9, 9, 1), 0.1, np.float32)
  x[:, 4, 4] = 0.4
  aug = recipes.make(name, scale=(1.0, 1.0), flip_p=0.0, jitter_p=0.0, **({"small": 4} if name == "dino" else {}))
  large, *small = jax.jit(aug, compiler_options=QUICK)(KEY, x)
  solarized = lambda x: np.asarray(x.min((2, 3, 4)) > 0.5)
  blurred = np.asarray(large[:, :, 4, 4, 0] < 0.395)
  np.testing.assert_allclose(blurred.mean(0), (1.0, 0.1), atol=0.1)
  assert not solarized(large).any()
  large, *small = jax.jit(aug, compiler_options=QUICK)(KEY, 1 - x)
  np.testing.assert_allclose((np.asarray(large).max((2, 3, 4)) < 0.5).mean(0), (0.0, 0.2), atol=0.06)
  for views in small:
    assert (np.asarray(views) > 0.5).all()


def test_crops_cover_their_share():
  """On a ramp from left to right the span of a view tells the width of its crop."""
  x = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[:, None], (400, 64, 64, 1))
  plain = {"flip_p": 0.0, "jitter_p": 0.0, "blur_p": 0.0}
  for name, large, small in (("swav", (0.14, 1.0), (0.05, 0.14)), ("dino", (0.4, 1.0), (0.05, 0.4))):
    aug = recipes.make(name, **plain, **({"small_blur_p": 0.0, "solarize_p": 0.0} if name == "dino" else {}))
    for views, (low, high) in zip(jax.jit(aug, compiler_options=QUICK)(KEY, x), (large, small), strict=True):
      span = np.ptp(np.asarray(views), (2, 3, 4))                                            # the crop's height, nearly
      assert np.sqrt(low * 3 / 4) * 0.7 < span.min() and span.max() < min(1.0, np.sqrt(high * 4 / 3)) * 1.05
      assert abs((span**2).mean() / np.mean((low, high)) - 1) < 0.25


def test_weak_comes_before_strong():
  """Of a flat red image the weak view keeps the colour; the strong one does not."""
  x = np.broadcast_to(np.array([0.8, 0.2, 0.1], np.float32), (64, 6, 6, 3))
  out, = jax.jit(recipes.make("weak_strong"), compiler_options=QUICK)(KEY, x)
  assert out.shape == (64, 2, 6, 6, 3)
  moved = np.abs(np.asarray(out) - x[:, None]).max((2, 3, 4)) > 1e-3
  assert not moved[:, 0].any() and moved[:, 1].mean() > 0.7


def test_the_second_of_fixmatch_is_distorted():
  """A flat image stays flat when it is moved; the strong view has a grey square of half the side, cut at the border."""
  x = np.full((64, 8, 8, 3), 0.2, np.float32)
  plain, = jax.jit(recipes.make("fixmatch", operations=("identity",)), compiler_options=QUICK)(KEY, x)
  np.testing.assert_allclose(plain[:, 0], 0.2, atol=1e-6)
  grey = np.isclose(plain[:, 1, ..., 0], 0.5).sum((1, 2))
  assert grey.min() >= 4 and grey.max() == 16
  darker, = jax.jit(recipes.make("fixmatch", operations=("brightness",), cutout=0.0), compiler_options=QUICK)(KEY, x)
  np.testing.assert_allclose(darker[:, 0], 0.2, atol=1e-6)
  assert (np.abs(darker[:, 1] - 0.2).max((1, 2, 3)) > 1e-3).mean() > 0.9


def test_interpolation_reaches_the_crop():
  plain = {"flip_p": 0.0, "size": 20}
  seen = [np.asarray(recipes.make("mae", interpolation=m, **plain)(KEY, X)) for m in ("bilinear", "bicubic", "nearest")]
  assert all(np.abs(a - b).max() > 1e-2 for a, b in zip(seen, seen[1:] + seen[:1], strict=True))


def test_probabilities_of_unlike_views():
  """A tuple holds one a view where views are unlike; elsewhere it is refused."""
  out, = recipes.make("byol", scale=(1.0, 1.0), jitter_p=0.0, grayscale_p=(1.0, 0.0), blur_p=0.0, solarize_p=0.0,
                      flip_p=0.0)(KEY, X)
  grey = np.ptp(np.asarray(out), -1).max((2, 3)) < 1e-6
  assert grey[:, 0].all() and not grey[:, 1].any()
  with pytest.raises(errors.UsageError, match="jitter_p.*one number"):
    recipes.make("simclr", jitter_p=(0.8, 0.5))


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
