"""Several runs by one command: each is the run that it would be alone, and all stop, resume and fail as runs do."""

import shutil
import signal

import jax
import numpy as np
import pytest
from runs import leaves, numbers, tiny

from sslx import checkpoint, cli, config, errors, evaluate, plan, seeds, train, transfer

NAMES = ["lr0.05_seed0", "lr0.05_seed1", "lr0.2_seed0", "lr0.2_seed1"]


def small(**changed):
  """Six steps with an encoder that has no convolution."""
  c = tiny(total_steps=6, checkpoint__every=2)
  c.encoder.name = "own.dense"
  c.update(changed)
  return c


def several(**changed):
  return small(seeds=2, rates=(0.05, 0.2), **changed)


COUNTED = ("top1", "top5", "online_accuracy", "knn")      # of few examples, of which rounding turns one


def close(a, b):
  for one, other in zip(a, b, strict=True):
    assert one.keys() == other.keys()
    for key in one:
      np.testing.assert_allclose(one[key], other[key], rtol=1e-4, atol=0.07 if key in COUNTED else 1e-6, err_msg=key)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  """Two seeds at two rates that nothing disturbed: (workdir, {name: Encoder}, what was logged)."""
  workdir, seen = tmp_path_factory.mktemp("straight"), []
  return workdir, train.train(several(), workdir, log=seen.append), seen


def same(a, b, steps=6):
  for name in NAMES:
    assert all(np.array_equal(x, y) for x, y in zip(leaves(a / name, steps), leaves(b / name, steps), strict=True))
    assert numbers(a / name) == numbers(b / name)


def test_each_is_the_run_that_it_would_be_alone(straight, tmp_path):
  workdir, encoders, seen = straight
  assert list(encoders) == NAMES and {r["run"] for r in seen} == set(NAMES)
  alone = small(seed=1)
  alone.optim.lr = 0.2
  train.train(alone, tmp_path)
  close(numbers(workdir / NAMES[3]), numbers(tmp_path))
  for x, y in zip(leaves(workdir / NAMES[3]), leaves(tmp_path), strict=True):
    np.testing.assert_allclose(x, y, atol=1e-6)
  assert checkpoint.run_of(workdir / NAMES[3])["config"] == checkpoint.run_of(tmp_path)["config"]
  assert len({r["loss"] for r in seen if r["step"] == 2}) == 4
  images = np.zeros((2, 8, 8, 1), np.uint8)
  for name, encoder in encoders.items():
    loaded = checkpoint.load_encoder(workdir / name)
    assert np.array_equal(evaluate.embed(loaded, images), evaluate.embed(encoder, images))


def test_stopped_and_resumed_ends_with_the_same_bytes(straight, tmp_path):
  def stop(record):
    if record["step"] == 4 and record["run"] == NAMES[3]:
      signal.raise_signal(signal.SIGTERM)
  with pytest.raises(errors.Stopped, match="SIGTERM at step 4 of 6"):
    train.train(several(), tmp_path, log=stop)
  train.train(config.restored(checkpoint.config_of(tmp_path)), tmp_path)
  same(straight[0], tmp_path)


@pytest.mark.slow
def test_they_go_on_from_the_newest_step_that_all_have(straight, tmp_path, capsys):
  shutil.copytree(straight[0], tmp_path, dirs_exist_ok=True)
  shutil.rmtree(tmp_path / NAMES[1] / "checkpoints/6")       # killed before it was saved
  for path in (tmp_path / NAMES[2] / "checkpoints/6").rglob("*"):
    if path.is_file() and path.parent.name == "d":
      path.write_bytes(b"")                                  # which is seen, once step 6 is asked for
  train.train(several(), tmp_path)
  assert "going on from step 4 of 6" in capsys.readouterr().err
  for name in (NAMES[0], NAMES[1], NAMES[3]):
    assert all(np.array_equal(x, y) for x, y in zip(leaves(straight[0] / name), leaves(tmp_path / name), strict=True))


@pytest.mark.slow
def test_more_seeds_later_leave_the_others_as_they_are(straight, tmp_path):
  shutil.copytree(straight[0], tmp_path, dirs_exist_ok=True)
  shutil.rmtree(tmp_path / NAMES[1])
  shutil.rmtree(tmp_path / NAMES[3])
  encoders = train.train(several(), tmp_path)
  assert list(encoders) == NAMES
  for name in (NAMES[0], NAMES[2]):
    assert all(np.array_equal(x, y) for x, y in zip(leaves(straight[0] / name), leaves(tmp_path / name), strict=True))
  close(numbers(straight[0] / NAMES[3]), numbers(tmp_path / NAMES[3]))


@pytest.mark.parametrize("n", [2, 3])                        # a device each; both devices for every batch
def test_over_devices(n, straight, tmp_path):
  c = small(seeds=n)
  c.mesh.data, c.optim.lr = 2, 0.05
  train.train(c, tmp_path)
  close(numbers(straight[0] / NAMES[1]), numbers(tmp_path / "seed1"))
  assert jax.device_count() > 2


def test_convolutions_on_a_cpu_are_trained_in_turn(tmp_path, capsys):
  seen = []
  encoders = train.train(tiny(seeds=2, total_steps=4), tmp_path / "both", log=seen.append)
  assert "2 runs, one after the other" in capsys.readouterr().err
  assert list(encoders) == ["seed0", "seed1"] and [r["run"] for r in seen] == ["seed0"] * 2 + ["seed1"] * 2
  train.train(tiny(seed=1, total_steps=4), tmp_path / "alone")
  assert numbers(tmp_path / "both/seed1") == numbers(tmp_path / "alone")


@pytest.mark.parametrize("make", [small, tiny])
def test_one_that_diverges_leaves_the_others_alone(make, tmp_path, capsys):
  c = make(total_steps=6)
  c.rates = (0.05, 1e38)
  for _ in range(2):
    encoders = train.train(c, tmp_path)
    assert list(encoders) == [NAMES[0]]
  assert "lr1e+38_seed0" in capsys.readouterr().err
  (_, good), (name, bad) = seeds.summary(c, tmp_path)
  assert name == "lr1e+38_seed0, diverged" and "loss" not in bad and good["steps"] == 6
  c.rates = (1e38,)
  with pytest.raises(errors.RunError, match="diverged"):
    train.train(c, tmp_path)


@pytest.mark.slow
def test_the_command(tmp_path, capsys):
  workdir, config_file = str(tmp_path / "runs"), "configs/mae.py:tiny"
  command = ["pretrain", "--config", config_file, "--config.seeds=2", "--config.total_steps=4", "--config.log.every=2",
             "--config.mesh.data=1", "--config.evaluate.every=4", "--config.evaluate.train=100", "--workdir", workdir]
  assert cli.main(command) == 0
  said = capsys.readouterr()
  assert "2 runs at once: seed0, seed1" in said.err and f"sslx evaluate --workdir {workdir}/seed0" in said.err
  assert all(word in said.out for word in ("seed0", "seed1", "mean", "deviation", "knn", "online_accuracy"))
  (_, a), (_, b), (_, mean), (_, deviation) = seeds.summary(config.restored(checkpoint.config_of(workdir)), workdir)
  assert mean["loss"] == pytest.approx((a["loss"] + b["loss"]) / 2)
  assert deviation["loss"] == pytest.approx(abs(a["loss"] - b["loss"]) / 2**0.5)
  assert cli.main(["pretrain", "--workdir", workdir]) == 0
  assert "going on from step 4 of 4" in capsys.readouterr().err
  for argv in (["report"], ["evaluate"], ["pretrain", "--config", config_file]):
    assert cli.main([*argv, "--workdir", workdir]) == 2
    assert "seed0, seed1" in capsys.readouterr().err
  assert cli.main(["pretrain", "--config", config_file, "--config.seeds=2", "--workdir", workdir]) == 2
  assert "total_steps was 4, is 30" in capsys.readouterr().err
  assert cli.main([*command[:-1], f"{workdir}/seed0"]) == 2
  assert "holds a single run" in capsys.readouterr().err


@pytest.mark.parametrize(("changed", "says"), [
    ({"seeds": 0}, "seeds is 0"), ({"seeds": -1}, "at least 1"), ({"rates": (0.1, -1.0)}, "rates holds -1.0"),
    ({"rates": ("a",)}, "rates holds 'a'"), ({"rates": (0.1, 0.1)}, "rates holds 0.1 twice"),
    ({"seeds": 2, "stop": {"plateau": True}}, "do not go with stop.plateau"),
    ({"seeds": 2, "mesh": {"fsdp": 2}}, "do not go with mesh.fsdp")])
def test_wrong_use_is_one_clear_line(changed, says, tmp_path):
  c = small()
  c.update(changed)
  with pytest.raises(errors.UsageError, match=says) as e:
    train.train(c, tmp_path / "run")
  assert "\n" not in str(e.value) and not (tmp_path / "run").exists()


def test_what_has_one_run_alone(tmp_path):
  c = config.load("configs/transfer/classify.py:digits")
  c.seeds = 2
  for call in (lambda: transfer.transfer(c, tmp_path), lambda: plan.plan(small(seeds=2, mesh={"data": 1}), "cpu")):
    with pytest.raises(errors.UsageError, match="of `sslx pretrain` alone"):
      call()
