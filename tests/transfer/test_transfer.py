"""A transfer from start to end, as from Python and from the command line: resumed, refused, reported."""

import json
import pathlib
import shutil
import signal

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from runs import leaves
from sources import exported

from sslx import checkpoint, cli, config, data, errors, inputs, methods, optim, run, train, transfer
from sslx.augment import recipes, to_float
from sslx.transfer import choice, classify, run as transfers

CONFIG = f"{pathlib.Path(__file__).parents[2]}/configs/transfer/classify.py:tiny"
FEW = ["--config.total_steps=6", "--config.batch_size=32", "--config.mesh.data=1", "--config.log.every=2",
       "--config.checkpoint.every=2"]


def conf(source, strategy="finetune", **options):
  c = config.override(transfer.onto(config.load(CONFIG), source), FEW)
  c.method.strategy = strategy
  c.method.update(options)
  return c


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return exported(tmp_path_factory.mktemp("source"), "own.encoder")[0]


@pytest.fixture(scope="module")
def straight(source, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("transfer") / "run"
  return workdir, transfer.transfer(conf(source, ema=0.9, mixup=0.2, cutmix=1.0, smoothing=0.1), workdir)


def test_what_is_written(source, straight):
  workdir, result = straight
  assert result == json.loads((workdir / "transfer.json").read_text())
  assert list(result["runs"]) == ["finetune", "scratch"] and result["labels"] == 1437
  logits = transfers.outputs(transfers.predictor(workdir), test := data.load("digits", split="test"))
  assert logits.shape == (360, 10)
  assert result["runs"]["finetune"]["accuracy"] == np.mean(logits.argmax(-1) == test.labels)
  chances = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1, keepdims=True)
  wrong = np.flatnonzero(logits.argmax(-1) != test.labels)
  wrong = sorted(wrong, key=lambda i: -chances[i].max())[:24]
  mistakes = result["runs"]["finetune"]["mistakes"]
  assert [m["index"] for m in mistakes] == wrong
  assert np.allclose([m["confidence"] for m in mistakes], chances[wrong].max(-1))
  assert [(m["truth"], m["guess"]) for m in mistakes] == [(str(test.labels[i]), str(logits[i].argmax())) for i in wrong]
  sizes = np.bincount(test.labels)
  each = result["runs"]["scratch"]["classes"]
  assert np.isclose(sum(each[str(i)] * n for i, n in enumerate(sizes)) / 360, result["runs"]["scratch"]["accuracy"])
  assert transfer.rows(result) == [("accuracy", {s: r["accuracy"] for s, r in result["runs"].items()})]
  assert checkpoint.load_encoder(workdir).spec["encoder"]["name"] == "own.encoder"


def test_keys_without_a_value_can_be_set_after_the_encoder_is(source, tmp_path):
  c = config.override(transfer.onto(config.load(CONFIG), source), [f"--config.data.dir={tmp_path}"])
  assert c.data.dir == str(tmp_path)


@pytest.mark.slow
def test_stopped_and_resumed_ends_with_the_same_bytes(source, straight, tmp_path):
  c = conf(source, ema=0.9, mixup=0.2, cutmix=1.0, smoothing=0.1)
  def stop(record):
    if record["step"] == 2:
      signal.raise_signal(signal.SIGTERM)
  with pytest.raises(errors.Stopped, match="at step 2 of 6"):
    transfer.transfer(c, tmp_path / "run", log_to=stop)
  assert not (tmp_path / "run" / "transfer.json").exists()
  assert transfer.transfer(c, tmp_path / "run") == straight[1]
  for folder in ("run", "run/scratch"):
    pairs = zip(leaves(tmp_path / folder), leaves(straight[0].parent / folder), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_the_command_and_its_report(source, tmp_path, capsys):
  command = ["transfer", "--config", CONFIG, "--from", source, "--workdir", str(tmp_path / "run"), *FEW]
  assert cli.main([*command, "--strategy", "linear", "--no-scratch"]) == 0
  assert "linear" in capsys.readouterr().out
  assert cli.main(["report", "--workdir", str(tmp_path / "run")]) == 0
  page = (tmp_path / "run" / "report.html").read_text()
  assert "Did pretraining help?" in page and "nothing to compare with" in page
  assert "The surest mistakes of linear" in page and page.count(", taken for ") == 24
  (tmp_path / "run" / "transfer.json").unlink()             # as if it had been killed before its tests
  assert cli.main(["report", "--workdir", str(tmp_path / "run")]) == 0
  page = (tmp_path / "run" / "report.html").read_text()
  assert "transfer report" in page and "nothing is tested yet" in page and "sslx transfer --config FILE" in page
  assert cli.main([*command, "--strategy", "linear", "--no-scratch", "--extend", "total_steps=8"]) == 0
  assert checkpoint.load_encoder(tmp_path / "run").spec["step"] == 8
  capsys.readouterr()
  assert cli.main([*command[:5], "--show"]) == 0 and "strategy: " in capsys.readouterr().out
  assert cli.main(command[:5]) == 2 and "transfer needs --workdir" in capsys.readouterr().err
  for more, says in ((["--strategy", "finetune"], "holds another run: method.strategy was 'linear', is 'finetune'"),
                     (["--strategy", "fine"], "did you mean finetune"), (["--config.method.mixin=1"], "method.mixup"),
                     (["--strategy", "linear", "--config.method.layer=stage9"], "unknown layer 'stage9'"),
                     (["--strategy", "finetune", "--config.method.layer=stage1"], "frozen encoder")):
    folder = [] if "finetune" in more and len(more) == 2 else ["--workdir", str(tmp_path / "other")]
    assert cli.main([*command, *more, *folder]) == 2, more
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in line, line
  assert cli.main(["transfer", "--config", CONFIG, "--from", str(tmp_path / "none"), "--workdir", "x"]) == 2


def test_a_workdir_keeps_its_source(source, straight, tmp_path):
  other = exported(tmp_path / "other", "own.encoder", seed=1)[0]
  with pytest.raises(errors.UsageError, match="method.weights was"):
    transfer.transfer(conf(other, ema=0.9, mixup=0.2, cutmix=1.0, smoothing=0.1), straight[0])
  shutil.copytree(source, tmp_path / "moved")
  again = conf(str(tmp_path / "moved"), ema=0.9, mixup=0.2, cutmix=1.0, smoothing=0.1)
  assert transfer.transfer(again, straight[0])["runs"] == straight[1]["runs"]


@pytest.mark.slow
def test_few_labels_are_the_same_for_both_runs_and_from_their_file(source, tmp_path):
  c = conf(source, "linear")
  c.data.labels = "5"
  result = transfer.transfer(c, tmp_path / "run")
  assert result["labels"] == 50
  seen = [checkpoint.read_json(tmp_path / f / "environment.json")["data"] for f in ("run", "run/scratch")]
  assert seen[0] == seen[1] and seen[0]["examples"] == 50
  c.data.labels = str(tmp_path / "run" / "labelled.txt")
  assert transfer.transfer(c, tmp_path / "run")["runs"] == result["runs"]               # goes on: the data are the same
  assert np.bincount(data.load("digits").labels[np.loadtxt(c.data.labels, int)]).tolist() == 10 * [5]


def test_grey_images_on_an_encoder_of_colour(tmp_path):
  c = conf(exported(tmp_path, "own.encoder", shape=(12, 12, 3), width=4)[0], "linear")
  assert (c.data.size, c.data.channels, c.encoder.width) == (12, 3, 4)
  source = inputs.load(c, "train")
  assert source.shape == (12, 12, 3)
  image = source[3]["image"]
  assert image.shape == (12, 12, 3) and (image == image[..., :1]).all()


def test_pairs_are_mixed_in_image_and_target():
  images = np.random.default_rng(0).random((16, 6, 6, 1)).astype(np.float32)
  target = np.eye(16, dtype=np.float32)
  for mixup, cutmix in ((0.4, 0.0), (0.0, 1.0), (0.4, 1.0)):
    mixed, soft = map(np.asarray, classify.mixed(jax.random.key(0), images, target, mixup, cutmix))
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    other, blended = np.roll(images, 1, 0), 0
    for i in range(16):
      share = soft[i, i]
      assert np.isclose(soft[i, i - 1], 1 - share, atol=1e-6)
      whole = np.allclose(mixed[i], share * images[i] + (1 - share) * other[i], atol=1e-5)
      cut = np.isclose((mixed[i] == images[i]).mean(), share)
      assert whole or cut
      blended += whole and 0 < share < 1
    assert (blended > 0) == bool(mixup) and (blended < 16) == bool(cutmix)
  assert classify.mixed(jax.random.key(0), images, target, 0.0, 0.0)[0] is images


def test_smooth_targets():
  method = classify.make(None, num_classes=4, smoothing=0.2, aug=lambda key, x: to_float(x))
  views = method.views(jax.random.key(0), {"image": np.zeros((2, 4, 4, 1), np.uint8), "label": np.array([1, 3])})
  np.testing.assert_allclose(views["target"], [[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]], rtol=1e-6)


@pytest.mark.parametrize(("plenty", "similar", "wanted"), [
    (False, True, ("linear", "")), (False, False, ("linear", "stage2")), (True, True, ("freeze=3", "")),
    (True, False, ("finetune", ""))])
def test_auto_decides(plenty, similar, wanted):
  assert choice.decide(plenty, similar, 4) == wanted


def test_nearness_by_hand():
  rng = np.random.default_rng(0)
  bank, queries = rng.standard_normal((40, 3)), rng.standard_normal((30, 3))
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
  a, q, hits = unit(bank), unit(queries), 0
  reach = [sorted(np.linalg.norm(a - row, axis=1))[choice.NEIGHBOURS] for row in a]
  for row in q:
    hits += any(np.linalg.norm(row - a[i]) <= reach[i] for i in range(40))
  assert np.isclose(choice.precision(bank, queries), hits / 30)


def test_auto_measures_nearness(source, tmp_path):
  c = conf(source, "auto")
  near = choice.choose(c, data.load("digits"))
  assert near["nearness"] > 0.9 and near["strategy"] == "finetune"                         # the encoder has one stage
  noise = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 1), np.uint8)
  far = choice.choose(c, data.given([{"image": x, "label": np.int32(i % 3)} for i, x in enumerate(noise)]))
  assert far["nearness"] < 0.5 and far["strategy"] == "linear" and "different from" in far["why"]
  result = transfer.transfer(c, tmp_path / "run", scratch=False)
  assert result["choice"]["strategy"] == result["strategy"] == "finetune"
  assert transfer.transfer(c, tmp_path / "run", scratch=False) == result


@pytest.mark.parametrize("path", sorted(pathlib.Path(CONFIG).parent.glob("*.py")), ids=lambda p: p.stem)
def test_every_variant_builds(path):
  with pytest.raises(errors.UsageError, match="did you mean tiny") as e:
    config.load(f"{path}:tny")
  for variant in str(e.value).rpartition("there are ")[2].split(", "):
    c = run.resolve(config.load(f"{path}:{variant}"), 10_000)
    run.fill(c, 10_000, 10)
    assert train.build(c)[1].project and optim.make(c.optim, c.total_steps, c.batch_size)


def test_the_config_names_a_task(source):
  c = config.default().unlock()
  c.method = methods.options("simclr", aug=recipes.options("handwriting"))
  with pytest.raises(errors.UsageError, match="simclr is no transfer task"):
    transfer.onto(c, source)
  with pytest.raises(errors.UsageError, match="give --from RUN"):
    transfer.transfer(config.load(CONFIG), "nowhere")
  assert isinstance(conf(source), ConfigDict)


def test_labels_are_needed(source):
  c, image = conf(source), np.zeros((8, 8, 1), np.uint8)
  bare = data.given([{"image": image}])
  with pytest.raises(errors.UsageError, match="the test set of given has no labels"):
    classify.prepare(c, data.load("digits"), bare)


@pytest.mark.slow
def test_text(tmp_path):
  """An encoder of text is tuned on labelled text; a frozen block drops nothing out and stays the same to the bit."""
  bert = CONFIG.replace("transfer/classify", "bert")
  train.train(config.override(config.load(bert), FEW), tmp_path / "bert")
  c = config.override(transfer.onto(config.load(CONFIG), tmp_path / "bert"), [*FEW, "--config.data.name=digits_text"])
  c.method.strategy = "freeze=1"
  result = transfer.transfer(c, tmp_path / "run", scratch=False)
  logits = transfers.outputs(transfers.predictor(tmp_path / "run"), test := data.load("digits_text", split="test"))
  assert result["runs"]["freeze=1"]["accuracy"] == np.mean(logits.argmax(-1) == test.labels)
  old, new = (checkpoint.load_encoder(tmp_path / name).variables["params"] for name in ("bert", "run"))
  moved = {k for k in old if not all(map(np.array_equal, jax.tree.leaves(old[k]), jax.tree.leaves(new[k])))}
  assert moved == {"block2", "norm"}
  with pytest.raises(errors.UsageError, match="mixup and cutmix are for images"):
    transfer.transfer(config.override(c, ["--config.method.mixup=0.2"]), tmp_path / "mixed")
