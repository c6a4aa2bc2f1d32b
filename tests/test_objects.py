"""Folders of voxel grids and point sets, all the way: pretrained, evaluated, embedded, searched, transferred, shown."""

import json

import numpy as np
import pytest

from sslx import checkpoint, cli, data

TINY = {"voxels": ["--config.encoder.name=voxel_resnet6", "--config.encoder.width=2"],
        "points": ["--config.encoder.width=2"],
        "image_points": ["--config.encoder.width=2", "--config.method.points.width=2", "--config.data.size=8"]}
FEW = ["--config.total_steps=2", "--config.batch_size=16", "--config.checkpoint.every=2", "--config.mesh.data=1"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """$root/{voxels,points}/{train,test}/CLASS/*.npy of the digits 0 and 1."""
  path = tmp_path_factory.mktemp("objects")
  for key in ("voxels", "points"):
    for part, count in (("train", 40), ("test", 20)):
      source = data.load(f"digits_{key}", split=part)
      for i in np.flatnonzero(source.labels < 2)[:count]:
        file = path / key / part / str(source.labels[i]) / f"{i}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        x = source[i][key]
        np.save(file, x[..., 0] > 0 if key == "voxels" else x * 3 + 1)
  return path


def command(*args):
  assert cli.main(list(map(str, args))) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_everything_once(root, tmp_path, name):
  kind = name.removeprefix("image_")
  size = ["--config.data.size=8"] if kind == "voxels" else ["--config.data.length=16"]
  run = tmp_path / "run"
  command("pretrain", "--config", f"configs/{name}.py:{kind}", f"--config.data.name={kind}:{root}/{kind}",
          "--workdir", run, *FEW, *size, *TINY[name])
  command("evaluate", "--workdir", run)
  found = json.loads((run / "evaluation.json").read_text())
  assert set(found["knn"]) == {"encoder", "random", "raw"} and "1" in found["few_label"]
  assert ("retrieval" in found) == (name == "image_points")
  file = next((root / kind / "test").glob("*/*.npy"))
  for place, key in ((run, "image" if name == "image_points" else kind), (run / "towers" / "points", "points")):
    if not place.exists():
      continue
    encoder = checkpoint.load_encoder(place)
    assert encoder.reads == key
    command("embed", "--workdir", place, "--out", tmp_path / "z.npz")
    assert np.load(tmp_path / "z.npz")["embeddings"].shape[0] == 20
    if key == "image":
      continue
    command("search", "--workdir", place, "--image", file, "--data", f"{kind}:{root}/{kind}", "--split", "test",
            "--k", 2, "--out", tmp_path / "found.html")
    assert "1.000" in (tmp_path / "found.html").read_text() and file.name in (tmp_path / "found.html").read_text()
  command("report", "--workdir", run)
  page = (run / "report.html").read_text()
  assert page.count("data:image/png") > 20
  if name != "image_points":
    assert {"voxels": "pooled voxels", "points": "sorted coordinates"}[kind] in page.lower()
    command("transfer", "--config", "configs/transfer/classify.py:digits", "--from", run, "--workdir",
            tmp_path / "task", f"--config.data.name={kind}:{root}/{kind}", "--strategy", "linear", *FEW)
    assert json.loads((tmp_path / "task" / "transfer.json").read_text())
