"""Contrastive losses: in tiles and at once, at their limits, and how memory grows."""

import functools

import jax
import jax.numpy as jnp
import losses_numpy as reference
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from sslx import losses
from sslx.losses import tiled

QUICK = {"xla_cpu_use_fusion_emitters": False}             # a third of the time to compile
RNG = np.random.default_rng(0)
Z = RNG.normal(0, 1, (2, 7, 3))
LABELS = np.array([0, 1, 0, 2, 1, 0, 0])                    # one row has no positive


def in32(z):
  return z.astype(np.float32)


def jitted(f):
  return jax.jit(f, compiler_options=QUICK)


# The loss of z [2, B, D] and traced hyperparameters.
LOSSES = {
  "info_nce": (lambda z, h, **o: losses.info_nce(z[0], z[0, ::-1], z[1], temperature=h[0], **o), [0.3]),
  "ntxent": (lambda z, h, **o: losses.ntxent(z[0], z[1], temperature=h[0], **o), [0.2]),
  "dcl": (lambda z, h, **o: losses.dcl(z[0], z[1], temperature=h[0], **o), [0.2]),
  "supcon": (lambda z, h, **o: losses.supcon(z[0], LABELS, temperature=h[0], **o), [0.2]),
  "clip": (lambda z, h, **o: losses.clip(z[0], z[1], scale=h[0], **o), [5.0]),
  "cola": (lambda z, h, **o: losses.cola(h[0] * z[0], z[1], **o), [0.7]),
  "siglip": (lambda z, h, **o: losses.siglip(z[0], z[1], scale=h[0], bias=h[1], **o), [5.0, -3.0]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_tiles_give_the_same_value_and_gradient(name):
  """A column a tile, a padded last tile, one tile."""
  f, h = LOSSES[name]
  with jax.enable_x64(True):
    run = lambda **o: jitted(jax.value_and_grad(functools.partial(f, **o), (0, 1)))(Z, np.array(h))
    value, gradients = run()
    for chunk in (1, 6, 100):
      cut, slopes = run(chunk=chunk)
      np.testing.assert_allclose(cut, value, rtol=1e-12)
      jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), slopes, gradients)
  with pytest.raises(ValueError, match="chunk is 0"):
    f(Z, h, chunk=0)


def test_tiles_are_chosen():
  assert tiled.count(8192, 8192, None) == 16                                                # 2 ** 22 entries each
  assert tiled.count(131072, 131072, None) == 1024                                          # 128 columns, not fewer
  assert tiled.count(6000, 6000, None) == 10                                                # 9 would not divide them
  assert tiled.count(14, 14, 4) == 7 and tiled.count(13, 13, 4) == 4 and tiled.count(9, 9, 100) == 1


NTXENT = jitted(jax.value_and_grad(lambda z, t: losses.ntxent(z[0], z[1], temperature=t, chunk=5)))


@pytest.mark.parametrize("temperature", [0.002, 0.05, 5.0, 1000.0])
def test_temperatures(temperature):
  value, gradient = NTXENT(in32(Z), temperature)
  want = reference.gradient(lambda z: reference.ntxent(*z, temperature), Z)
  np.testing.assert_allclose(value, reference.ntxent(*Z, temperature), rtol=1e-5)
  np.testing.assert_allclose(gradient, want, rtol=1e-3, atol=1e-5 * np.abs(want).max())


def test_length_does_not_matter():
  z = in32(Z)
  scaled = z * np.array([1e-20, 1e20, 3, 1, 1e-3, 1e3, 1], np.float32)[:, None]
  np.testing.assert_allclose(NTXENT(z, 0.5)[0], NTXENT(scaled, 0.5)[0], rtol=1e-5)


@pytest.mark.parametrize("row", [(0, 1), slice(None)], ids=["one", "all"])
def test_zero_vectors(row):
  z = in32(Z)
  z[row] = 0
  value, gradient = NTXENT(z, 0.1)
  np.testing.assert_allclose(value, reference.ntxent(*z.astype(float), 0.1), rtol=1e-5)
  assert jnp.isfinite(gradient).all() and not gradient[row].any()


def test_identical_views_and_collapse():
  same, collapsed = in32(np.stack([Z[0], Z[0]])), np.ones(Z.shape, np.float32)
  np.testing.assert_allclose(NTXENT(same, 0.5)[0], reference.ntxent(Z[0], Z[0], 0.5), rtol=1e-5)
  np.testing.assert_allclose(NTXENT(collapsed, 0.05)[0], np.log(13), rtol=1e-5)           # chance: 1 of 2B - 1
  chance = {"info_nce": np.log(8), "dcl": np.log(12), "supcon": np.log(6), "clip": np.log(7), "cola": np.log(7)}
  for name, want in chance.items():
    f, h = LOSSES[name]
    np.testing.assert_allclose(jitted(f)(collapsed, h), want, rtol=1e-5)


def test_a_small_loss_keeps_its_digits():
  """Where the positive outweighs all negatives the loss is not the difference of two large numbers."""
  z = np.stack([np.eye(4)] * 2).astype(np.float32)
  np.testing.assert_allclose(NTXENT(z, 0.05)[0], np.log1p(6 * np.exp(-20)), rtol=1e-4)
  value = jitted(lambda z: losses.siglip(z[0], z[1], scale=40.0, bias=-20.0))(z)
  np.testing.assert_allclose(value, 4 * np.log1p(np.exp(-20)), rtol=1e-4)


def test_supcon_of_examples_as_classes_is_ntxent():
  value = jitted(lambda z: losses.supcon(z.reshape(-1, 3), jnp.tile(jnp.arange(7), 2), temperature=0.3))(Z)
  np.testing.assert_allclose(value, reference.ntxent(*Z, 0.3), rtol=1e-5)
  value, gradient = jitted(jax.value_and_grad(lambda z: losses.supcon(z, jnp.arange(7), temperature=0.3)))(in32(Z[0]))
  assert value == 0 and not gradient.any()                                                 # nobody has a positive
  truth = jitted(lambda z: losses.supcon(z, LABELS == 0, temperature=0.3))(Z[0])           # booleans are labels too
  np.testing.assert_allclose(truth, reference.supcon(Z[0], LABELS == 0, 0.3), rtol=1e-5)


def test_siglip_of_one_pair():
  value = jitted(lambda z: losses.siglip(z[0], z[1], scale=2.0, bias=1.0, chunk=1))(Z[:, :1])
  np.testing.assert_allclose(value, reference.siglip(*Z[:, :1], 2.0, 1.0), rtol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_pairs_that_are_not_whole_count_in_nothing(name):
  f, h = LOSSES[name]
  whole = np.arange(Z.shape[1]) % 3 > 0
  with jax.enable_x64(True):
    value, gradient = jitted(jax.value_and_grad(lambda z: f(z, np.array(h), whole=whole)))(Z)
    np.testing.assert_allclose(value, jitted(lambda z: f(z, np.array(h)))(Z[:, whole]), rtol=1e-12)
    assert not np.any(gradient[:, ~whole]) and np.all(np.any(gradient[:, whole], -1))
    np.testing.assert_allclose(jitted(lambda z: f(z, np.array(h), whole=whole, chunk=2))(Z), value, rtol=1e-12)
    assert jitted(lambda z: f(z, np.array(h), whole=whole & False))(Z) == 0
    n = Z.shape[1] // 2 * 2
    spread = jax.vmap(lambda z, w: f(z, np.array(h), whole=w, axis_name="devices"), (1, 0), axis_name="devices")
    both = jitted(spread)(Z[:, :n].reshape(2, 2, -1, Z.shape[2]), whole[:n].reshape(2, -1))
    np.testing.assert_allclose(both, f(Z[:, :n], np.array(h), whole=whole[:n]), rtol=1e-12)


def test_undefined_cases_are_refused():
  one, none = jnp.ones((1, 3)), jnp.ones((0, 3))
  for f, what in ((lambda: losses.ntxent(one, one, temperature=1), "ntxent needs at least two"),
                  (lambda: losses.dcl(one, one, temperature=1), "dcl needs at least two"),
                  (lambda: losses.supcon(one, jnp.ones(1, int), temperature=1), "supcon needs at least two"),
                  (lambda: losses.clip(one, one, scale=1), "clip needs at least two"),
                  (lambda: losses.cola(one, one), "cola needs at least two"),
                  (lambda: losses.info_nce(one, one, none, temperature=1), "the queue is empty")):
    with pytest.raises(ValueError, match=what):
      f()


def test_wrong_shapes_are_refused():
  with pytest.raises(AssertionError, match="rank"):
    losses.ntxent(jnp.ones(3), jnp.ones(3), temperature=0.5)
  with pytest.raises(AssertionError, match="shape"):
    losses.ntxent(jnp.ones((2, 3)), jnp.ones((4, 3)), temperature=0.5)
  with pytest.raises(AssertionError, match="shape"):
    losses.supcon(jnp.ones((2, 3)), jnp.ones(3, int), temperature=0.5)


def temporaries(loss, rows, devices):
  """Bytes a device that XLA wants beside arguments and results, for value and gradient of a jitted loss on a mesh."""
  mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
  x = jax.ShapeDtypeStruct((rows, 2, 16), jnp.float32, sharding=NamedSharding(mesh, P("data")))
  w = jax.ShapeDtypeStruct((16, 16), jnp.float32, sharding=NamedSharding(mesh, P()))
  step = jax.value_and_grad(lambda w, x: loss(*jnp.moveaxis(x @ w, 1, 0)))
  return jitted(step).lower(w, x).compile().memory_analysis().temp_size_in_bytes


def test_memory_falls_with_the_devices_and_is_linear_in_the_batch():
  ntxent = lambda a, b: losses.ntxent(a, b, temperature=0.1, chunk=256)
  clip = lambda a, b: losses.clip(a, b, scale=10, chunk=256)
  for loss in (ntxent, clip):
    one, eight, double = temporaries(loss, 1024, 1), temporaries(loss, 1024, 8), temporaries(loss, 2048, 1)
    assert eight < one / 6
    assert double < 2.2 * one
