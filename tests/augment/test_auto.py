"""RandAugment and TrivialAugment: the operation that is drawn is the one it names, at the amount of the papers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import FUSED
from jax.sharding import NamedSharding, PartitionSpec

from sslx import augment, errors
from sslx.augment import auto

QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
X = np.random.default_rng(0).random((8, 10, 12, 3), np.float32)
H, W = 10, 12
KEY = jax.random.key(1)


def largest(shear, right, down, rotate, blend, bits):
  """{operation: f(image, sign)} at the largest magnitude, by the deterministic functions."""
  slant = np.degrees(np.arctan(shear))
  factor = lambda f: lambda x, sign: f(x, 1 + sign * blend)
  return {
    "identity": lambda x, sign: x,
    "shear_x": lambda x, sign: augment.affine(x, 0.0, (-sign * shear * H / 2, 0.0), 1.0, (sign * slant, 0.0)),
    "shear_y": lambda x, sign: augment.affine(x, 0.0, (0.0, -sign * shear * W / 2), 1.0, (0.0, sign * slant)),
    "translate_x": lambda x, sign: augment.affine(x, 0.0, (sign * right, 0.0)),
    "translate_y": lambda x, sign: augment.affine(x, 0.0, (0.0, sign * down)),
    "rotate": lambda x, sign: augment.rotate(x, sign * rotate),
    "brightness": factor(augment.adjust_brightness), "saturation": factor(augment.adjust_saturation),
    "contrast": factor(augment.adjust_contrast), "sharpness": factor(augment.adjust_sharpness),
    "posterize": lambda x, sign: augment.posterize(x, 8 - bits), "solarize": lambda x, sign: augment.solarize(x, 0.0),
    "autocontrast": lambda x, sign: augment.autocontrast(x), "equalize": lambda x, sign: augment.equalize(x)}


def test_rand_augment_is_the_operation_it_names():
  """At magnitude 30, each operation alone, with both signs among eight images."""
  want = largest(0.3, 5, 4, 30.0, 0.9, 4)                            # 150/331 of 12 and 10 pixels, whole ones

  def run(key, x):
    ours = {n: auto.rand_augment(key, x, num=1, magnitude=30, operations=(n,)) for n in auto.OPERATIONS}
    return ours, {n: jnp.stack([f(x, 1.0), f(x, -1.0)]) for n, f in want.items()}
  ours, both = jax.jit(run, compiler_options=QUICK)(KEY, X)
  assert list(ours) == list(both)
  for name, (plus, minus) in both.items():
    far = [np.abs(ours[name] - sign).max((1, 2, 3)) for sign in (plus, minus)]
    np.testing.assert_allclose(np.minimum(*far), 0, atol=1e-5, err_msg=name)
    signed = not np.array_equal(plus, minus)
    assert signed == (name in (*auto.GEOMETRY, *auto.BLENDS))
    assert not signed or (far[0] < far[1]).any() and (far[1] < far[0]).any()


def test_amounts_are_those_of_the_papers():
  rand = auto._amounts(shear=0.3, translate=(150 / 331 * 331, 150 / 331 * 224), rotate=30.0, blend=0.9, bits=4)
  at = lambda table, bin: dict(zip(auto.OPERATIONS, table[:, bin].round(6).tolist(), strict=True))
  flat = {"identity": 0, "autocontrast": 0, "equalize": 0}
  blends = lambda amount: dict.fromkeys(auto.BLENDS, amount)
  assert at(rand, 9) == flat | blends(0.27) | {"shear_x": 0.09, "shear_y": 0.09, "translate_x": 45, "translate_y": 30,
                                               "rotate": 9, "posterize": 7, "solarize": 0.7}
  assert at(rand, 0) == flat | blends(0) | dict.fromkeys(auto.GEOMETRY, 0) | {"posterize": 8, "solarize": 1}
  trivial = auto._amounts(shear=0.99, translate=(32, 32), rotate=135.0, blend=0.99, bits=6)
  assert at(trivial, 30) == flat | blends(0.99) | {"shear_x": 0.99, "shear_y": 0.99, "translate_x": 32,
                                                   "translate_y": 32, "rotate": 135, "posterize": 2, "solarize": 0}


def test_trivial_augment_draws_the_magnitude():
  """Flat images, made brighter or darker: every one of the 31 magnitudes either way, by the image's own draw."""
  x = np.full((4000, 1, 1, 1), 0.4, np.float32)
  draw = jax.jit(lambda key, x: auto.trivial_augment(key, x, operations=("brightness",)), compiler_options=QUICK)
  change = np.asarray(draw(KEY, x)).ravel() / 0.4 - 1
  bins, count = np.unique((change / 0.99 * 30).round().astype(int), return_counts=True)
  np.testing.assert_allclose(change / 0.033, (change / 0.033).round(), atol=1e-3)
  assert bins.tolist() == list(range(-30, 31))
  np.testing.assert_allclose(count[bins != 0], 4000 / 62, atol=35)
  assert not np.array_equal(change, np.asarray(draw(jax.random.key(2), x)).ravel() / 0.4 - 1)


def test_operations_are_drawn_alike_and_more_often_if_named_twice():
  x = np.full((4000, 1, 1, 1), 0.4, np.float32)
  operations = ("identity", "solarize", "posterize", "solarize")     # at magnitude 30: 0.4, 0.6, 0.375
  run = functools.partial(auto.rand_augment, magnitude=30, num=1, operations=operations)
  out = np.asarray(jax.jit(run, compiler_options=QUICK)(KEY, x)).ravel()
  shares = [(np.abs(out - value) < 1e-3).mean() for value in (0.4, 0.6, 0.375)]
  np.testing.assert_allclose(shares, (0.25, 0.5, 0.25), atol=0.03)


def test_num():
  """None at all leaves the image; three solarizations in a row are one."""
  assert auto.rand_augment(KEY, X, num=0) is X
  out = jax.jit(lambda x: auto.rand_augment(KEY, x, num=3, magnitude=30, operations=("solarize",)))(X)
  np.testing.assert_allclose(out, 1 - X, atol=1e-6)


def test_the_same_bits_on_one_device_and_on_eight():
  f = jax.jit(auto.rand_augment, compiler_options=FUSED)
  mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
  x = np.tile(X, (4, 1, 1, 1))
  out = np.asarray(f(KEY, x))
  assert np.array_equal(out, f(KEY, jax.device_put(x, NamedSharding(mesh, PartitionSpec("d")))))
  assert np.array_equal(out, f(KEY, x))
  assert len(np.unique(out[::8].reshape(4, -1), axis=0)) == 4        # one image, four draws


def test_any_number_of_channels():
  def run(key, x):
    return [auto.trivial_augment(key, jnp.repeat(x, channels, -1)) for channels in (1, 5)]
  for out in jax.jit(run, compiler_options=QUICK)(KEY, X[..., :1]):
    assert out.min() >= -1e-6 and out.max() <= 1 + 1e-6
    np.testing.assert_allclose(out, np.broadcast_to(out[..., :1], out.shape), atol=1e-6)


def test_what_is_refused():
  for magnitude in (-1, 31, 2.5):
    with pytest.raises(errors.UsageError, match="magnitude.*from 0 to 30"):
      auto.rand_augment(KEY, X, magnitude=magnitude)
  for operations in ((), ("rotat",)):
    with pytest.raises(errors.UsageError, match="operations.*rotate"):
      auto.trivial_augment(KEY, X, operations=operations)
