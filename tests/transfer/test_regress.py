"""Numbers and several labels at once: losses and measures by hand, and both from start to end."""

import pathlib

import jax
import numpy as np
import pytest
from sources import exported

from sslx import config, data, errors, transfer
from sslx.augment import to_float
from sslx.report import transferred
from sslx.transfer import regress

CONFIG = f"{pathlib.Path(__file__).parents[2]}/configs/transfer/regress.py:tiny"
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("name", "kind", "measures"), [("own.scenes", "number", {"r2", "mae"}),
                                                        ("own.scenes.labels", "labels", {"map", "label_accuracy"})])
def test_from_start_to_end(tmp_path, name, kind, measures):
  source = exported(tmp_path / "source", "own.encoder", shape=(8, 8, 3))[0]
  c = transfer.onto(config.load(CONFIG), source)
  c = config.override(c, [f"--config.data.name={name}", f"--config.method.target={kind}", "--config.mesh.data=1"])
  result = transfer.transfer(c, tmp_path / "run", scratch=False)
  assert set(result["runs"]["linear"]) == measures | {"examples", "standard_error"}
  assert transfer.transfer(c, tmp_path / "run", scratch=False) == result


def test_measures_by_hand():
  truth, out = RNG.standard_normal((30, 2)), RNG.standard_normal((30, 2))
  wanted = np.mean([1 - np.sum((truth[:, k] - out[:, k])**2) / np.sum((truth[:, k] - truth[:, k].mean())**2)
                    for k in range(2)])
  assert np.isclose(regress.r2(truth, out), wanted)
  still = np.concatenate([truth, np.ones((30, 1))], 1)                                    # a target that does not vary
  assert np.isclose(regress.r2(still, np.concatenate([out, out[:, :1]], 1)), wanted)
  labels, each = (RNG.random((30, 3)) < 0.4).astype(float), []
  labels[:, 2] = 1                                                                        # one that all images have
  scores = RNG.standard_normal((30, 3))
  for k in range(2):
    hits = labels[np.argsort(-scores[:, k]), k]
    each.append(np.sum(hits * np.cumsum(hits) / np.arange(1, 31)) / hits.sum())
  assert np.isclose(regress.mean_precision(labels, scores), np.mean(each))


def test_targets_are_standardised():
  z, y = RNG.standard_normal((6, 2)), (RNG.random((6, 2)) < 0.5).astype(np.float32)
  def seen(kind, target, **options):
    method = regress.make(None, target=kind, num_outputs=2, aug=lambda key, x: to_float(x), **options)
    return method.views(jax.random.key(0), {"image": np.zeros((6, 4, 4, 1), np.uint8), "target": target})["target"]
  assert np.array_equal(seen("labels", y), y)
  np.testing.assert_allclose(seen("number", z.astype(np.float32), mean=(1.0, -2.0), std=(2.0, 0.5)),
                             (z - [1, -2]) / [2, 0.5], rtol=1e-5)


def test_wrong_targets(tmp_path):
  c = config.load(CONFIG)
  with pytest.raises(errors.UsageError, match="hold no \"target\""):
    regress.prepare(c, data.load("digits"), None)
  c.method.target = "labels"
  with pytest.raises(errors.UsageError, match="zeros and ones"):
    regress.prepare(c, data.load("own.scenes"), None)
  with pytest.raises(errors.UsageError, match="did you mean number"):
    regress.make(None, target="numbers")


def test_the_report_has_numbers_as_they_are():
  runs = {"finetune": {"r2": 0.035, "mae": 2.0, "standard_error": 0.01}, "scratch": {
      "r2": 0.02, "mae": 1.5, "standard_error": 0.01}}
  (title, strategies, rows), = transferred.tables({"runs": runs})
  assert (title, strategies) == ("On test data", ["finetune", "scratch"])
  assert rows == [("R2", ["0.035", "0.020"], 0), ("Mean absolute error", ["2.000", "1.500"], 1)]
  found = transferred.of({"transfer": {"strategy": "finetune", "labels": 5, "source": "x", "runs": runs},
                          "kind": {"many": "images"}})
  assert found["tiles"] == [("finetune", "0.035", "R2"), ("scratch", "0.020", "R2")]
  assert found["headline"].startswith("Hardly: +0.015 of R2")
