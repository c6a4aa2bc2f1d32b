"""Runs that start from weights: every copy of the encoder has them, heads are fresh, a held encoder stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from runs import leaves, tiny

import sslx
from sslx import checkpoint, cli, config, encoders, errors, initial, methods, optim, train
from sslx.augment import recipes

BATCH = {"image": np.random.default_rng(0).integers(0, 255, (4, 8, 8, 1), np.uint8), "label": np.arange(4) % 2,
         "index": np.arange(4)}
MODULE = encoders.make("own.encoder", width=6)
RNG = np.random.default_rng(1)
WIDE = jax.tree.map(lambda a: jnp.asarray(RNG.normal(size=a.shape), a.dtype),
                    MODULE.init(jax.random.key(5), jnp.zeros((1, 8, 8, 1))))


def first_state(name):
  """(method, its TrainState before the first step) with options for a small encoder and few examples."""
  given = {"num_examples": 4, "num_classes": 2, "prototypes": 8, "clusters": 2, "queue": 8, "widths": (8, 4),
           "predictor": (8, 4), "pca": 2, "number": 4, "number_of_crops": 2}
  known = methods.accepted(name)
  options = {k: v for k, v in given.items() if k in known} | (
      {"aug": recipes.options("handwriting")} if "aug" in known and name != "colorization" else {})
  if name in ("rotation", "patch_position"):
    options["widths"] = (8,)
  method = methods.make(name, MODULE, **options)
  return method, train.init_state(method, optim.make(config.default().optim, 10, 4), jax.random.key(0), BATCH)


@pytest.mark.parametrize("name", ["simclr", "byol", "dino", "deepcluster", "rotation"])
def test_student_and_teacher_start_from_the_weights(name):
  method, state = first_state(name)
  new = initial.start(method, state, WIDE)
  assert initial.equal(method.encoder(new.params, new.state)["image"], WIDE)
  kernel = np.asarray(WIDE["params"]["Conv_0"]["kernel"])
  held = lambda tree: [p for p, a in jax.tree_util.tree_leaves_with_path(tree) if np.array_equal(a, kernel)]
  assert len(held((new.params, new.state))) == {"byol": 2, "dino": 2}.get(name, 1)
  mean = np.asarray(WIDE["batch_stats"]["BatchNorm_0"]["mean"])
  assert sum(np.array_equal(a, mean) for a in jax.tree.leaves(new.state)) == {"byol": 2, "dino": 2}.get(name, 1)
  changed = [jax.tree_util.keystr(p) for (p, a), b in zip(
      jax.tree_util.tree_leaves_with_path((state.params, state.state)), jax.tree.leaves((new.params, new.state)),
      strict=True) if not np.array_equal(a, b)]
  assert changed and all("Conv_0" in c or "BatchNorm_0" in c for c in changed)             # heads stay as they were
  (place,) = initial.places(method, jax.random.key(0), BATCH)
  trained = state.params
  for part in place:
    trained = trained[part]
  assert set(trained) == {"Conv_0", "BatchNorm_0"}


def test_another_network_of_the_same_shape_is_left_alone():
  method, state = first_state("simclr")
  twin = MODULE.init(jax.random.key(9), jnp.zeros((1, 8, 8, 1)))
  new = initial.start(method, state.replace(state=state.state | {"judge": twin}), WIDE)
  assert initial.equal(new.state["judge"], twin)


def test_another_encoder_is_refused():
  method, state = first_state("simclr")
  other = encoders.make("own.encoder", width=8).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
  with pytest.raises(errors.UsageError, match=r"config.init .* is \[8\], not \[6\] and \d more"):
    initial.start(method, state, other)


def test_held_parameters_stay_and_gather_no_moments():
  params = {"net": {"encoder": {"w": jnp.ones(3)}, "head": {"w": jnp.ones(3)}}}
  c = ConfigDict({**config.default().optim, "name": "sgd", "lr": 0.1, "weight_decay": 0.1, "schedule": "constant"})
  tx = optim.held(optim.make(c, 10, 4), {("net", "encoder")}, steps=2, rate=0.5)
  state, grads = tx.init(params), jax.tree.map(jnp.ones_like, params)
  seen = []
  for _ in range(4):
    updates, state = tx.update(grads, state, params)
    seen.append(jax.tree.map(lambda u: float(u[0]), updates["net"]))
  assert [s["encoder"]["w"] for s in seen] == pytest.approx([0, 0, -0.025, -0.095])        # no momentum from before
  assert [s["head"]["w"] for s in seen] == pytest.approx([-0.1, -0.19, -0.271, -0.3439])


@pytest.mark.slow
def test_a_run_starts_from_another_holds_it_and_resumes(tmp_path):
  first = train.train(tiny(total_steps=4), tmp_path / "first")
  c = config.override(tiny(total_steps=4, checkpoint__every=2, encoder=encoders.options("own.encoder", width=3)), [
      f"--config.init={tmp_path}/first", "--config.init_frozen=2"])
  assert c.encoder.width == 8
  train.train(c, tmp_path / "second")
  early = checkpoint.load_encoder(tmp_path / "second", step=2)
  assert initial.equal(early.variables, first.variables)                                  # statistics, too
  assert not initial.equal(sslx.load_encoder(tmp_path / "second").variables["params"], first.variables["params"])
  (tmp_path / "first").rename(tmp_path / "gone")
  whole = leaves(tmp_path / "second")
  for folder in checkpoint.folders(tmp_path / "second")[1:]:
    folder.rename(tmp_path / "aside")
  assert cli.main(["pretrain", "--workdir", str(tmp_path / "second")]) == 0               # without the weights
  assert all(np.array_equal(a, b) for a, b in zip(leaves(tmp_path / "second"), whole, strict=True))


def test_grey_images_become_those_that_the_weights_read(tmp_path):
  module = encoders.make("own.encoder", width=6)
  c = tiny(encoder=encoders.options("own.encoder", width=6))
  for channels in (1, 3):
    spec = checkpoint.spec_of(config.plain(c), {"data": {"name": "digits", "shape": [8, 8, channels]}, "versions": {}})
    checkpoint.export_encoder(tmp_path / str(channels), module.init(jax.random.key(0), jnp.zeros((1, 8, 8, channels))),
                              spec | {"step": 0})
    found = config.override(tiny(total_steps=1), [f"--config.init={tmp_path}/{channels}"])
    assert (found.data.channels, found.encoder.width) == ({1: 0, 3: 3}[channels], 6)
  assert train.train(found, tmp_path / "run").shape == (8, 8, 3)


def test_frozen_without_weights_is_refused(tmp_path):
  for option in ({"init_frozen": 2}, {"init_rate": 0.1}):
    with pytest.raises(errors.UsageError, match="set init, too"):
      train.train(tiny(**option), tmp_path / "run")
  with pytest.raises(errors.UsageError, match="init_rate is 0"):
    train.train(tiny(init="x", init_rate=0.0), tmp_path / "run")
