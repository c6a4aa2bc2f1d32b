"""A run from config to encoder: saved, stopped, resumed, refused, on one device and on several."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx import checkpoint, config, data, encoders, errors, evaluate, log, methods, optim, run, train
from sslx.augment import recipes
from sslx.methods import base

ROOT = pathlib.Path(__file__).parents[1]


def tiny(**changed):
  """Twelve steps with the small encoder of tests/own on one device."""
  c = config.default()
  c.total_steps, c.batch_size = 12, 32
  c.mesh.data = 1
  c.encoder = encoders.options("own.encoder", width=8)
  c.method = methods.options("simclr", widths=(16, 8), aug=recipes.options("handwriting"))
  c.checkpoint.every, c.log.every = 4, 2
  for key, value in changed.items():
    *path, last = key.split("__")
    group = c
    for name in path:
      group = group[name]
    group[last] = value
  return c


def leaves(workdir, step=None):
  """All that a checkpoint holds, as numpy arrays."""
  saved = checkpoint.Checkpoints(workdir, create=False)
  return [np.asarray(x) for x in jax.tree.leaves(saved.restore_plain(step)[1])]


def numbers(workdir):
  """The records of metrics.jsonl without the clock's."""
  return [{k: v for k, v in r.items() if k != "images_per_s"} for r in log.read(f"{workdir}/metrics.jsonl")]


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


def test_a_second_process_is_kept_out(straight):
  with run.enter(straight[0], run.resolve(tiny(), 1437), checkpoint.read_json(straight[0] / "environment.json")), \
      pytest.raises(errors.UsageError, match="another process is training"):
    train.train(tiny(), straight[0])


def test_plateau():
  rng = np.random.default_rng(0)
  falling = [(i, 2 + 3 * np.exp(-i / 150) + 0.05 * rng.normal()) for i in range(300)]
  flat = falling + [(300 + i, 2.4 + 0.05 * rng.normal()) for i in range(300)]
  assert log.plateau(falling) is None
  assert log.plateau(falling[:40]) is None
  assert 300 < log.plateau(flat) < 600


def test_images_of_another_range_are_refused(tmp_path):
  wrong = [{"image": np.full((8, 8, 1), 255.0, np.float32)}] * 40
  with pytest.raises(errors.UsageError, match="floats in .0, 1."):
    train.train(tiny(), tmp_path, data=wrong)


def test_extend(straight, tmp_path):
  train.train(tiny(total_steps=4), tmp_path)
  train.train(tiny(total_steps=4), tmp_path, extend={"total_steps": 6})
  assert [r["step"] for r in numbers(tmp_path)] == [2, 4, 6]
  assert checkpoint.load_encoder(tmp_path).spec["step"] == 6
  with pytest.raises(errors.UsageError, match="less than the 6 steps"):
    train.train(tiny(total_steps=4), tmp_path, extend={"total_steps": 5})
  with pytest.raises(errors.UsageError, match="no run .* to extend"):
    train.train(tiny(), tmp_path / "new", extend={"total_steps": 6})


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
  with pytest.raises(errors.RunError, match=r"at step \d+ the loss is .*checkpoint of step 4 is kept"):
    train.train(tiny(total_steps=40), tmp_path, tx=optax.chain(optax.sgd(lambda n: jnp.where(n < 6, 0.01, jnp.inf))))
  assert checkpoint.Checkpoints(tmp_path, create=False).steps() == [4]


def test_own_data_method_and_evaluation_during_the_run(tmp_path):
  digits = lambda split, n: data.load("digits", split=split).take(range(n))
  plain = lambda split, n: [{k: x[k] for k in ("image", "label")} for x in digits(split, n)]
  train_set, test_set = plain("train", 64), plain("test", 40)
  encoder = encoders.make("own.encoder", width=4)
  method = methods.make("simclr", encoder, widths=(8,), aug=lambda key, image: image / 255)
  c = tiny(total_steps=4, evaluate__every=2, checkpoint__keep=1)
  result = train.train(c, tmp_path, data=train_set, test=test_set, method=(encoder, method))
  records = [r for r in numbers(tmp_path) if "knn" in r]
  assert [r["step"] for r in records] == [2, 4]
  best = max(records, key=lambda r: (r["knn"], r["step"]))["step"]
  assert checkpoint.Checkpoints(tmp_path, create=False).best_step() in (best, 2)
  with pytest.raises(errors.UsageError, match="module="):
    checkpoint.load_encoder(tmp_path)
  again = checkpoint.load_encoder(tmp_path, module=encoder)
  assert jax.tree.all(jax.tree.map(np.array_equal, again.variables, result.variables))


def test_unlabelled_data_needs_no_label(tmp_path):
  seen = []
  unlabelled = [{"image": x["image"]} for x in data.load("digits").take(range(64))]
  train.train(tiny(total_steps=2), tmp_path, data=unlabelled, log=seen.append)
  assert "online_accuracy" not in seen[0]
  supervised = base.Method(None, None, None, None, reads=("image", "label"))
  with pytest.raises(errors.UsageError, match="reads label, which the data do not hold"):
    train.train(tiny(), tmp_path / "b", data=unlabelled, method=(encoders.make("own.encoder"), supervised))


@pytest.mark.parametrize(("changed", "says"), [
    ({"batch_size": 5000}, "data set of 1437 examples"), ({"mesh__data": 9}, "8 devices"),
    ({"mesh__data": 8, "batch_size": 12}, "does not divide over 8 devices"), ({"total_epochs": 1.0}, "not both"),
    ({"total_steps": 0}, "not neither"), ({"total_steps": -3}, "negative"), ({"log__every": 0}, "at least 1"),
    ({"optim__name": "sdg"}, "did you mean sgd"),
    ({"data__name": "digit"}, "did you mean digits"), ({"precision": "float16"}, "bfloat16")])
def test_wrong_use_is_one_clear_line(changed, says, tmp_path):
  with pytest.raises(errors.UsageError, match=says) as e:
    train.train(tiny(**changed), tmp_path / "run")
  assert "\n" not in str(e.value)
  assert not (tmp_path / "run").exists()


def test_a_workdir_that_cannot_be_made(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.RunError, match="cannot make the workdir"):
    train.train(tiny(), tmp_path / "file" / "run")


def test_the_curve_does_not_depend_on_the_devices():
  """Fifty steps in float64 on 1, 2 and 8 devices; and nothing falls back to float32."""
  with jax.enable_x64(True):
    curves = []
    for n in (1, 2, 8):
      c = tiny(mesh__data=n)
      mesh, method = train.make_mesh(c), train.build(c)[1]
      tx = optim.make(c.optim, 50, c.batch_size)
      batches = data.batches(data.load("digits"), batch_size=c.batch_size, seed=0)
      state = train.init_state(method, tx, jax.random.key(0), next(batches))
      state = jax.device_put(state, jax.NamedSharding(mesh, jax.P()))
      step, curve = train.make_step(method, tx, 50, mesh), []
      for _ in range(50):
        state, metrics = step(state, jax.random.key(1), train.place({"image": next(batches)["image"]}, mesh))
        curve.append(float(metrics["loss"]))
      curves.append(curve)
      assert {x.dtype for x in jax.tree.leaves((state.params, state.state))} == {np.dtype("float64")}
  assert np.allclose(curves[0], curves[1], rtol=1e-8, atol=0)
  assert np.allclose(curves[0], curves[2], rtol=1e-8, atol=0)


@pytest.mark.slow
def test_killed_at_any_moment(straight, tmp_path):
  """kill -9 at three moments, a save under way among them; the end has the bytes of a run that nothing disturbed."""
  script = ("import sys; sys.path[:0] = ['tests']; import test_train as t; from sslx import train; "
            f"train.train(t.tiny(checkpoint__every=1), {str(tmp_path)!r})")
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
