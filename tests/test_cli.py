"""The command line as a person uses it: what it writes, what it says, how it ends."""

import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from sslx import cli

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = f"{ROOT}/configs/simclr.py:tiny"
SMALL = ["--config.encoder.name=own.encoder", "--config.mesh.data=1", "--config.total_steps=4",
         "--config.checkpoint.every=2", "--config.log.every=2"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("run")
  assert cli.main(["pretrain", "--config", CONFIG, "--workdir", str(path), *SMALL]) == 0
  return str(path)


def lines(capsys):
  return capsys.readouterr().err.strip().splitlines()


def test_pretrain_again_and_without_a_config(workdir, capsys):
  assert cli.main(["pretrain", "--workdir", workdir]) == 0
  assert "going on from step 4 of 4" in capsys.readouterr().err


def test_evaluate_embed_and_report(workdir, tmp_path, capsys):
  few = ["--protocols", "knn,health", "--train", "100", "--test", "50"]
  assert cli.main(["evaluate", "--workdir", workdir, *few]) == 0
  result = json.loads(pathlib.Path(workdir, "evaluation.json").read_text())
  assert set(result["knn"]) == {"encoder", "random", "raw"}
  assert result["step"] == 4
  assert "knn" in capsys.readouterr().out
  out = tmp_path / "e.npz"
  assert cli.main(["embed", "--workdir", workdir, "--split", "test", "--out", str(out)]) == 0
  assert cli.main(["embed", "--workdir", workdir, "--out", str(tmp_path / "s.npz"), "--layer", "stage1"]) == 0
  with np.load(out) as z:
    assert z["embeddings"].shape == (360, 4) and z["labels"].shape == (360,) and z["index"].shape == (360,)
  assert cli.main(["report", "--workdir", workdir]) == 0
  assert "<html" in pathlib.Path(workdir, "report.html").read_text()


def test_own_images_in_a_folder(tmp_path, capsys):
  rng = np.random.default_rng(0)
  for name in ("cats", "dogs"):
    (tmp_path / "photos" / name).mkdir(parents=True)
    for i in range(10):
      side = int(rng.integers(12, 20))
      Image.fromarray(rng.integers(0, 255, (side, 14, 3), np.uint8)).save(tmp_path / "photos" / name / f"{i}.png")
  command = ["pretrain", "--config", CONFIG, "--workdir", str(tmp_path / "run"), *SMALL, "--config.batch_size=8",
             f"--config.data.name=folder:{tmp_path}/photos", f"--config.data.dir={tmp_path}/prepared"]
  assert cli.main(command) == 2
  assert "data.size" in lines(capsys)[-1]
  assert cli.main([*command, "--config.data.size=12"]) == 0
  assert cli.main(["embed", "--workdir", str(tmp_path / "run"), "--out", str(tmp_path / "e.npz")]) == 0
  with np.load(tmp_path / "e.npz") as z:
    assert z["paths"].shape == (4,)
  where = ["--dir", f"{tmp_path}/prepared"]
  assert cli.main(["data", "prepare", f"folder:{tmp_path}/photos", "--name", "pets", *where]) == 0
  assert cli.main(["data", "list", *where]) == 0
  assert "pets" in capsys.readouterr().out


def test_lists(capsys):
  for what, name in (("methods", "simclr"), ("encoders", "resnet50"), ("augmentations", "simclr")):
    assert cli.main(["list", what]) == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize(("argv", "code", "says"), [
    (["pretrian"], 2, "did you mean pretrain"), ([], 2, "command"), (["list", "method"], 2, "did you mean methods"),
    (["pretrain"], 2, "--config"), (["pretrain", "--config", "configs/simlcr.py", "--workdir", "x"], 2, "simclr.py"),
    (["pretrain", "--config", CONFIG], 2, "--workdir"),
    (["pretrain", "--config", CONFIG + "y"], 2, "did you mean tiny"),
    (["pretrain", "--config", CONFIG, "--workdir", "x", "--config.batch_sise=3"], 2, "did you mean batch_size"),
    (["pretrain", "--config", CONFIG, "--workdir", "x", "--config.method.name=simcrl"], 2, "did you mean simclr"),
    (["pretrain", "--config", CONFIG, "--workdir", "x", "--extend", "steps=4"], 2, "total_steps=N"),
    (["evaluate", "--workdir", "nowhere"], 2, "nowhere"),
    (["embed", "--workdir", "nowhere", "--out", "x"], 2, "nowhere"),
    (["report", "--workdir", "nowhere"], 2, "nowhere"), (["data", "prepare"], 2, "folder:PATH"),
    (["data", "prepare", "folder:nowhere"], 2, "nowhere")])
def test_errors_are_one_line(argv, code, says, capsys, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs/simclr.py").write_text("")
  assert cli.main(argv) == code
  out = lines(capsys)
  assert len(out) == 1 and says in out[0] and out[0].startswith("sslx: ")
  assert not (tmp_path / "x").exists()


def test_wrong_evaluation(workdir, capsys):
  for argv, says in ((["--protocols", "knm"], "did you mean knn"), (["--step", "3"], "no checkpoint of step 3"),
                     (["--step", "best"], "no best checkpoint"), (["--data", "digit"], "did you mean digits")):
    assert cli.main(["evaluate", "--workdir", workdir, *argv]) == 2
    assert says in lines(capsys)[-1]
  assert cli.main(["embed", "--workdir", workdir, "--out", "x.npz", "--layer", "stage9"]) == 2
  assert "did you mean stage1" in lines(capsys)[-1]
  assert cli.main(["embed", "--workdir", workdir, "--out", "nowhere/x.npz"]) == 1
  assert "nowhere" in lines(capsys)[-1]


def test_debug_shows_the_traceback():
  with pytest.raises(Exception, match="nowhere"):
    cli.main(["evaluate", "--workdir", "nowhere", "--debug"])


def test_files_in_the_folder_come_last(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", sys.path[:])
  assert cli.main(["pretrain", "--config", CONFIG, "--show"]) == 0
  assert sys.path[-1] == str(tmp_path)                       # a dotted name is found there, Python's own html is not
