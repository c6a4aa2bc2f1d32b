"""A run that is stopped, killed, damaged, copied, extended: what goes on, and what is refused."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from runs import leaves, numbers, tiny

from sslx import checkpoint, config, data, errors, evaluate, log, run, train

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  """A run that nothing disturbed, with what it logged to the caller."""
  workdir, seen = tmp_path_factory.mktemp("straight"), []
  encoder = train.train(tiny(), workdir, log=seen.append)
  return workdir, encoder, seen


def test_a_run_writes_what_later_commands_read(straight):
  workdir, encoder, seen = straight
  assert [r["step"] for r in seen] == [2, 4, 6, 8, 10, 12]
  assert seen == log.read(workdir / "metrics.jsonl")
  assert {"loss", "grad_norm", "z_std", "online_accuracy", "lr", "images_per_s"} <= set(seen[0])
  assert list(workdir.glob("events.out.tfevents.*"))
  assert checkpoint.Checkpoints(workdir, create=False).steps() == [8, 12]
  environment = checkpoint.read_json(workdir / "environment.json")
  assert environment["data"]["fingerprint"] == data.load("digits").fingerprint
  assert environment["versions"]["jax"] == jax.__version__
  loaded = checkpoint.load_encoder(workdir)
  assert loaded.shape == (8, 8, 1)
  images = data.arrays(data.load("digits", split="test"))[0][:5]
  out = evaluate.embed(loaded, images)
  assert out.shape == (5, 8)
  assert np.array_equal(out, evaluate.embed(encoder, images))
  assert np.array_equal(out, evaluate.embed(checkpoint.load_encoder(workdir, step=12), images))
  assert not np.array_equal(out, evaluate.embed(checkpoint.load_encoder(workdir, step=8), images))
  assert not [p for p in workdir.rglob("*") if "part" in p.name or "tmp" in p.name]


def test_stopped_and_resumed_ends_with_the_same_bytes(straight, tmp_path):
  def stop(record):
    if record["step"] == 6:
      signal.raise_signal(signal.SIGTERM)
  with pytest.raises(errors.Stopped, match="SIGTERM at step 6 of 12"):
    train.train(tiny(), tmp_path, log=stop)
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  with open(tmp_path / "metrics.jsonl", "a") as f:         # what a kill leaves: later records, half a line
    f.write('{"step": 8, "loss": 1.0}\n{"step": 9, "lo')
  train.train(tiny(log__every=2, checkpoint__every=5), tmp_path)
  assert all(np.array_equal(a, b) for a, b in zip(leaves(straight[0], 12), leaves(tmp_path, 12), strict=True))
  assert numbers(tmp_path) == numbers(straight[0])


@pytest.mark.slow
def test_a_damaged_checkpoint_falls_back_to_the_one_before(straight, tmp_path, capsys):
  train.train(tiny(total_steps=8), tmp_path)
  for path in (tmp_path / "checkpoints/8").rglob("*"):
    if path.is_file() and path.parent.name == "d":
      path.write_bytes(path.read_bytes()[:20])
  train.train(tiny(total_steps=8), tmp_path)
  said = capsys.readouterr().err
  assert "8 cannot be read" in said
  assert "Traceback" not in said
  assert "going on from step 4 of 8" in said
  checkpoint.Checkpoints(tmp_path, create=False).restore_plain(8)
  assert (tmp_path / "checkpoints/damaged-8/default").is_dir()
  for path in tmp_path.glob("checkpoints/*/default/d/*"):
    path.write_bytes(b"")
  with pytest.raises(errors.RunError, match="no checkpoint in .* can be read"):
    train.train(tiny(total_steps=8), tmp_path)


def test_only_the_same_run_goes_on(straight):
  workdir = straight[0]
  with pytest.raises(errors.UsageError, match="optim.lr was 0.1, is 0.2"):
    train.train(tiny(optim__lr=0.2), workdir)
  with pytest.raises(errors.UsageError, match="data .fingerprint."):
    train.train(tiny(), workdir, data=data.load("digits", split="test"))
  with pytest.raises(errors.UsageError, match="total_steps was 12, is 14"):
    train.train(tiny(total_steps=14), workdir)


def test_a_checkpoint_tells_what_it_is_wherever_it_was_copied_to(straight, tmp_path):
  workdir, encoder, _ = straight
  images = data.arrays(data.load("digits", split="test"))[0][:5]
  for name in ("12", "mine"):
    shutil.copytree(workdir / "checkpoints/12", tmp_path / name)
    alone = checkpoint.load_encoder(tmp_path / name)
    assert np.array_equal(evaluate.embed(alone, images), evaluate.embed(encoder, images))
    assert alone.spec == encoder.spec
  with pytest.raises(errors.UsageError, match="the checkpoint of step 12, not 8"):
    checkpoint.load_encoder(tmp_path / "mine", step=8)
  (tmp_path / "mine/default/_METADATA").write_text("")
  with pytest.raises(errors.RunError, match="mine cannot be read"):
    checkpoint.load_encoder(tmp_path / "mine")
  (tmp_path / "mine/_CHECKPOINT_METADATA").write_text("{}")
  with pytest.raises(errors.UsageError, match="does not say what run it is of"):
    checkpoint.load_encoder(tmp_path / "mine")


@pytest.mark.slow
def test_checkpoints_alone_are_a_run_that_goes_on(straight, tmp_path):
  shutil.copytree(straight[0] / "checkpoints/8", tmp_path / "checkpoints/8")
  assert checkpoint.load_encoder(tmp_path).spec["step"] == 8
  with pytest.raises(errors.UsageError, match="optim.lr was 0.1, is 0.2"):
    train.train(tiny(optim__lr=0.2), tmp_path)
  assert config.restored(checkpoint.run_of(tmp_path)["config"]).total_steps == 12
  train.train(tiny(), tmp_path)
  assert all(np.array_equal(a, b) for a, b in zip(leaves(straight[0], 12), leaves(tmp_path, 12), strict=True))
  assert checkpoint.run_of(tmp_path)["config"] == checkpoint.read_json(straight[0] / "config.json")


def test_a_checkpoint_of_another_run_is_refused(straight, tmp_path):
  train.train(tiny(seed=1, total_steps=4), tmp_path)
  shutil.copytree(straight[0] / "checkpoints/12", tmp_path / "checkpoints/12")
  with pytest.raises(errors.UsageError, match="checkpoints/12 holds another run: seed was 0, is 1; total_steps was 12"):
    train.train(tiny(seed=1, total_steps=4), tmp_path)


def test_a_second_process_is_kept_out(straight):
  with run.enter(straight[0], run.resolve(tiny(), 1437), checkpoint.read_json(straight[0] / "environment.json")), \
      pytest.raises(errors.UsageError, match="another process is training"):
    train.train(tiny(), straight[0])


def test_extend(straight, tmp_path):
  train.train(tiny(total_steps=4), tmp_path)
  train.train(tiny(total_steps=4), tmp_path, extend={"total_steps": 6})
  assert [r["step"] for r in numbers(tmp_path)] == [2, 4, 6]
  assert checkpoint.load_encoder(tmp_path).spec["step"] == 6
  train.train(tiny(total_steps=6), tmp_path)                # its checkpoint of step 4 is of a run of 4 steps
  with pytest.raises(errors.UsageError, match="less than the 6 steps"):
    train.train(tiny(total_steps=4), tmp_path, extend={"total_steps": 5})
  with pytest.raises(errors.UsageError, match="no run .* to extend"):
    train.train(tiny(), tmp_path / "new", extend={"total_steps": 6})


@pytest.mark.slow
def test_killed_at_any_moment(straight, tmp_path):
  """kill -9 at three moments, a save under way among them; the end has the bytes of a run that nothing disturbed."""
  script = ("import sys; sys.path[:0] = ['tests']; import runs; from sslx import train; "
            f"train.train(runs.tiny(checkpoint__every=1), {str(tmp_path)!r})")
  command = [sys.executable, "-W", "ignore", "-c", script]
  environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
  for reached in (1, 4, 7):
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    while child.poll() is None and not any(
        int(p.name.split(".")[0]) >= reached for p in tmp_path.glob("checkpoints/*") if p.name[0].isdigit()):
      time.sleep(0.001)
    child.kill()
    child.wait()
  subprocess.run(command, cwd=ROOT, env=environment, check=True, stderr=subprocess.DEVNULL)
  assert all(np.array_equal(a, b) for a, b in zip(leaves(straight[0], 12), leaves(tmp_path, 12), strict=True))
  assert [json.dumps(r) for r in numbers(tmp_path)] == [json.dumps(r) for r in numbers(straight[0])]
