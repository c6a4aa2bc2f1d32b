"""Clusters beside classes, by hand and through `evaluate`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import checkpoint, encoders, errors, evaluate
from sslx.report import tables

RNG = np.random.default_rng(0)


def test_measures_by_hand():
  angle = np.deg2rad([0, 3, 6, 90, 93, 180, 183, 186])              # three clusters of 3, 2 and 3 directions
  x = np.stack([np.cos(angle), np.sin(angle)], 1) * RNG.uniform(1, 50, (8, 1))          # lengths tell nothing
  y = np.array(["a", "a", "b", "b", "b", "c", "c", "a"])
  found, cluster, ids = evaluate.kmeans(x, y), np.repeat(range(3), (3, 2, 3)), np.unique(y, return_inverse=True)[1]
  best = max(np.mean(np.array(p)[cluster] == ids) for p in itertools.permutations(range(3)))
  assert found["accuracy"] == best == 6 / 8
  both = np.array([[np.mean((cluster == i) & (ids == j)) for j in range(3)] for i in range(3)])
  entropy = lambda p: -np.sum(p[p > 0] * np.log(p[p > 0]))
  mutual = entropy(both.sum(0)) + entropy(both.sum(1)) - entropy(both.ravel())
  np.testing.assert_allclose(found["nmi"], 2 * mutual / (entropy(both.sum(0)) + entropy(both.sum(1))))
  pairs = list(itertools.combinations(range(8), 2))
  alike = np.array([(cluster[i] == cluster[j], ids[i] == ids[j]) for i, j in pairs])
  (a, b), together = alike.sum(0), alike.all(1).sum()
  expected = a * b / len(pairs)
  np.testing.assert_allclose(found["ari"], (together - expected) / ((a + b) / 2 - expected))
  with pytest.raises(errors.UsageError, match="8 features and 7 labels"):
    evaluate.kmeans(x, y[:7])


def test_every_contender_has_its_clusters():
  module = encoders.make("resnet10", width=2, stem="small")
  encoder = checkpoint.Encoder(module, module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))), (8, 8, 3), {})
  x, y = RNG.integers(0, 255, (40, 8, 8, 3), np.uint8), np.arange(40) % 2
  x[y == 1] //= 9                                            # dark or bright
  x[:, 0, 0] = 255 * y[:, None]
  result = evaluate.evaluate(encoder, (x[:10], y[:10]), (x, y), protocols=("kmeans",), random=encoder)
  assert set(result["kmeans"]) == {"encoder", "random", "raw"}
  assert result["kmeans"]["encoder"] == evaluate.kmeans(evaluate.embed(encoder, x), y)
  rows = tables.accuracies(result)
  assert [r["setting"] for r in rows] == ["NMI", "ARI", "matched accuracy"]
