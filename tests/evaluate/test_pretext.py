"""The held-out task: the method's metrics, averaged, with nothing learnt."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import data, errors, evaluate
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
  few = evaluate.pretext(method, {"w": 2.0}, {}, SOURCE, examples=5, batch_size=100)       # one batch, whole
  assert np.isfinite(few["loss"])


def test_a_task_about_training_examples_has_nothing_held_out():
  with pytest.raises(errors.UsageError, match="by their index"):
    evaluate.pretext(dataclasses.replace(brightness(), reads=("image", "index")), {}, {}, SOURCE)
