"""Weak labels: what lines of votes come to, what is wrong with them, and the weighted loss against NumPy."""

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.special import log_softmax
from sources import exported

from sslx import config, data, errors, inputs, transfer
from sslx.methods import base
from sslx.transfer import classify

LINES = """path,label
cat/0.png,cat,cat,dog
train/dog/1.png,dog,0.25
owl/0.png, cat ,,dog
cat/2.png,cat
cat/2.png,dog,0.5
owl/1.png,cat,cat,cat,owl
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  root = tmp_path_factory.mktemp("votes")
  for part, label, i in [(p, c, i) for p in ("train", "test") for c in ("cat", "dog", "owl") for i in range(3)]:
    (root / "photos" / part / label).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(i).integers(0, 255, (8, 8, 3), np.uint8)).save(
        root / "photos" / part / label / f"{i}.png")
  return root


def conf(root, lines, *more):
  (root / "votes.csv").write_text(lines)
  return config.override(config.load("configs/transfer/classify.py:tiny"), [
      f"--config.data.name=folder:{root}/photos", f"--config.data.dir={root}/prepared",
      f"--config.data.votes={root}/votes.csv", "--config.mesh.data=1", *more])


def test_shares_and_weights_of_the_lines(photos):
  source = inputs.load(conf(photos, LINES), "train")
  assert [p.rpartition("train/")[2] for p in source.paths] == [
      "cat/0.png", "cat/2.png", "dog/1.png", "owl/0.png", "owl/1.png"]
  batch = source.batch(np.array([4, 0, 1, 2, 3]))
  np.testing.assert_allclose(batch["votes"], [[0.75, 0], [2 / 3, 1 / 3], [0.5, 0.25], [0, 0.25], [0.5, 0.5]])
  assert batch["label"].tolist() == [0, 0, 0, 1, 0] and data.numbered(source)[1] == 2            # owl wins nowhere
  other = inputs.load(conf(photos, LINES.replace("0.25", "0.75")), "train")
  assert other.fingerprint != source.fingerprint
  whole = data.load(f"folder:{photos}/photos", dir=f"{photos}/prepared")
  assert np.array_equal(batch["image"][1], whole.batch([0])["image"][0])


@pytest.mark.parametrize(("lines", "said"), [
    ("cat/0.png,cow", "votes.csv, line 1: unknown class 'cow': .*there are cat, dog, owl"),
    ("cat/0.png,cat\ncat/9.png,cat", "votes.csv names cat/9.png, which is not in this set"),
    ("0.png,cat", "which 3 files of this set are called"), ("cat/0.png,cat,1.5", "line 1: the confidence 1.5"),
    ("cat/0.png,,", "line 1 names no class"), ("path,label\n", "has no line path,label")])
def test_what_cannot_be(photos, lines, said):
  with pytest.raises(errors.UsageError, match=said):
    inputs.load(conf(photos, lines), "train")


def test_votes_with_what_they_do_not_go_with(photos):
  with pytest.raises(errors.UsageError, match="leave data.labels empty"):
    inputs.load(conf(photos, LINES, "--config.data.labels=1"), "train")
  with pytest.raises(errors.UsageError, match="digits has none"):
    data.voted(data.from_array("digits", np.zeros((3, 8, 8, 1), np.uint8)), f"{photos}/votes.csv")
  c = config.load("configs/transfer/selftrain.py:tiny")
  c.data.votes = f"{photos}/votes.csv"
  with pytest.raises(errors.UsageError, match="data.votes is for sslx.transfer.classify, not for"):
    classify.prepare(c, data.load("digits"), data.load("digits", split="test"))


def test_a_run_and_its_loss_against_numpy(photos, tmp_path):
  (tmp_path / "source").mkdir()
  source, module, _ = exported(tmp_path / "source", "own.encoder", (8, 8, 3))
  few = ["--config.total_steps=2", "--config.batch_size=5", "--config.checkpoint.every=2", "--config.log.every=1"]
  c = transfer.onto(conf(photos, LINES, "--config.method.smoothing=0.1", *few), source)
  records = []
  found = transfer.transfer(c, tmp_path / "run", scratch=False, log_to=records.append)
  assert found["labels"] == 5 and found["runs"]["linear"]["examples"] == 9
  votes = inputs.load(c, "train").batch(np.arange(5))["votes"]
  first = records[0]["loss"]                                 # of the head's small weights: near log 2
  assert abs(first - np.log(2)) < 0.2
  method = classify.make(module, source=source, strategy="linear", num_classes=2, smoothing=0.1, votes=True)
  batch = inputs.load(c, "train").batch(np.arange(5))
  params, state = method.init(jax.random.key(0), batch)
  views = method.views(jax.random.key(1), batch)
  loss, _ = method.loss(params, state, views, jax.random.key(2), 0.0)
  net, variables = method.project(params, state)
  z, _ = base.forward(net, variables["params"], {k: v for k, v in variables.items() if k != "params"}, views["image"],
                      rng=jax.random.key(2))
  weight = votes.sum(1)
  target = 0.9 * votes / weight[:, None] + 0.05
  each = -(target * log_softmax(np.asarray(z, np.float64), -1)).sum(1)
  np.testing.assert_allclose(loss, np.average(each, weights=weight), rtol=1e-5)
