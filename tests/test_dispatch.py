"""Data that lie on the devices, and several steps at once: the same batches, the same numbers but for rounding."""

import signal

import jax
import numpy as np
import pytest
from runs import leaves, numbers, tiny
from test_seeds import close, small

from sslx import cost, errors, mesh, prepare, programs, train


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("plain")
  train.train(small(), workdir)
  return workdir


def program(config):
  ready = prepare.prepare(config, "nowhere")
  over = mesh.make_mesh(ready.config)
  return ready, programs.alone(ready, over, mesh.of(config, ready.state, over))


def test_the_batches_are_the_same_bit_for_bit():
  ready, there = program(small(data={"device": True}))
  _, plain = program(small())
  assert set(there.fixed["data"]) == {"image", "label"} == set(ready.method.reads)
  for _, got, want in zip(range(3), there.batches(5), plain.batches(5), strict=False):
    assert set(got) == {"index"} and got["index"].shape == (1, 32)
    for key, data in there.fixed["data"].items():
      assert np.array_equal(data[got["index"]], want[key]) and data.dtype == want[key].dtype


@pytest.mark.parametrize("devices", [1, 2])
def test_data_on_the_devices_train_the_same_run(devices, plain, tmp_path):
  c = small(data={"device": True})
  c.mesh.data = devices
  train.train(c, tmp_path)
  close(numbers(tmp_path), numbers(plain))
  train.train(small(), tmp_path)                             # it goes on either way


def test_several_steps_at_once_are_the_same_run_and_resume_to_the_bit(plain, tmp_path):
  train.train(small(dispatch=2), tmp_path / "straight")
  close(numbers(tmp_path / "straight"), numbers(plain))

  def stop(record):
    if record["step"] == 2:
      signal.raise_signal(signal.SIGTERM)
  with pytest.raises(errors.Stopped, match="at step 2 of 6"):
    train.train(small(dispatch=2), tmp_path / "stopped", log=stop)
  train.train(small(dispatch=2), tmp_path / "stopped")
  assert numbers(tmp_path / "stopped") == numbers(tmp_path / "straight")
  assert all(np.array_equal(a, b) for a, b in zip(leaves(tmp_path / "stopped"), leaves(tmp_path / "straight"),
                                                  strict=True))


def test_seeds_on_the_same_data_several_steps_at_once(plain, tmp_path):
  train.train(small(seeds=2, dispatch=2, data={"device": True}), tmp_path)
  close(numbers(tmp_path / "seed0"), numbers(plain))
  with pytest.raises(errors.UsageError, match="each seed draws its own"):
    train.train(small(seeds=2, data={"device": True, "limit": 100}), tmp_path / "other")


def loops(jaxpr):
  """The loops of a jaxpr: [(their length, the names of what is in them)]."""
  found = []
  for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
    if eqn.primitive.name == "scan":
      found.append((eqn.params["length"], cost.primitives(eqn.params["jaxpr"])))
    found += [loop for inner in cost.inner(eqn) for loop in loops(inner)]
  return found


def test_convolutions_on_a_cpu_are_in_no_loop():
  for c, looped in ((tiny(dispatch=7, total_steps=7, checkpoint__every=7, log__every=7), False),
                    (small(dispatch=6, log={"every": 6}, checkpoint={"every": 6}), True)):
    ready, made = program(c)
    found = loops(jax.make_jaxpr(made.step)(ready.state, made.fixed, next(made.batches(0))))
    assert any(length == c.dispatch for length, _ in found) == looped
    assert not any("conv_general_dilated" in names for _, names in found)


def test_a_step_that_is_not_finite_is_named(tmp_path):
  c = tiny(dispatch=4, log__every=4)
  c.optim.lr, c.optim.schedule = 1e38, "constant"
  with pytest.raises(errors.RunError, match="at step [1-4] the loss is"):
    train.train(c, tmp_path)


@pytest.mark.parametrize(("changed", "says"), [
    ({"dispatch": 0}, "dispatch is 0"), ({"dispatch": 4}, "total_steps is 6, which is no multiple of dispatch=4"),
    ({"dispatch": 3}, "log.every is 2, which is no multiple of dispatch=3")])
def test_wrong_use_is_one_clear_line(changed, says, tmp_path):
  with pytest.raises(errors.UsageError, match=says):
    train.train(small(**changed), tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_an_epoch_is_a_number_of_dispatches(tmp_path):
  from sslx import config
  c = config.load("configs/deepcluster.py:tiny")             # 1,437 examples, 22 batches of 64
  c.dispatch, c.total_steps, c.log.every, c.checkpoint.every = 4, 8, 4, 4
  with pytest.raises(errors.UsageError, match="an epoch has 22 steps"):
    train.train(c, tmp_path)
