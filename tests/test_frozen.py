"""A run's frozen encoder on data sets: from the command line as from Python, in parts as at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import sslx
from sslx import checkpoint, cli, config, data, encoders, frozen

SHAPE = (12, 12, 3)


def workdir_of(path, **options):
  """A workdir with an encoder that nobody trained."""
  c = config.default()
  c.encoder = encoders.options("own.encoder", width=6)
  c.data.update(options)
  module = encoders.make("own.encoder", width=6)
  environment = {"data": {"shape": SHAPE}, "versions": {}}
  checkpoint.export_encoder(path / "encoder", module.init(jax.random.key(0), jnp.zeros((1, *SHAPE))),
                            checkpoint.spec_of(config.plain(c), environment) | {"step": 3})
  return str(path)


def embedded(workdir, out, *options):
  assert cli.main(["embed", "--workdir", workdir, "--out", str(out), *map(str, options)]) == 0
  with np.load(out) as z:
    return dict(z)


@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize("deep", [False, True])
def test_an_image_from_python_equals_the_same_from_a_folder(tmp_path, fit, deep):
  rng = np.random.default_rng(0)
  for i, (h, w) in enumerate([(12, 12), (17, 40), (90, 31), (5, 9), (12, 13), (40, 46)]):
    path = tmp_path / f"photos/{'test' if i else 'train'}/{i}.{'jpg' if i == 5 and not deep else 'png'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 2**16, (h, w), np.uint16) if deep else rng.integers(0, 255, (h, w, 3), np.uint8)
    Image.fromarray(pixels).save(path)
  run = workdir_of(tmp_path / "run", fit=fit, dir=str(tmp_path / "prepared"))
  found = embedded(run, tmp_path / "e.npz", "--data", f"folder:{tmp_path}/photos")
  images = [np.asarray(Image.open(p)) for p in found["paths"]]
  assert np.array_equal(found["embeddings"], sslx.embed(sslx.load_encoder(run), images))


def test_a_set_is_embedded_in_parts_to_the_same_file(tmp_path, monkeypatch):
  run, asked = workdir_of(tmp_path / "run"), []
  rng = np.random.default_rng(0)
  np.savez(tmp_path / "set.npz", images=rng.integers(0, 255, (50, *SHAPE), np.uint8), labels=np.arange(50) % 3)
  source = data.load(f"npz:{tmp_path}/set.npz", split="train")
  encoder = sslx.load_encoder(run)
  whole = sslx.embed(encoder, source.batch(np.arange(40))["image"], batch_size=8)
  np.savez(tmp_path / "whole.npz", embeddings=whole, index=np.arange(40, dtype=np.int32), labels=source.labels,
           encoder=checkpoint.digest(encoder.variables), data=source.fingerprint)
  real = data.Source.batch
  monkeypatch.setattr(data.Source, "batch", lambda self, index: asked.append(len(index)) or real(self, index))
  monkeypatch.setattr(frozen, "IMAGES", 20)
  embedded(run, tmp_path / "parts.npz", "--data", f"npz:{tmp_path}/set.npz", "--split", "train", "--batch", 8)
  assert asked == [16, 16, 8]
  assert (tmp_path / "parts.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_every_evaluation_is_kept_by_data_and_step(tmp_path):
  path = tmp_path / "evaluation.json"
  result = lambda data, step, protocol, train=100: {
      protocol: {"encoder": step}, "data": data, "step": step, "notes": [],
      "protocols": {protocol: {"version": 1}, "sizes": {"train": train, "test": 50}}}
  without = lambda content: {k: v for k, v in content.items() if k != "runs"}
  checkpoint.write_json(path, result("mine", 4, "knn"))                           # as it was before there were "runs"
  frozen.keep(path, result("other", 4, "knn"), own=False)
  assert without(checkpoint.read_json(path)) == result("mine", 4, "knn")
  frozen.keep(path, result("mine", 8, "knn"), own=True)
  both = frozen.keep(path, result("mine", 8, "linear"), own=True)
  assert set(both["protocols"]) == {"knn", "linear", "sizes"} and both["knn"] == both["linear"] == {"encoder": 8}
  content = checkpoint.read_json(path)
  assert without(content) == both == content["runs"]["mine"]["8"]
  assert content["runs"]["mine"]["4"] == result("mine", 4, "knn")
  assert content["runs"]["other"] == {"4": result("other", 4, "knn")}
  frozen.keep(path, result("mine", 8, "knn", train=30), own=True)                 # other sizes are not put together
  assert "linear" not in checkpoint.read_json(path)


def test_own_data_by_another_name_and_other_data(tmp_path):
  rng = np.random.default_rng(0)
  for name in ("mine", "other"):
    np.savez(tmp_path / f"{name}.npz", images=rng.integers(0, 255, (50, *SHAPE), np.uint8), labels=np.arange(50) % 3)
  run = workdir_of(tmp_path / "run", name=f"npz:{tmp_path}/mine.npz")
  for options in ([], ["--data", f"npz:{tmp_path}/run/../mine.npz"], ["--data", f"npz:{tmp_path}/other.npz"]):
    assert cli.main(["evaluate", "--workdir", run, "--protocols", "knn", *options]) == 0
  content, mine = checkpoint.read_json(tmp_path / "run/evaluation.json"), f"npz:{tmp_path}/mine.npz"
  assert list(content["runs"]) == [mine, f"npz:{tmp_path}/other.npz"]
  assert content["data"] == mine and content["knn"] == content["runs"][mine]["3"]["knn"]


@pytest.mark.parametrize(("options", "says"), [
  (["--layer", "stage9"], "did you mean stage1"), (["--batch", "0"], "batch_size is 0"), (["--split", "tets"], "test")])
def test_what_fails_leaves_no_file(tmp_path, capsys, options, says):
  run = workdir_of(tmp_path / "run", name="digits", size=12)
  assert cli.main(["embed", "--workdir", run, "--out", str(tmp_path / "e.npz"), *options]) == 2
  assert says in capsys.readouterr().err
  assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_several_sets_by_one_command(tmp_path, capsys):
  """Sets of other sizes: each is kept and shown as one alone would be, by --data or by the run's evaluate.data."""
  rng = np.random.default_rng(0)
  for name, side, channels in (("a", 12, 3), ("b", 7, 1)):
    np.savez(tmp_path / f"{name}.npz", images=rng.integers(0, 255, (50, side, side, channels), np.uint8),
             labels=np.arange(50) % 3)
  sets, command = [f"npz:{tmp_path}/{n}.npz" for n in "ab"], ["evaluate", "--protocols", "knn", "--workdir"]
  runs = lambda run: checkpoint.read_json(f"{run}/evaluation.json")["runs"]
  one = workdir_of(tmp_path / "one")
  for name in sets:
    assert cli.main([*command, one, "--data", name]) == 0
  assert "npz:" not in capsys.readouterr().out                                    # one set alone has no title
  both = workdir_of(tmp_path / "both")
  assert cli.main([*command, both, "--data", sets[0], "--data", sets[1]]) == 0
  assert list(runs(both)) == sets and runs(both) == runs(one)
  assert "npz:" in capsys.readouterr().out
  c = checkpoint.read_json(spec := tmp_path / "one/encoder/spec.json")
  c["config"]["data"]["name"], c["config"]["evaluate"]["data"] = sets[1], sets[:1]
  checkpoint.write_json(spec, c)
  (tmp_path / "one/evaluation.json").unlink()
  assert cli.main([*command, one]) == 0
  assert list(runs(one)) == sets[::-1] and runs(one)[sets[0]] == runs(both)[sets[0]]
