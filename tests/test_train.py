"""A run from config to encoder: its own data and methods, wrong use, one device and several."""


import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import numbers, tiny

from sslx import checkpoint, config, data, encoders, errors, frozen, log, mesh, methods, optim, train
from sslx.methods import base


def test_plateau():
  rng = np.random.default_rng(0)
  falling = [(i, 2 + 3 * np.exp(-i / 150) + 0.05 * rng.normal()) for i in range(300)]
  flat = falling + [(300 + i, 2.4 + 0.05 * rng.normal()) for i in range(300)]
  assert log.plateau(falling) is None
  assert log.plateau(falling[:40]) is None
  assert 300 < log.plateau(flat) < 600


def test_a_run_ends_when_tensorboards_thread_has_died(tmp_path):
  """As a jump of the clock makes it: nothing reads the bounded queue any more, and its own clean-up would wait."""
  record = log.Log(tmp_path, start=0, unit=1)
  writer = record.board.file_writer.event_writer
  writer._worker.stop()
  record.board.add_scalar("x", 1.0, 0)                       # still in the queue
  for step in range(50):
    record.write(step, {"loss": 1.0})
  record.close()
  writer.close()                                             # what tensorboardX does at exit
  assert len(log.read(tmp_path / "metrics.jsonl")) == 50


def test_images_of_another_range_are_refused(tmp_path):
  wrong = [{"image": np.full((8, 8, 1), 255.0, np.float32)}] * 40
  with pytest.raises(errors.UsageError, match="floats in .0, 1."):
    train.train(tiny(), tmp_path, data=wrong)


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
  assert checkpoint.Checkpoints(tmp_path, create=False).best_step() == best
  with pytest.raises(errors.UsageError, match="module="):
    checkpoint.load_encoder(tmp_path)
  again = checkpoint.load_encoder(tmp_path, module=encoder)
  assert jax.tree.all(jax.tree.map(np.array_equal, again.variables, result.variables))


def test_the_best_by_the_projection_is_another_metric(tmp_path):
  own = ("digits",)                                         # the run's own set is no further one
  train.train(tiny(total_steps=2, evaluate__every=2, evaluate__read="z", evaluate__data=own), tmp_path)
  folder, = checkpoint.folders(tmp_path)
  assert checkpoint.record_of(folder)["best"] == {"metric": "knn of z", "value": numbers(tmp_path)[-1]["knn"]}
  assert [k for k in numbers(tmp_path)[-1] if "knn" in k] == ["knn"]
  assert checkpoint.load_encoder(tmp_path, read="z").spec["read"] == "z"


def test_labels_with_gaps_make_no_wider_probe(tmp_path):
  some = [{"image": x["image"], "label": np.int32([3, 7_000_000][i % 2])}
          for i, x in enumerate(data.load("digits").take(range(64)))]
  c = tiny(total_steps=2, evaluate__every=2)
  train.train(c, tmp_path, data=some, test=some)
  saved = checkpoint.Checkpoints(tmp_path, create=False)
  assert {x.shape[-1] for x in jax.tree.leaves(saved.restore_plain()[1]["params"]["probe"])} == {2}
  assert checkpoint.read_json(tmp_path / "environment.json")["data"]["classes"] == 2
  assert numbers(tmp_path)[-1]["knn"] > 0                   # evaluation has the labels as they are, in both sets


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
    ({"mesh__least": 0}, "mesh.least is 0"), ({"mesh__whole": ("(",)}, "no regular expression"),
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
  with pytest.raises(errors.UsageError, match="mount the bucket"):
    train.train(tiny(), "s3://bucket/run")
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.RunError, match="cannot make the workdir"):
    train.train(tiny(), tmp_path / "file" / "run")


def test_the_curve_does_not_depend_on_the_devices():
  """Fifty steps in float64 on 1, 2 and 8 devices, and with the state split in 4; nothing falls back to float32."""
  with jax.enable_x64(True):
    curves = []
    for data_, fsdp in ((1, 1), (2, 1), (8, 1), (1, 4)):
      c = tiny(mesh__data=data_, mesh__fsdp=fsdp, mesh__least=1)
      over, method = train.make_mesh(c), train.build(c)[1]
      tx = optim.make(c.optim, 50, c.batch_size)
      batches = data.batches(data.load("digits"), batch_size=c.batch_size, seed=0)
      state = train.init_state(method, tx, jax.random.key(0), next(batches))
      where = mesh.of(c, state, over)
      state, step, curve = mesh.put(state, where), train.make_step(method, tx, 50, where), []
      for _ in range(50):
        state, metrics = step(state, jax.random.key(1), train.place({"image": next(batches)["image"]}, over))
        curve.append(float(metrics["loss"]))
      curves.append(curve)
      assert {x.dtype for x in jax.tree.leaves((state.params, state.state))} == {np.dtype("float64")}
  for curve in curves[1:]:
    assert np.allclose(curves[0], curve, rtol=1e-8, atol=0)


def test_labelled_sets_beside_data_without_labels(tmp_path):
  """kNN on each set is that of its own arrays, whatever its size and colour; the best checkpoint is that of their mean.

  The online numbers of the last step are those of the final encoder on the same sets.
  """
  rng = np.random.default_rng(0)
  np.savez(tmp_path / "flowers.npz", images=rng.integers(0, 255, (60, 5, 9, 1), np.uint8), labels=np.arange(60) % 2)
  sets = ("digits", f"npz:{tmp_path}/flowers.npz")
  c = config.override(tiny(total_steps=4, evaluate__every=2, checkpoint__keep=1),
                      [f"--config.evaluate.data={','.join(sets)}", "--config.evaluate.train=200"])
  assert c.evaluate.data == sets
  encoder = train.train(c, tmp_path / "run", data=[{"image": x["image"]} for x in data.load("digits").take(range(64))])
  records = [r for r in numbers(tmp_path / "run") if "knn_flowers.npz" in r]
  assert [r["step"] for r in records] == [2, 4] and not any("knn" in r for r in records)
  for title, name in zip(("digits", "flowers.npz"), sets, strict=True):
    offline = frozen.evaluate(encoder, tmp_path, protocols=("knn",), data=name)
    assert records[-1][f"knn_{title}"] == offline["knn"]["encoder"]
  mean = {r["step"]: (r["knn_digits"] + r["knn_flowers.npz"]) / 2 for r in records}
  assert checkpoint.Checkpoints(tmp_path / "run", create=False).best_step() == max(mean, key=lambda s: (mean[s], s))
  folder = checkpoint.folders(tmp_path / "run")[-1]
  assert checkpoint.record_of(folder)["best"] == {"metric": "knn on digits, flowers.npz", "value": mean[4]}
  with pytest.raises(errors.UsageError, match="has no labelled image"):
    train.train(tiny(evaluate__every=2, evaluate__data=("digits_text",)), tmp_path / "none")
