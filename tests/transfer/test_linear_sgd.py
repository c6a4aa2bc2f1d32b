"""The papers' linear protocol: every head of a sweep is what it would be alone, and as NumPy trains it."""

import json
import pathlib
import signal

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from runs import leaves
from sources import exported

from sslx import checkpoint, cli, config, data, encoders, errors, evaluate, optim, train, transfer
from sslx.augment import to_float
from sslx.report import record, transferred
from sslx.transfer import linear_sgd

CONFIG = f"{pathlib.Path(__file__).parents[2]}/configs/transfer/linear_sgd.py:tiny"
FEW = ["--config.total_steps=6", "--config.mesh.data=1", "--config.log.every=2", "--config.checkpoint.every=2"]
RATES, STEPS = (0.03, 0.5, 4.0), 4
RNG = np.random.default_rng(0)
BATCH = {"image": RNG.integers(0, 255, (8, 8, 8, 1), np.uint8), "label": np.arange(8) % 3, "index": np.arange(8)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return exported(tmp_path_factory.mktemp("source"), "own.encoder", width=4)


def trained(source, rates, lr=1.0, held=0.25):
  """(kernels [R, D, K], biases) before and after some steps on one batch, by config's SGD with momentum."""
  method = linear_sgd.make(source[1], source=source[0], rates=rates, held=held, num_classes=3, num_examples=8,
                           aug=lambda key, x: to_float(x))
  c = config.default().optim
  c.lr, c.weight_decay = lr, 0.0
  tx = optim.make(c, STEPS, 8)
  state, step = train.init_state(method, tx, jax.random.key(0), BATCH), train.make_step(method, tx, STEPS)
  assert set(state.params["net"]) == {"kernel", "bias"}      # the encoder is not among them
  read = lambda: jax.device_get([state.params["net"][k] for k in ("kernel", "bias")])
  before = read()
  for _ in range(STEPS):
    state, _ = step(state, jax.random.key(1), BATCH)
  return before, read()


def test_a_head_of_the_sweep_is_one_alone_and_that_of_numpy(source):
  _, (kernels, biases) = trained(source, RATES)
  for i, rate in enumerate(RATES):
    (first, _), alone = trained(source, (1.0,), lr=rate)
    for a, b in ((kernels, alone[0]), (biases, alone[1])):
      np.testing.assert_allclose(a[i], b[0], rtol=1e-5, atol=1e-6)
    h = evaluate.embed(checkpoint.load_encoder(source[0], module=source[1]), BATCH["image"]).astype(float)
    h = (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5)
    learnt = np.ones(8)
    learnt[linear_sgd.chooses(8, 0.25)] = 0
    w, b, truth = first[0].astype(float), np.zeros(3), np.eye(3)[BATCH["label"]]
    speed = [np.zeros_like(w), np.zeros_like(b)]
    for t in range(STEPS):
      z = np.exp(h @ w + b)
      error = (z / z.sum(1, keepdims=True) - truth) * learnt[:, None] / learnt.sum()
      speed = [0.9 * v + g for v, g in zip(speed, (h.T @ error, error.sum(0)), strict=True)]
      now = rate * (1 + np.cos(np.pi * t / STEPS)) / 2
      w, b = w - now * speed[0], b - now * speed[1]
    np.testing.assert_allclose(kernels[i], w, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(biases[i], b, rtol=2e-3, atol=2e-4)


def test_held_out_examples_are_not_learnt_from(source, monkeypatch):
  held = linear_sgd.chooses(8, 0.25)
  assert len(held) == 2 and not len(linear_sgd.chooses(8, 0.0))
  same = lambda a, b: all(map(np.array_equal, a, b))
  first = trained(source, (0.5,))[1]
  monkeypatch.setitem(BATCH, "label", np.where(np.isin(np.arange(8), held), (BATCH["label"] + 1) % 3, BATCH["label"]))
  assert same(trained(source, (0.5,))[1], first) and not same(trained(source, (0.5,), held=0.0)[1], first)


def test_class_tokens_of_the_last_blocks():
  module = encoders.make("vit_ti", width=8, heads=2, depth=3, patch=4, registers=1)
  x = jax.numpy.asarray(RNG.random((2, 8, 8, 1), np.float32))
  variables = jax.jit(module.init)(jax.random.key(0), x)
  found = jax.jit(lambda v: module.apply(v, x, method="features"))(variables)
  assert found["class_tokens"].shape == (2, 3, 8)
  np.testing.assert_allclose(found["class_tokens"][:, -1], found["pooled"], atol=1e-6)
  shallow = encoders.make("vit_ti", width=8, heads=2, depth=2, patch=4, registers=1)
  fewer = {"params": {k: v for k, v in variables["params"].items() if k != "block3"}}
  np.testing.assert_allclose(found["class_tokens"][:, 1], jax.jit(shallow.apply)(fewer, x), atol=1e-6)
  out = jax.eval_shape(lambda: linear_sgd.Probes(module, 3, 5, 2).init_with_output(jax.random.key(0), x))
  assert out[0].shape == (2, 5, 3) and out[1]["params"]["kernel"].shape == (5, 16, 3)
  with pytest.raises(errors.UsageError, match="blocks=4 are of a ViT .* this has 3"):
    jax.eval_shape(lambda: linear_sgd.Probes(module, 3, 5, 4).init(jax.random.key(0), x))


def test_the_rate_is_chosen_where_it_says():
  """By hand: the first head is right on what is held out, the second on the test set."""
  image = np.zeros((20, 4, 4, 1), np.uint8)
  image[:, 0, 0, 0] = np.arange(20) % 2
  known = data.from_array("known", image, np.arange(20) % 2 + 5)
  test = data.from_array("test", image[:10], (np.arange(10) + 1) % 2 + 5)
  predict = lambda x: np.stack([np.eye(2)[1 - s + (2 * s - 1) * x[:, 0, 0, 0].astype(int)] for s in (1, 0)], 1)
  for held, rate, accuracy, words in ((0.25, 0.1, 0.0, "5 training examples that"), (0.0, 0.3, 1.0, "flatters")):
    found = linear_sgd.measure(predict, known, test, ConfigDict({"held": held, "rates": (0.1, 0.3)}))
    assert (found["rate"], found["accuracy"]) == (rate, accuracy) and words in found["chosen_on"]
    assert found["rates"] == {"0.1": {"held": 1.0 if held else None, "test": 0.0},
                              "0.3": {"held": 0.0 if held else None, "test": 1.0}}


@pytest.mark.slow
def test_the_command_its_report_and_resuming(source, tmp_path, capsys):
  command = ["transfer", "--config", CONFIG, "--from", source[0], "--workdir"]
  assert cli.main([*command, str(tmp_path / "run"), *FEW]) == 0
  found = json.loads((tmp_path / "run/transfer.json").read_text())
  assert list(found["runs"]) == ["linear"] and list(found["runs"]["linear"]["rates"])[-1] == "3"
  words = " ".join(transferred.of({"transfer": found, "kind": record.KINDS["image"]})["paragraphs"])
  assert "was chosen on 144 training examples that no head learnt from" in words
  title, columns, rows = transferred.tables(found)[-1]
  assert "144" in title and len(columns) == 2 and sum("(chosen)" in name for name, *_ in rows) == 1 and len(rows) == 8
  c = config.override(transfer.onto(config.load(CONFIG), source[0]), FEW)

  def stop(record):
    if record["step"] == 2:
      signal.raise_signal(signal.SIGTERM)
  with pytest.raises(errors.Stopped, match="at step 2 of 6"):
    transfer.transfer(c, tmp_path / "again", log_to=stop)
  assert transfer.transfer(c, tmp_path / "again") == found
  assert all(map(np.array_equal, leaves(tmp_path / "run"), leaves(tmp_path / "again")))
  for more, says in (("--strategy=finetune", "strategy is linear"), ("--strategy=auto", "is linear, not auto"),
                     ("--config.optim.weight_decay=0.1", "for SGD"),
                     ("--config.method.blocks=4", "are of a ViT"), ("--config.method.rates=0", "rates above 0")):
    assert cli.main([*command, str(tmp_path / "other"), *FEW, more]) == 2
    assert says in capsys.readouterr().err.strip().splitlines()[-1]
