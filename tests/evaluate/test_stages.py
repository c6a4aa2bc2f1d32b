"""Probes of every stage: the closed form against its normal equations, and one accuracy a stage and contender."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import checkpoint, encoders, evaluate
from sslx.evaluate import stages
from sslx.evaluate.linear import standardised
from sslx.report import tables

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (90, 8, 8, 3), np.uint8)
LABELS = np.arange(90) % 3
IMAGES[np.arange(90), LABELS] = 255                        # a bright row tells the class


@pytest.fixture(scope="module")
def encoder():
  module = encoders.make("resnet10", width=2, stem="small")
  return checkpoint.Encoder(module, module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))), (8, 8, 3), {})


def test_ridge_is_the_closed_form():
  x, y = RNG.standard_normal((60, 5)), RNG.integers(0, 3, 60)
  x[:, 0] += y
  test_x, test_y = RNG.standard_normal((40, 5)), RNG.integers(0, 3, 40)
  found = stages.ridge(x, y, test_x, test_y)
  a, b = (v.astype(np.float64) for v in standardised(x, test_x))
  targets = 2 * np.eye(3)[y] - 1
  def solved(keep, alpha):
    mean_x, mean_y = a[keep].mean(0), targets[keep].mean(0)
    c = a[keep] - mean_x
    w = np.linalg.solve(c.T @ c + alpha * np.eye(5), c.T @ (targets[keep] - mean_y))
    return lambda v: (v - mean_x) @ w + mean_y
  def left_out(alpha):
    rows = np.arange(60)
    return np.mean([(solved(rows != i, alpha)(a[i]) - targets[i])**2 for i in rows])
  alpha = min(stages.ALPHAS, key=left_out)
  assert found["alpha"] == alpha
  assert found["accuracy"] == np.mean(solved(np.ones(60, bool), alpha)(b).argmax(1) == test_y)


def test_every_stage_has_its_accuracy(encoder):
  split = (IMAGES[:60], LABELS[:60]), (IMAGES[60:], LABELS[60:])
  result = evaluate.evaluate(encoder, *split, protocols=("stages", "stages_ridge"), random=encoder)
  names = ["stage1", "stage2", "stage3", "stage4", "pooled"]
  for protocol, probe in stages.PROBES.items():
    assert list(result[protocol]["encoder"]) == list(result[protocol]["random"]) == names
    assert list(result[protocol]["raw"]) == ["pixels"]
    by_hand = [evaluate.embed(encoder, x, layer="stage2") for x, _ in split]
    wanted = probe(by_hand[0], split[0][1], by_hand[1], split[1][1])["accuracy"]
    assert result[protocol]["encoder"]["stage2"] == wanted
    assert (protocol, "stage2", wanted, wanted, None, None) in evaluate.rows(result)
  assert np.allclose(result["stages"]["encoder"]["pooled"], evaluate.evaluate(
      encoder, *split, protocols=("linear",))["linear"]["encoder"])
  assert len(tables.stage_charts(result)) == 2 and not tables.stage_charts(None)


def test_twelve_blocks_come_in_order():
  module = encoders.make("vit_ti", width=8, heads=2, depth=12, patch=4)
  record = checkpoint.Encoder(module, module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))), (8, 8, 3), {})
  assert stages.names(record) == [*(f"stage{i}" for i in range(1, 13)), "pooled"]
