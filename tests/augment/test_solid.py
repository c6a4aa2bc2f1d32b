"""Points and voxel grids: the deterministic layer against NumPy and SciPy, and what holds for all of them."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import IN_A_RUN
from jax.sharding import NamedSharding, PartitionSpec
from scipy import ndimage
from scipy.spatial.transform import Rotation

from sslx.augment import points, space, voxels

RNG = np.random.default_rng(0)
P = RNG.uniform(-0.5, 0.5, (8, 12, 3)).astype(np.float32)
G = (RNG.random((8, 6, 6, 6, 1)) * (RNG.random((8, 6, 6, 6, 1)) < 0.5)).astype(np.float32)
KEY = jax.random.key(7)
FIRST = {points: ("points", P), voxels: ("grid", G)}
PUBLIC = [pytest.param(m, f, id=f"{m.__name__[13:]}-{n}") for m in FIRST for n, f in vars(m).items()
          if inspect.isfunction(f) and f.__module__ == m.__name__ and n not in ("stack", "wide", "box") and n[0] != "_"]
RANDOM = [p for p in PUBLIC if "random" in p.id]
MESH = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))


@pytest.mark.parametrize("module, f", PUBLIC)
def test_signature(module, f):
  first, *rest = inspect.signature(f).parameters.values()
  assert f.__doc__
  if first.name == "key":
    first, *rest = rest
    assert all(p.kind == p.KEYWORD_ONLY for p in rest)
  assert first.name == FIRST[module][0]


@pytest.mark.parametrize("module, f", RANDOM)
def test_random(module, f):
  """Draws hang on the key and the place alone, whatever the batch and the number of devices; gradients are finite."""
  x, options = FIRST[module][1], {"axis": 1} if f is voxels.random_mirror else {}
  of = lambda key, x: f(key, x, **options)
  slope = lambda x: jnp.sum(of(KEY, x) * jnp.cos(jnp.arange(x.size)).reshape(x.shape))
  run = jax.jit(lambda key, x: (of(key, x), of(key, x[:2]), jax.grad(slope)(x)), compiler_options=IN_A_RUN)
  out, first, gradient = run(KEY, x)
  assert out.shape == x.shape and out.dtype == x.dtype and np.isfinite(gradient).all() and np.any(gradient)
  assert not np.array_equal(out, run(jax.random.key(8), x)[0])
  np.testing.assert_allclose(first, out[:2], atol=5e-7)
  assert module is points or (out.min() >= 0 and out.max() <= 1 + 1e-6)
  alike = np.asarray(run(KEY, np.repeat(x[:1], 8, 0))[0])
  assert len(np.unique(alike.reshape(8, -1), axis=0)) > 1
  spread = jax.jit(of, compiler_options=IN_A_RUN)(KEY, jax.device_put(x, NamedSharding(MESH, PartitionSpec("d"))))
  np.testing.assert_array_equal(spread, jax.jit(of, compiler_options=IN_A_RUN)(KEY, x))
  if f is not voxels.random_turn:                            # the angles of images are in float32, too
    half = jax.eval_shape(of, KEY, jax.ShapeDtypeStruct(x.shape, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_rotations():
  for axis in range(3):
    want = Rotation.from_euler("xyz"[axis], 40, degrees=True).as_matrix()
    np.testing.assert_allclose(space.rotation(40.0, axis=axis), want, atol=1e-6)
    np.testing.assert_allclose(points.rotate(P, space.rotation(40.0, axis=axis)), P @ want.T, atol=1e-6)
  turned = space.random_rotation(KEY, (64,), tilt=0.0, axis=1)
  np.testing.assert_allclose(turned @ jnp.swapaxes(turned, 1, 2), np.broadcast_to(np.eye(3), (64, 3, 3)), atol=1e-6)
  np.testing.assert_allclose(turned[:, 1], np.broadcast_to([0, 1, 0], (64, 3)), atol=1e-6)
  tilted = np.asarray(space.random_rotation(KEY, (64,), tilt=10.0))
  assert 0.94 < tilted[:, 2, 2].min() < 0.999                # at most twice 10 degrees from upright


def test_points_are_moved_and_dropped():
  np.testing.assert_allclose(points.scale(P, np.array([2.0, 1, 0.5])), P * [2, 1, 0.5], rtol=1e-6)
  np.testing.assert_allclose(points.scale(P, np.arange(8.0)), P * np.arange(8)[:, None, None], rtol=1e-6)
  np.testing.assert_allclose(points.translate(P, np.array([0.1, 0, -1])), P + np.array([0.1, 0, -1], np.float32))
  kept = RNG.random((8, 12)) < 0.4
  kept[0] = False
  out = np.asarray(points.keep(P, kept))
  for x, y, k in zip(P, out, kept, strict=True):
    own = x[k] if k.any() else x
    np.testing.assert_array_equal(y, own[np.arange(12) % len(own)])
  cut = np.asarray(points.crop(P, np.array([0, 0, 1.0]), 0.5))
  for x, y in zip(P, cut, strict=True):
    assert set(y[:, 2]) == set(np.sort(x[:, 2])[6:])
  centre, side = np.zeros(3), np.array([0.5, 0.4, 0.8])
  for x, y in zip(P, np.asarray(points.erase(P, centre, side)), strict=True):
    assert {tuple(p) for p in y} == {tuple(p) for p in x if np.any(np.abs(p) > side / 2)}
  noise = np.asarray(points.random_jitter(KEY, P, std=0.1, most=0.15)) - P
  assert np.abs(noise).max() < 0.1501 and (np.abs(noise) > 0.1499).any() and 0.07 < noise.std() < 0.1


def test_a_pixel_shows_the_nearest_point():
  x = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0, 0.9], [0, -0.9, 0]], np.float32)
  for axis in range(3):                                      # the same scene, whichever axis points up
    image = np.asarray(space.render(np.roll(x, axis - 2, 1), 0.0, 0.0, size=21, axis=axis, radius=0))[..., 0]
    want = np.zeros((21, 21))
    want[10, 10], want[1, 10], want[10, 1] = 0.25 + 0.375 * 1.5, 0.25 + 0.375, 0.25 + 0.375
    np.testing.assert_allclose(image, want, atol=1e-6)
  above = np.asarray(space.render(x, 0.0, 90.0, size=21, radius=0))[..., 0]
  assert above[10, 10] == pytest.approx(0.25 + 0.375 * 1.9) and (above > 0).sum() == 3
  hidden = space.render(x, 0.0, 0.0, size=21, radius=0, there=np.array([True, False, True, False]))
  assert hidden[10, 10, 0] == pytest.approx(0.625) and (hidden > 0).sum() == 2
  assert (np.asarray(space.render(x[:1], size=21, radius=2)) > 0).sum() == 25
  assert space.random_render(KEY, P, size=9).shape == (8, 9, 9, 1)


def test_full_voxels_are_points():
  at, there = space.places(jnp.asarray(G))
  full = np.argwhere(G[2, ..., 0] > 0.25) - 2.5
  want = full / np.linalg.norm(full, axis=1).max()
  np.testing.assert_allclose(np.asarray(at[2])[np.asarray(there[2])], want, atol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_grids_turn_as_their_points_do(axis):
  at, _ = space.places(jnp.ones((6, 6, 6, 1)))
  for k in range(4):
    turned = points.rotate(at, space.rotation(90.0 * k, axis=axis))
    place = np.rint(np.asarray(turned) * np.linalg.norm([2.5] * 3) + 2.5).astype(int)
    want = np.zeros_like(G[0])
    want[tuple(place.T)] = G[0].reshape(-1, 1)
    for out in (voxels.rot90(G[0], k, axis=axis), voxels.rot90(G, np.full(8, k), axis=axis)[0],
                voxels.turn(G, 90.0 * k, axis=axis)[0]):
      np.testing.assert_allclose(out, want, atol=1e-5)
  others = tuple(i for i in range(3) if i != axis)
  for angle in (25.0, -70.0):
    want = ndimage.rotate(np.pad(G[0, ..., 0], 3), angle if axis != 1 else -angle, others, reshape=False, order=1)
    got = voxels.turn(np.pad(G[:1], ((0, 0), *[(3, 3)] * 3, (0, 0))), angle, axis=axis)[0, ..., 0]
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_grids_are_moved_and_emptied():
  by = RNG.integers(-3, 4, (8, 3))
  for x, y, b in zip(G, np.asarray(voxels.shift(G, by)), by, strict=True):
    np.testing.assert_array_equal(y, ndimage.shift(x, (*b, 0), order=0, cval=0))
  start, size = RNG.integers(0, 4, (8, 3)), RNG.integers(0, 5, (8, 3))
  for x, y, a, s in zip(G, np.asarray(voxels.erase(G, start, size)), start, size, strict=True):
    want = x.copy()
    want[a[0]:a[0] + s[0], a[1]:a[1] + s[1], a[2]:a[2] + s[2]] = 0
    np.testing.assert_array_equal(y, want)
  np.testing.assert_array_equal(voxels.mirror(G, 1), G[:, :, ::-1])
  np.testing.assert_allclose(voxels.flip(G, G > 0.5), np.where(G > 0.5, 1 - G, G))
  ones = np.ones((8, 10, 10, 10, 1), np.float32)
  assert 0.25 < np.mean(voxels.random_drop(KEY, ones, share=(0.7, 0.7))) < 0.35
  gone = 1 - np.asarray(voxels.random_erase(KEY, ones, share=(0.2, 0.4))).mean((1, 2, 3, 4))
  assert (gone > 0.007).all() and (gone < 0.065).all() and len(set(gone)) > 2
  edges = np.asarray(voxels.random_shift(KEY, ones, share=0.2))
  assert (edges.sum((1, 2, 3, 4)) >= 8**3).all() and edges.min() == 0


def test_what_is_left_out_of_a_stack_changes_nothing():
  none = {"degrees": 0, "tilt": 0, "factor": (), "erase": (), "drop": (), "axis": 2}
  still = points.stack(**none, distance=0, jitter=0, crop=())
  np.testing.assert_array_equal(still(KEY, P), P)
  still = voxels.stack(**none, quarters=False, mirror_p=0, shift=0, flip=())
  np.testing.assert_allclose(still(KEY, np.uint8(255 * (G > 0))), G > 0)
  upright = points.stack(**none | {"degrees": 180, "axis": 1}, distance=0, jitter=0, crop=())(KEY, P)
  np.testing.assert_allclose(upright[..., 1], P[..., 1], atol=1e-6)
  assert np.abs(upright[..., 0] - P[..., 0]).max() > 0.1
