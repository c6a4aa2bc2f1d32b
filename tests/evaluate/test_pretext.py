"""The held-out task: the method's metrics, averaged, with nothing learnt."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import tiny

from sslx import data, errors, evaluate, log, methods, train
from sslx.augment import recipes
from sslx.methods import base

SOURCE = data.load("digits", split="test")


def brightness():
  """A method whose loss is a number of its images and its draws."""
  views = lambda rng, batch: {"x": jnp.mean(batch["image"] / 255, (1, 2, 3)), "noise": jax.random.normal(rng, ())}
  def loss(params, state, views, rng, progress):
    return params["w"] * jnp.mean(views["x"]), (state, {"noise": views["noise"], "progress": progress})
  return base.Method(lambda rng, batch: ({"w": 2.0}, {}), views, loss, lambda params, state: {})


def test_the_mean_over_whole_batches_with_the_same_draws():
  method = brightness()
  found = evaluate.pretext(method, {"w": 2.0}, {}, SOURCE, examples=300, batch_size=100, seed=3)
  rows = np.random.default_rng(3).permutation(len(SOURCE))[:300]
  np.testing.assert_allclose(found["loss"], 2 * np.mean(SOURCE.batch(np.sort(rows))["image"] / 255), rtol=1e-5)
  assert found["progress"] == 1 and found["noise"] != 0
  assert found == evaluate.pretext(method, {"w": 2.0}, {}, SOURCE, examples=300, batch_size=100, seed=3)
  few = evaluate.pretext(method, {"w": 2.0}, {}, SOURCE, examples=5, batch_size=100)
  rows = np.sort(np.random.default_rng(0).permutation(len(SOURCE))[:5])
  np.testing.assert_allclose(few["loss"], 2 * np.mean(SOURCE.batch(rows)["image"] / 255), rtol=1e-5)


def test_a_task_about_training_examples_has_nothing_held_out():
  with pytest.raises(errors.UsageError, match="by their index"):
    evaluate.pretext(dataclasses.replace(brightness(), reads=("image", "index")), {}, {}, SOURCE)


def test_during_a_run_it_is_that_of_the_test_split(tmp_path):
  c = tiny(evaluate__every=12, evaluate__protocols=("pretext",), evaluate__test=64, checkpoint__best="none")
  train.train(c, tmp_path)
  last = log.read(tmp_path / "metrics.jsonl")[-1]
  assert np.isfinite(last["test_loss"]) and 0 <= last["test_top1"] <= last["test_top5"] <= 1
  assert "test_online_accuracy" not in last
  with pytest.raises(errors.UsageError, match="reads the index"):
    train.train(tiny(evaluate__every=6, evaluate__protocols=("pretext",),
                     method=methods.options("deepcluster_v2", aug=recipes.options("handwriting"))), tmp_path / "other")
