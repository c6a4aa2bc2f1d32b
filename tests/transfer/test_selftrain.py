"""Self-training: what is labelled and what is not, losses against NumPy, runs of every kind, what cannot be."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sources import exported

from sslx import config, data, errors, inputs, transfer
from sslx.transfer import selftrain


def conf(source, *more):
  return config.override(transfer.onto(config.load("configs/transfer/selftrain.py:tiny"), source), [
      "--config.mesh.data=1", *more])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return exported(tmp_path_factory.mktemp("source"), "own.encoder")[0]


def test_labelled_examples_stand_beside_all_others():
  whole = data.load("digits")
  c = config.load("configs/transfer/selftrain.py:tiny")
  both = inputs.load(c, "train", rest=True)
  assert len(both) == len(whole) and both.fingerprint != whole.fingerprint
  batch = both.batch(np.arange(len(both)))
  assert np.array_equal(batch["image"], whole.batch(np.arange(len(whole)))["image"])
  pairs, count = np.unique(batch["labelled"].reshape(len(both), -1), axis=0, return_counts=True)
  assert len(pairs) == 50 and np.ptp(count) <= 1 and np.bincount(batch["class"]).min() > 140
  truth = {x.tobytes(): y for x, y in zip(whole.batch(np.arange(1437))["image"], whole.labels, strict=True)}
  assert all(truth[x.tobytes()] == y for x, y in zip(batch["labelled"], batch["class"], strict=True))
  again = both.batch([7, 3])
  assert np.array_equal(again["labelled"], batch["labelled"][[7, 3]])
  c.data.labels = "4"
  assert inputs.load(c, "train", rest=True).fingerprint != both.fingerprint
  assert both.labels is None and "label" not in batch     # nobody takes one image's label for the other's
  assert len(inputs.load(c, "train")) == 40                # what a probe or a report sees is labelled


def test_losses_against_numpy():
  rng = np.random.default_rng(0)
  weak, strong = rng.normal(0, 3, (2, 40, 5))
  guess, log = softmax(weak, -1), log_softmax(strong, -1)
  sure = guess.max(-1) >= 0.8
  assert 5 < sure.sum() < 35
  loss, share = selftrain.pseudo(jnp.asarray(weak), jnp.asarray(strong), 0.8)
  np.testing.assert_allclose(loss, -np.sum(sure * log[np.arange(40), guess.argmax(-1)]) / 40, rtol=1e-5)
  assert share == pytest.approx(sure.mean())
  np.testing.assert_allclose(selftrain.entropy(jnp.asarray(weak)), -(guess * np.log(guess)).sum(-1).mean(), rtol=1e-5)


@pytest.mark.parametrize("kind", [k if k == "fixmatch" else pytest.param(k, marks=pytest.mark.slow)
                                  for k in selftrain.KINDS])
def test_a_run_of_each_kind(source, tmp_path, kind):
  c = conf(source, f"--config.method.kind={kind}", "--config.total_steps=4", "--config.checkpoint.every=4",
           "--config.method.threshold=0.1")
  records = []
  found = transfer.transfer(c, tmp_path / "run", scratch=False, log_to=records.append)
  assert found["labels"] == 50 and found["task"] == "selftrain" and found["runs"]["finetune"]["examples"] == 360
  assert ("unsupervised" in records[-1]) == (kind != "none")
  if kind == "fixmatch":
    assert records[-1]["sure"] == 1                          # of ten classes one has a tenth


@pytest.mark.parametrize(("change", "said"), [
    ("--config.data.unlabelled=False", "set data.labels .* and data.unlabelled=True"),
    ("--config.data.labels=", "set data.labels, too"), ("--config.method.kind=fixmtach", "did you mean fixmatch")])
def test_what_cannot_be(source, tmp_path, change, said):
  with pytest.raises(errors.UsageError, match=said):
    transfer.transfer(conf(source, change), tmp_path / "run", scratch=False)


def test_a_config_of_before_a_key_is_at_its_default():
  new = config.plain(config.load("configs/simclr.py:tiny"))
  old = {**new, "data": {k: v for k, v in new["data"].items() if k != "unlabelled"}}
  assert not config.difference(old, new)
  new["data"]["unlabelled"] = True
  assert config.difference(old, new) == {"data.unlabelled": (False, True)}
