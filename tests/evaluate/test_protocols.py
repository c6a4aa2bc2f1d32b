"""linear, few_label, health and evaluate: what is chosen, from what, and what comes back."""

import json
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from sslx import data, errors
from sslx.evaluate import evaluate, few_label, health, labels, linear, raw, rows
from sslx.evaluate.few_label import SETTINGS, draws, left_out
from sslx.evaluate.linear import GRID, fit, standardised

X, Y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16
TRAIN, TEST = (X[:600], Y[:600]), (X[600:900], Y[600:900])
SHORT = ("1", "5", "10%")


def test_linear_is_logistic_regression_at_the_chosen_c():
  result = linear(*TRAIN, *TEST)
  x, z = standardised(TRAIN[0], TEST[0])
  model = LogisticRegression(C=result["C"], max_iter=1000).fit(x.astype(float), TRAIN[1])
  assert result["C"] in GRID and result["converged"]
  assert result["accuracy"] == pytest.approx(model.score(z, TEST[1]), abs=0.004)
  assert result["accuracy"] > 0.85
  assert result == linear(*TRAIN, *TEST)


@pytest.mark.parametrize("protocol", [linear, lambda *a: few_label(*a, settings=SHORT)], ids=["linear", "few_label"])
def test_the_choice_never_sees_the_test_set(protocol):
  wrong = np.random.default_rng(0).permutation(TEST[1])
  chosen = lambda r: r["C"] if "C" in r else {s: v["C"] for s, v in r.items()}
  good, bad = protocol(*TRAIN, *TEST), protocol(*TRAIN, TEST[0], wrong)
  assert chosen(good) == chosen(bad) and good != bad
  assert chosen(good) == chosen(protocol(*TRAIN, TEST[0][:5] * 1e3, TEST[1][:5]))


def test_linear_with_rare_single_and_unseen_classes():
  y = TRAIN[1].copy()
  y[0] = 77                                                # one example: it cannot be validated on
  assert 0.8 < linear(TRAIN[0], y, *TEST)["accuracy"] < 1
  some = TRAIN[1] < 5
  seen = np.mean(TEST[1] < 5)
  assert linear(TRAIN[0][some], TRAIN[1][some], *TEST)["accuracy"] <= seen
  assert linear(TRAIN[0], np.zeros(600), *TEST)["accuracy"] == pytest.approx(np.mean(TEST[1] == 0))
  assert linear(X[:10], np.arange(10), X[:10], np.arange(10))["accuracy"] == 1


def test_labels_may_be_strings():
  names = np.array(list("abcdefghij"))
  assert linear(TRAIN[0], names[TRAIN[1]], TEST[0], names[TEST[1]]) == linear(*TRAIN, *TEST)


def test_no_convergence_is_said(recwarn):
  model = LogisticRegression(max_iter=1)
  _, converged = fit(TRAIN[0], TRAIN[1], 1.0, model)
  assert not converged and not recwarn.list
  assert fit(TRAIN[0], TRAIN[1], 1e-3)[1]


def test_constant_dimensions_become_zero():
  x = np.concatenate([TRAIN[0], np.full((600, 1), 0.1, np.float32)], 1)
  z, = standardised(x)
  assert np.isfinite(z).all() and not z[:, -1].any()
  np.testing.assert_allclose(z.std(0)[z.std(0) > 0], 1, rtol=1e-4)


@pytest.mark.parametrize("setting", SETTINGS)
def test_draws_are_stratified_seeded_and_apart(setting):
  ids = np.sort(np.r_[TRAIN[1], np.zeros(200, int)])       # classes of different sizes
  sizes = np.bincount(ids)
  taken = list(draws(setting, ids, 0))
  assert len(taken) == (3 if setting.endswith("%") else 10)
  for i, rest in taken:
    want = np.round(float(setting[:-1]) / 100 * sizes) if setting.endswith("%") else np.full(10, int(setting))
    np.testing.assert_array_equal(np.bincount(ids[i]), np.maximum(1, want))
    assert sorted([*i, *rest]) == list(range(len(ids)))
  again = list(draws(setting, ids, 0))
  assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(taken, again, strict=True))
  searched = list(draws(setting, ids, 0, extra=True))
  sets = [tuple(sorted(i)) for i, _ in taken + searched]
  assert len(set(sets)) == len(sets)
  assert sets[0] != tuple(sorted(next(draws(setting, ids, 1))[0]))


def test_few_label_draws_depend_on_labels_alone(monkeypatch):
  """All contenders meet the same examples: feature 0 is the example's number, caught where it is fitted."""
  from sslx.evaluate.few_label import few_label as function
  module = function.__globals__
  seen, original = [], module["fit"]
  monkeypatch.setitem(module, "fit", lambda x, ids, c: seen.append(x[:, 0].copy()) or original(x, ids, c))
  for other in (TRAIN[0], np.random.default_rng(0).random((600, 3), np.float32)):
    numbered = np.concatenate([np.arange(600, dtype=np.float32)[:, None], other], 1)
    few_label(numbered, TRAIN[1], numbered[:50], TRAIN[1][:50], settings=("2",))
  half = len(seen) // 2
  assert half == 10
  assert all(np.array_equal(a, b) for a, b in zip(seen[:half], seen[half:], strict=True))


def test_few_label_improves_with_labels_and_repeats():
  result = few_label(*TRAIN, *TEST, settings=SHORT)
  assert result["1"]["mean"] < result["5"]["mean"] < result["10%"]["mean"] + 0.05
  assert all(v["std"] > 0 and v["C"] in GRID for v in result.values())
  assert result == few_label(*TRAIN, *TEST, settings=SHORT)
  assert result["5"] == few_label(*TRAIN, *TEST, settings=("5",))["5"]
  assert result["5"]["mean"] != few_label(*TRAIN, *TEST, settings=("5",), seed=1)["5"]["mean"]


def test_settings_too_big_for_the_set_are_left_out():
  y = np.repeat(np.arange(4), 6)
  why = left_out(y)
  assert list(why) == ["10", "1%"] and "smallest class has 6" in why["10"]
  assert list(few_label(X[:24], y, X[:24], y)) == ["1", "2", "5", "10%", "20%"]
  assert set(left_out(np.zeros(50))) == set(SETTINGS)


def test_health_limits():
  rng = np.random.default_rng(0)
  collapsed, isotropic = health(np.tile(rng.random(8), (100, 1))), health(rng.standard_normal((4000, 8)))
  assert collapsed["feature_std"] == pytest.approx(0, abs=1e-5)
  assert collapsed["effective_rank"] == pytest.approx(1, rel=1e-3) and collapsed["alpha_req"] is None
  assert isotropic["effective_rank_share"] == pytest.approx(1, rel=0.01)
  assert isotropic["feature_std"] == pytest.approx(1, rel=0.02) and "alignment" not in isotropic
  x = rng.standard_normal((50, 8))
  assert health(x, (x, x))["alignment"] == pytest.approx(0, abs=1e-6)
  assert health(x, (x, -x))["alignment"] == pytest.approx(4, rel=1e-5)
  json.dumps([collapsed, isotropic], allow_nan=False)
  with pytest.raises(errors.UsageError, match="two views"):
    health(x, (x, x[1:]))
  with pytest.raises(errors.UsageError, match="at least 2"):
    health(x[:1])


class Net(nn.Module):
  @nn.compact
  def __call__(self, x, train=False):
    x = nn.relu(nn.Conv(8, (3, 3))(x))
    return nn.Dense(20)(nn.avg_pool(x, (2, 2), (2, 2)).reshape(len(x), -1))


def record(seed=0, scale=1.0):
  variables = Net().init(jax.random.key(seed), jnp.ones((1, 8, 8, 1)))
  return types.SimpleNamespace(module=Net(), shape=(8, 8, 1), variables=jax.tree.map(lambda v: v * scale, variables))


IMAGES = (X.reshape(-1, 8, 8, 1) * 255).astype(np.uint8)
SETS = (IMAGES[:600], Y[:600]), (IMAGES[600:700], Y[600:700])


def test_knn_alone():
  r = evaluate(record(), *SETS, protocols=("knn",))
  assert set(r["knn"]) == {"encoder", "raw"} and r["knn"]["raw"] > 0.9


def test_evaluate_everything():
  calls = []
  r = evaluate(record(), *SETS, random=record(1), progress=lambda *a: calls.append(a),
               views=(IMAGES[:50], IMAGES[:50, ::-1]))
  three = {"encoder", "random", "raw"}
  assert set(r) == {"knn", "linear", "few_label", "health", "protocols", "notes"}
  assert set(r["knn"]) == set(r["linear"]) == set(r["health"]) == three
  assert list(r["few_label"]) == list(SETTINGS)
  assert all(set(v) == three and set(v["raw"]) == {"mean", "std"} for v in r["few_label"].values())
  assert json.loads(json.dumps(r, allow_nan=False)) == r and r["notes"] == []
  assert 0.5 < r["knn"]["encoder"] <= 1 and r["knn"]["raw"] > 0.9
  assert r["health"]["encoder"]["alignment"] > 0
  assert r["protocols"]["linear"]["version"] == "linear-v1" and set(r["protocols"]["linear"]["C"]) == three
  assert r["protocols"]["sizes"] == {"train": 600, "test": 100, "classes": 10, "width": 20, "raw": 64,
                                     "raw_principal": 20, "seed": 0}
  shares = [share for _, share in calls]
  assert shares == sorted(shares) and shares[-1] == 1 and len(set(shares)) == len(shares)
  table = rows(r)
  assert ("knn", "k=20", r["knn"]["encoder"], r["knn"]["random"], r["knn"]["raw"], None) in table
  measured = (r["health"][c]["feature_std"] for c in ("encoder", "random", "raw"))
  assert ("health", "feature_std", *measured, None) in table
  assert len(table) == 1 + 1 + 7 + 6


def test_a_source_is_read_in_parts_to_the_same_numbers(monkeypatch):
  monkeypatch.setattr(sys.modules["sslx.evaluate"], "PART", 256)                  # whole batches, as of the default
  (x, y), (z, w) = SETS
  sources = [(data.source.from_array("x", images, labels), labels) for images, labels in ((x, y), (z, w))]
  asked, real = [], data.Source.batch
  monkeypatch.setattr(data.Source, "batch", lambda self, index: asked.append(len(index)) or real(self, index))
  calls, options = [], {"random": record(1), "protocols": ("knn", "linear")}
  assert evaluate(record(), *sources, progress=lambda *a: calls.append(a), **options) == evaluate(
      record(), *SETS, **options)
  assert asked == [256, 256, 88, 100] and calls[0][1] < calls[1][1] and calls[-1][1] == 1


def test_evaluate_is_repeatable_and_alone_without_a_twin():
  runs = [evaluate(record(), *SETS, protocols=("linear", "knn"), seed=3) for _ in range(2)]
  assert runs[0] == runs[1] and set(runs[0]["knn"]) == {"encoder", "raw"}
  assert rows(runs[0])[0][3] is None and [r[0] for r in rows(runs[0])] == ["knn", "linear"]


def test_without_labels_only_health():
  calls = []
  x, y, z = IMAGES[:90], Y[:90], IMAGES[:9]
  for train, test in (((x, None), (z, None)), ((x, None), None), ((x, y), None), ((x, y), (z, None))):
    r = evaluate(record(), train, test, progress=lambda *a: calls.append(a))
    assert set(r) == {"health", "protocols", "notes"} and len(r["notes"]) == 3
    assert "knn: left out, it needs labels" in r["notes"][0] and calls[-1][1] == 1
    assert {row[0] for row in rows(r)} == {"health"}
  r = evaluate(record(), (x, None), None, protocols=("knn",))
  assert r["protocols"] == {} and len(r["notes"]) == 1 and rows(r) == []


def test_unknown_protocol_diverged_encoder_and_notes():
  with pytest.raises(errors.UsageError, match="unknown protocol 'knm': did you mean knn"):
    evaluate(record(), *SETS, protocols=("knm",))
  with pytest.raises(errors.UsageError, match="600 images and 599 labels"):
    evaluate(record(), (IMAGES[:600], Y[:599]), SETS[1])
  with pytest.raises(errors.RunError, match="100 of 100 embeddings of the encoder"):
    evaluate(record(scale=np.nan), (IMAGES[:100], Y[:100]), SETS[1])
  few = Y[:300] < 4
  r = evaluate(record(), (IMAGES[:300][few][:40], Y[:300][few][:40]), SETS[1], protocols=("knn", "few_label"))
  assert any("count as wrong: no training example has their class (4, 5, 6, 7, 8, ...)" in n for n in r["notes"])
  assert any(n.startswith("few_label 1%: left out") for n in r["notes"]) and "1%" not in r["few_label"]


def test_raw_pixels():
  big = np.random.default_rng(0).integers(0, 256, (3, 100, 20, 3), np.uint8)
  assert raw.pixels(big, (100, 20, 3)).shape == (3, 64 * 20 * 3)
  np.testing.assert_allclose(raw.pixels(IMAGES[:5], (8, 8, 1)), IMAGES[:5].reshape(5, -1) / 255, atol=1e-7)
  a, b = raw.principal(TRAIN[0], TEST[0], 10)
  centered = TRAIN[0] - TRAIN[0].mean(0)
  want = centered @ np.linalg.svd(centered, full_matrices=False)[2][:10].T
  np.testing.assert_allclose(np.abs(a), np.abs(want) / want.std(), atol=1e-3)
  assert a.std() == pytest.approx(1, rel=1e-4) and b.shape == (300, 10)
  assert raw.principal(TRAIN[0][:7], TEST[0], 10)[1].shape == (300, 7)


def test_labels_draw_takes_what_it_is_told():
  taken, rest = labels.draw(np.random.default_rng(0), np.array([0, 1, 1, 2, 2, 2]), [0, 1, 3])
  assert len(taken) == 4 and len(rest) == 2 and 0 in rest
