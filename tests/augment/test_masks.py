"""What holds for every mask, found by itself, and what each draws."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from sslx.augment import mask

RANDOM = {n: f for n, f in vars(mask).items() if inspect.isfunction(f) and n.startswith("random_")}
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
OPTIONS = {"random_targets": {}}
KEY = jax.random.key(3)


def draw(name, shape, **options):
  options = options or OPTIONS.get(name, {"count": shape[-2] * shape[-1] * 2 // 5})
  return lambda key: jax.tree.leaves(RANDOM[name](key, shape, **options))


@pytest.mark.parametrize("name", RANDOM)
def test_mask(name):
  parameters = list(inspect.signature(RANDOM[name]).parameters.values())
  assert [p.name for p in parameters[:2]] == ["key", "shape"] and RANDOM[name].__doc__
  assert all(p.kind == p.KEYWORD_ONLY for p in parameters[2:])
  keys = jax.random.split(KEY)
  mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
  apart = jax.shard_map(jax.vmap(draw(name, (3, 8, 10))), mesh=mesh, in_specs=PartitionSpec("d"),
                        out_specs=PartitionSpec("d"))
  def run(keys):
    return draw(name, (9, 8, 10))(keys[0]), draw(name, (3, 8, 10))(keys[0]), apart(keys)
  for many, few, each in zip(*jax.jit(run, compiler_options=QUICK)(keys), strict=True):
    assert many.dtype == bool and many.shape[-2:] == (8, 10)
    assert len(np.unique(np.sum(many, (-2, -1)))) == 1               # every mask has one count
    assert np.array_equal(few, many[:3]) and np.array_equal(each[0], few)      # a prefix of those of a larger batch
    assert not np.array_equal(each[1], each[0]) and len(np.unique(many.reshape(9, -1), axis=0)) > 6


@pytest.mark.parametrize("name", ["random_patches", "random_blocks", "random_regions"])
def test_counts(name):
  counts = (0, 1, 15, 16)
  masks = jax.jit(lambda key: [draw(name, (5, 4, 4), count=c)(key)[0] for c in counts], compiler_options=QUICK)(KEY)
  assert [set(np.sum(out, (1, 2)).tolist()) for out in masks] == [{c} for c in counts]


@pytest.mark.parametrize("name", ["random_patches", "random_blocks", "random_regions"])
def test_impossible_counts(name):
  with pytest.raises(ValueError, match="cannot have 17"):
    RANDOM[name](KEY, (5, 4, 4), count=17)


def test_every_patch_as_often():
  out, = jax.jit(draw("random_patches", (4000, 3, 5), count=6))(KEY)
  np.testing.assert_allclose(np.mean(out, 0), 6 / 15, atol=0.03)


def neighbours(out):
  """The share of neighbouring pairs of patches that are both hidden or both seen."""
  out = np.asarray(out)
  return (np.mean(out[:, 1:] == out[:, :-1]) + np.mean(out[:, :, 1:] == out[:, :, :-1])) / 2


def test_blocks_and_regions_hang_together():
  masks = {n: jax.jit(draw(n, (200, 14, 14), count=75), compiler_options=QUICK)(KEY)[0]
           for n in ("random_patches", "random_blocks", "random_regions")}
  assert neighbours(masks["random_patches"]) < 0.55
  assert neighbours(masks["random_blocks"]) > 0.85 and neighbours(masks["random_regions"]) > 0.8
  for out in masks.values():                                         # no side of the grid is favoured much
    rows, cols = np.mean(out, (0, 2)), np.mean(out, (0, 1))
    np.testing.assert_allclose([rows[:7].mean(), cols[:7].mean()], 75 / 196, atol=0.06)


def test_first_block():
  """With sides as 1 to 1 and room for one block it is a square, and all its places are taken."""
  out, = jax.jit(draw("random_blocks", (300, 9, 9), count=36, smallest=36, ratio=(1.0, 1.0)))(KEY)
  corners = set()
  for block in np.asarray(out):
    top, left = np.flatnonzero(block.any(1))[0], np.flatnonzero(block.any(0))[0]
    assert block[top:top + 6, left:left + 6].all()
    corners.add((top, left))
  assert len(corners) == 16


def test_targets_and_context():
  context, targets = jax.jit(lambda key: mask.random_targets(key, (300, 14, 14)))(KEY)
  context, targets = np.asarray(context), np.asarray(targets)
  assert targets.shape == (300, 4, 14, 14) and (targets.sum((2, 3)) == 34).all() and (context.sum((1, 2)) == 60).all()
  assert not (context & targets.any(1)).any()
  for block in targets.reshape(-1, 14, 14):                          # whole rows but for the last
    rows, cols = np.flatnonzero(block.any(1)), np.flatnonzero(block.any(0))
    assert block[rows[0]:rows[-1], cols[0]:cols[-1] + 1].all() and 0.6 < len(rows) / len(cols) < 1.7
  assert len(np.unique(targets.any(3).sum(2))) >= 3                  # of unlike heights
  with pytest.raises(ValueError, match="at most 8"):
    mask.random_targets(KEY, (4, 4), targets=4, count=2, context=9)


def test_split():
  """MAE's way: encode what is kept, put a token for each hidden patch, restore the order."""
  def run(key, tokens):
    hidden = mask.random_patches(key, (6, 3, 4), count=9)
    kept, gone, restore = mask.split(hidden, 9)
    take = lambda x, at: jnp.take_along_axis(x, at, 1)
    return hidden, kept, gone, take(jnp.concatenate([take(tokens, kept), -take(tokens, gone)], 1), restore)
  tokens = np.tile(np.arange(1, 13), (6, 1))
  hidden, kept, gone, grid = jax.jit(run)(KEY, tokens)
  assert kept.shape == (6, 3) and gone.shape == (6, 9) and (np.diff(kept) > 0).all() and (np.diff(gone) > 0).all()
  assert np.array_equal(grid, np.where(np.asarray(hidden).reshape(6, 12), -tokens, tokens))
