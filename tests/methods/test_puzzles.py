"""Puzzles: what was turned, cut, moved and shuffled, and that the answers are those of the pixels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import IMAGES, Linear, several

from sslx import errors
from sslx.augment import tiles
from sslx.methods import jigsaw, patch_position, rotation, transform

KEY = jax.random.key(0)
RAMP = np.stack(np.broadcast_arrays(*np.mgrid[:24, :24], 0), -1)[None].repeat(6, 0) / np.float32(32)   # y, x, 0

one = lambda key, image: jnp.asarray(image, float)


def test_rotation_turns_every_view_four_ways():
  for aug, counts in ((one, (4,)), (several, (8, 12))):
    method = rotation.make(Linear(), aug=aug)
    batch = {"image": IMAGES}
    views = method.views(jax.random.key(0), batch)
    assert tuple(x.shape[1] for x in views["image"]) == counts
    for x in views["image"]:
      for v in range(x.shape[1]):
        np.testing.assert_array_equal(x[:, v], np.rot90(x[:, v - v % 4], v % 4, (1, 2)))
    params, state = method.init(jax.random.key(1), batch)
    value, (_, metrics) = method.loss(params, state, views, jax.random.key(2), 0.0)
    logits = [[Linear().apply({"params": params["encoder"]}, x[:, v]) @ params["head"]["dense1"]["kernel"]
               for v in range(x.shape[1])] for x in views["image"]]
    each = [jax.nn.log_softmax(z)[:, v % 4] for zs in logits for v, z in enumerate(zs)]
    np.testing.assert_allclose(value, -np.mean(each), rtol=1e-5)
    right = [z.argmax(-1) == v % 4 for zs in logits for v, z in enumerate(zs)]
    np.testing.assert_allclose(metrics["rotation_accuracy"], np.mean(right), rtol=1e-6)


def test_rotation_is_shown_turned_back():
  method = rotation.make(Linear(), aug=one)
  params, state = method.init(jax.random.key(0), {"image": IMAGES})
  params["head"]["dense1"]["kernel"] *= 0
  params["head"]["dense1"]["bias"] = jnp.array([0.0, 0, 1, 0])                # always says: upside down
  shown = method.show(params, state, method.views(jax.random.key(0), {"image": IMAGES}))
  np.testing.assert_array_equal(shown["turned"][1], np.rot90(IMAGES[1]))
  np.testing.assert_array_equal(shown["turned back as predicted"][1], np.rot90(IMAGES[1], 1 - 2))


def test_patches_lie_where_the_answer_says():
  method = patch_position.make(Linear(), color="keep", gap=0.5, jitter=0.2, aug=one)
  batch = {"image": RAMP.repeat(20, 0)}
  views = method.views(KEY, batch)
  (x,), position = views["image"], np.asarray(views["position"])
  p, step, move, room = patch_position.layout(24, 0, 0.5, 0.2)
  assert x.shape == (120, 2, p, p, 3) and set(position) == set(range(8)) and room >= 0
  at = np.round(np.asarray(x[:, :, 0, 0, :2]) * 32)                             # each patch's top and left
  assert at.min() >= 0 and at.max() + p <= 24
  apart = at[:, 1] - at[:, 0]
  side = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)])[position]
  assert np.abs(apart - side * step).max() == 2 * move > 0
  assert np.abs(apart).max(1).min() >= p                                        # never do two patches overlap
  with pytest.raises(errors.UsageError, match="are more than 24 pixels"):
    patch_position.layout(24, 9, 0.5, 0.0)


def test_dropped_colors_leave_one_channel():
  x = np.random.default_rng(0).random((5, 2, 6, 6, 3), np.float32)
  y = np.asarray(tiles.drop_colors(KEY, jnp.asarray(x), noise=0.0))
  kept = (x == y).all((2, 3))
  np.testing.assert_array_equal(kept.sum(-1), 1)
  middle = x[kept[..., None, None, :].repeat(6, 2).repeat(6, 3)].reshape(5, 2, 36).mean(-1)
  for c in range(3):
    lost = ~kept[..., c]
    want = np.broadcast_to(middle[lost][:, None, None], (lost.sum(), 6, 6))
    np.testing.assert_allclose(y[..., c][lost], want, rtol=1e-5)
  assert set(np.argmax(kept, -1).ravel()) == {0, 1, 2}


def test_standardized_tiles():
  x = np.random.default_rng(0).random((2, 3, 6, 6, 3), np.float32) * 0.1 + 0.7
  y = np.asarray(tiles.standardize(jnp.asarray(x), std=0.2))
  want = 0.5 + 0.2 * (x - x.mean((2, 3), keepdims=True)) / x.std((2, 3), keepdims=True)
  np.testing.assert_allclose(y, want.clip(0, 1), atol=1e-4)
  np.testing.assert_allclose(tiles.standardize(jnp.full((1, 1, 4, 4, 1), 0.3)), 0.5, atol=1e-6)


def test_permutations_are_as_far_apart_as_can_be():
  every = np.array(list(itertools.permutations(range(4))))
  chosen = jigsaw.permutations(24, 4)
  assert {tuple(p) for p in chosen} == {tuple(p) for p in every}
  distance = lambda p, q: int(np.sum(np.asarray(p) != q))
  for i in range(1, 24):
    nearest = [min(distance(p, q) for q in chosen[:i]) for p in every]
    assert min(distance(chosen[i], q) for q in chosen[:i]) == max(nearest)
  first = jigsaw.permutations(64)
  apart = [distance(p, q) for p, q in itertools.combinations(first, 2)]
  assert first.shape == (64, 9) and min(apart) >= 7
  with pytest.raises(errors.UsageError, match="24 permutations"):
    jigsaw.permutations(25, 4)


@pytest.mark.parametrize("target", ["permutation", "positions"])
def test_jigsaw_tiles_come_from_the_cells_they_are_said_to(target):
  method = jigsaw.make(Linear(), target=target, number=5, standardize=False, inset=0.75, aug=one)
  views = method.views(KEY, {"image": RAMP.repeat(9, 0)})
  (x,), order = views["image"], np.asarray(views["order"])
  assert x.shape[1:] == (9, 6, 6, 3)
  at = np.round(np.asarray(x[:, :, 0, 0, :2]) * 32).astype(int)
  np.testing.assert_array_equal(at // 8 @ [3, 1], order)
  assert (at % 8).max() == 2 and (at % 8).min() == 0
  np.testing.assert_array_equal(np.sort(order), np.arange(9) + 0 * order)
  if target == "permutation":
    np.testing.assert_array_equal(order, jigsaw.permutations(5)[views["index"]])


def test_jigsaw_is_shown_solved():
  method = jigsaw.make(Linear(), number=5, standardize=False, inset=1.0, widths=(), aug=one)
  params, state = method.init(KEY, {"image": RAMP})
  views = method.views(KEY, {"image": RAMP})
  dense = params["head"]["dense1"]
  dense["kernel"], dense["bias"] = 0 * dense["kernel"], jnp.zeros(5).at[3].set(1.0)
  shown = method.show(params, state, views)
  right = np.asarray(views["index"]) == 3
  np.testing.assert_array_equal([np.allclose(v, RAMP[0]) for v in shown["as predicted"]], right)


@pytest.mark.parametrize("turns", [{"degrees": 180.0}, {"degrees": 15.0, "quarters": True}])
def test_the_matrix_takes_points_where_the_picture_goes(turns):
  """A spot in the view is found where the matrix says; a matrix in place of the picture's gives the same picture."""
  y, x = np.mgrid[:41, :41]
  spot = np.exp(-((x - 26) ** 2 + (y - 17) ** 2) / 8)[None, :, :, None].repeat(16, 0).astype(np.float32)
  method = transform.make(Linear(), **turns, shear=20.0, translate=0.1, flip_p=0.5, aug=one)
  views = method.views(KEY, {"image": spot})
  changed, m = np.asarray(views["image"][0][:, 1, ..., 0]), np.asarray(views["matrix"])
  mass = changed.sum((1, 2))
  found = np.stack([(changed * x).sum((1, 2)) / mass, (changed * y).sum((1, 2)) / mass], -1)
  want = m @ [(26 - 20) / 20.5, (17 - 20) / 20.5, 1] * 20.5 + 20
  np.testing.assert_allclose(found, want, atol=0.15)
  assert set(np.sign(np.linalg.det(m[..., :2]))) == {-1, 1}
  np.testing.assert_allclose(transform.warp(views["image"][0][:, 0], m)[..., 0], changed, atol=2e-3)


def test_quarter_turns_come_on_top_of_small_ones():
  method = transform.make(Linear(), degrees=10.0, quarters=True, shear=0.0, aug=one)
  m = np.asarray(method.views(KEY, {"image": RAMP.repeat(40, 0)})["matrix"])
  angle = np.rad2deg(np.arctan2(m[:, 1, 0], m[:, 0, 0])) % 360
  away = (angle + 45) % 90 - 45
  assert np.all(np.abs(away) <= 10.01) and np.ptp(away) > 10 and set((angle - away).round() % 360) == {0, 90, 180, 270}


def test_views_apart():
  """One map from the first view to itself, or to another view of the image."""
  noise = lambda key, image: image + jax.random.uniform(key, image.shape)
  still = {"degrees": 0.0, "shear": 0.0, "translate": 0.0, "scale": (1.0, 1.0), "aug": noise}
  pair = lambda **options: jnp.moveaxis(
      transform.make(Linear(), **still, **options).views(KEY, {"image": RAMP})["image"][0], 1, 0)
  first, second = pair()
  np.testing.assert_allclose(first, second, atol=1e-5)
  again, other = pair(apart=True)
  np.testing.assert_array_equal(first, again)
  assert 0.2 < jnp.abs(other - again).mean() < 0.5           # a third, for the difference of two uniform numbers
  with pytest.raises(errors.UsageError, match="set method.apart=False"):
    transform.make(Linear(), apart=True, target="kind")
  with pytest.raises(errors.UsageError, match="leave out method.apart"):
    single = lambda key, image: (image[:, None],)
    transform.make(Linear(), apart=True, aug=single).views(KEY, {"image": RAMP})


def test_kinds_change_one_thing_each():
  method = transform.make(Linear(), target="kind", aug=one)
  views = method.views(KEY, {"image": RAMP.repeat(20, 0)})
  kind, m = np.asarray(views["kind"]), np.asarray(views["matrix"])
  name = lambda k: kind == transform.KINDS.index(k)
  assert set(kind) == set(range(6))
  np.testing.assert_array_equal(views["image"][0][name("none"), 1], views["image"][0][name("none"), 0])
  mirrored = m[name("flip")]
  np.testing.assert_allclose(mirrored, np.broadcast_to([[-1, 0, 0], [0, 1, 0]], mirrored.shape), atol=1e-6)
  turned, scaled = np.linalg.det(m[name("rotation")][..., :2]), m[name("scale")]
  np.testing.assert_allclose(turned, 1, atol=1e-5)
  np.testing.assert_allclose(scaled[:, 0, 0], scaled[:, 1, 1], rtol=1e-6)
  assert np.all(np.abs(scaled[:, 0, 0] - 1) > 0.09) and not scaled[:, :, 2].any()
  assert np.all(np.abs(m[name("translation")][:, :, 2]) >= 0.2 - 1e-6)


@pytest.mark.parametrize("make, options, images, says", [
    (jigsaw.make, {"inset": 1.5}, IMAGES, "inset is 1.5"), (jigsaw.make, {}, IMAGES[:, :2], "no nine tiles"),
    (patch_position.make, {"gap": -1.0}, IMAGES, "neither may be negative"),
    (rotation.make, {}, RAMP[:, :20], "square views"), (transform.make, {}, RAMP[:, :20], "square views"),
    (transform.make, {"scale": (1.2, 1.5)}, IMAGES, "scale is")])
def test_wrong_options_and_sizes(make, options, images, says):
  with pytest.raises(errors.UsageError, match=says):
    make(Linear(), aug=one, **options).views(KEY, {"image": images})
