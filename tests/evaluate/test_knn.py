"""kNN against an independent NumPy vote."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import errors, mesh
from sslx.evaluate import knn
from sslx.evaluate.knn import KEYS, QUERIES, _searcher, nearest


def reference(train_x, train_y, test_x, test_y, k=20, temperature=0.07):
  unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
  similarity = unit(test_x.astype(float)) @ unit(train_x.astype(float)).T
  right = 0
  for row, y in zip(similarity, test_y, strict=True):
    votes = {}
    for j in np.argsort(-row, kind="stable")[:k]:
      votes[train_y[j]] = votes.get(train_y[j], 0) + np.exp((row[j] - 1) / temperature)
    right += max(sorted(votes), key=votes.get) == y
  return right / len(test_y)


def clusters(n, m, classes=7, d=10, noise=2.0, seed=0):
  rng = np.random.default_rng(seed)
  centers, y, z = rng.standard_normal((classes, d)), rng.integers(0, classes, n), rng.integers(0, classes, m)
  x = lambda labels: (centers[labels] + noise * rng.standard_normal((len(labels), d))).astype(np.float32)
  return x(y), y, x(z), z


@pytest.mark.parametrize("n, m, k", [(300, 200, 20), (300, 200, 1), (30, 50, 300), (1, 3, 20), (KEYS + 5, 60, 20),
                                     (300, QUERIES + 3, 5)])
def test_equals_a_numpy_vote(n, m, k):
  data = clusters(n, m)
  assert knn(*data, k=k) == pytest.approx(reference(*data, k=k), abs=1e-12)


def test_temperature_changes_the_vote_as_in_numpy():
  data = clusters(200, 300, noise=3)
  values = [knn(*data, temperature=t) for t in (1e-3, 0.07, 10.0)]
  assert values == pytest.approx([reference(*data, temperature=t) for t in (1e-3, 0.07, 10.0)], abs=1e-12)
  assert len(set(values)) > 1


def test_ties_go_to_the_first_example_and_the_lowest_class():
  x = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 1]]
  assert knn(x, ["b", "a", "a", "c", "a"], x[:1], ["b"], k=1) == 1               # three equally near: the first
  assert knn(x, ["b", "a", "a", "c", "a"], x[:1], ["a"], k=2) == 1               # one vote each: the lowest class
  assert knn(x, ["b", "a", "a", "c", "a"], x[:1], ["a"], k=3) == 1


def test_ties_across_tiles_keep_the_first():
  x = np.ones((KEYS + 10, 3), np.float32)
  y = np.r_[np.zeros(3, int), np.ones(len(x) - 3, int)]
  assert knn(x, y, x[:2], [0, 0], k=3) == 1
  assert knn(x, y, x[:2], [1, 1], k=7) == 1


def test_one_class_unseen_classes_and_zero_vectors():
  x, _, z, _ = clusters(40, 10)
  assert knn(x, np.full(40, 3), z, np.full(10, 3)) == 1
  assert knn(x, np.full(40, 3), z, np.r_[np.full(5, 3), np.full(5, 9)]) == 0.5   # 9 is no class of the training set
  assert knn(np.zeros_like(x), np.arange(40) % 2, z, np.zeros(10, int)) in (0.0, 1.0)


def test_float64_and_bfloat16():
  data = clusters(300, 200)
  half = [jnp.asarray(a, jnp.bfloat16) if a.dtype == np.float32 else a for a in data]
  assert knn(*half) == pytest.approx(reference(*(np.asarray(a, np.float64) for a in half)), abs=0.011)
  with jax.enable_x64(True):
    double = [a.astype(np.float64) if a.dtype == np.float32 else a for a in data]
    assert knn(*double) == reference(*double)


def test_scale_of_features_does_not_matter():
  x, y, z, w = clusters(200, 100)
  assert knn(x * 1e-20, y, z * 1e20, w) == knn(x, y, z, w)


def test_one_compile_for_all_tiles():
  _searcher.cache_clear()
  bank, _, x, _ = clusters(2 * KEYS + 7, 2 * QUERIES + 1, d=4)
  nearest(x, bank, 3)
  assert _searcher.cache_info().currsize == 1
  assert _searcher(mesh.arranged(jax.devices()[:3]), len(bank), 3)._cache_size() == 1


def test_tiles_on_all_devices_and_the_first_among_equals(monkeypatch):
  monkeypatch.setitem(nearest.__globals__, "KEYS", 16)
  bank, _, x, _ = clusters(100, 7)
  bank = np.concatenate([bank, bank, bank])                                     # 19 tiles on 8 devices
  want = np.argsort(-(x / np.linalg.norm(x, axis=1, keepdims=True) @ bank[:100].T
                      / np.linalg.norm(bank[:100], axis=1)), 1)[:, :2]
  rows = nearest(x, bank, 6)[1]
  assert np.array_equal(rows, np.repeat(want, 3, 1) + np.tile([0, 100, 200], 2))


def test_nearest_equals_numpy():
  bank, _, x, _ = clusters(KEYS + 9, 7)
  unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
  want = unit(x.astype(float)) @ unit(bank.astype(float)).T
  cosines, rows = nearest(x, bank, 5)
  assert np.array_equal(rows, np.argsort(-want, axis=1, kind="stable")[:, :5])
  np.testing.assert_allclose(cosines, np.take_along_axis(want, rows, 1), atol=1e-6)


@pytest.mark.parametrize("change", [{"k": 0}, {"temperature": 0}])
def test_bad_options(change):
  with pytest.raises(errors.UsageError, match="k must be at least 1, temperature above 0"):
    knn(*clusters(10, 5), **change)


def test_sets_that_do_not_fit():
  x, y, z, w = clusters(10, 5)
  with pytest.raises(errors.UsageError, match="training set"):
    knn(x, y[:-1], z, w)
  with pytest.raises(errors.UsageError, match="dimensions"):
    knn(x[:, 1:], y, z, w)
