"""`sslx import` and `sslx export` on files as others make them, and on bad ones: what they write and say."""

import io
import json
import pickle
import sys
import warnings

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import sslx
from sslx import arguments, checkpoint, cli, config, encoders, errors, interop
from sslx.interop import architectures, resnet, stablehlo, vit
from sslx.interop.table import to_theirs

RNG = np.random.default_rng(0)
OPTIONS = ["--options", "width=4"]


def state_dict(name="resnet10", size=16, **options):
  """Random weights under torchvision's names, with counters as training leaves them, and a head."""
  module = encoders.make(name, width=4, **options)
  ours = {k: RNG.normal(0, 0.2, s).astype(np.float32) for k, s in architectures.shapes(module, (size, size, 3)).items()}
  ours = {k: np.abs(a) + 0.5 if k.endswith("var") else a for k, a in ours.items()}
  out = to_theirs(resnet.rows(module, "torchvision"), ours)
  out |= {k: np.array(7, np.int64) for k in out if k.endswith("tracked")}
  return out | {"fc.weight": np.zeros((2, 32), np.float32)}


def features(encoder, x):
  return np.asarray(jax.jit(lambda v, x: encoder.module.apply(v, x))(encoder.variables, x))


def last(capsys):
  return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "net.safetensors"
  safetensors.numpy.save_file(state_dict(), path)
  return path


@pytest.fixture(scope="module")
def workdir(weights, tmp_path_factory):
  path = tmp_path_factory.mktemp("run") / "imported"
  assert cli.main(["import", str(weights), "--from", "torchvision", "--encoder", "resnet10", "--workdir", str(path),
                   "--size", "16", "--data", "digits", *OPTIONS]) == 0
  return path


def test_evaluate_embed_report_and_load_encoder_work_on_it(workdir, tmp_path, capsys):
  w = ["--workdir", str(workdir)]
  assert cli.main(["evaluate", *w, "--protocols", "knn,health", "--train", "60", "--test", "40"]) == 0
  assert {"encoder", "random", "raw"} == set(checkpoint.read_json(workdir / "evaluation.json")["knn"])
  assert cli.main(["embed", *w, "--out", str(tmp_path / "e.npz")]) == 0
  with np.load(tmp_path / "e.npz") as found:
    assert found["embeddings"].shape == (360, 32)
  images = np.zeros((2, 9, 9, 3), np.uint8)
  want = sslx.embed(sslx.load_encoder(workdir), images)
  assert np.array_equal(sslx.Embedder(str(workdir)).fit_transform(images), want)
  assert cli.main(["report", *w]) == 0
  page = (workdir / "report.html").read_text()
  assert "these weights were imported" in page and "--config.init=" in page and "have changed" not in page
  assert cli.main(["pretrain", *w]) == 2
  assert "--config.init=DIR" in last(capsys)


def test_out_again_is_the_same_file(weights, workdir, tmp_path, capsys):
  for to, suffix in (("timm", ".safetensors"), ("torchvision", ".npz")):
    out = tmp_path / f"out{suffix}"
    assert cli.main(["export", "--workdir", str(workdir), "--to", to, "--out", str(out)]) == 0
    found = checkpoint.read_safetensors(out)[0] if to == "timm" else dict(np.load(out))
    first = checkpoint.read_safetensors(weights)[0]
    assert set(found) == set(first) - {"fc.weight"}
    assert all(a.dtype == first[k].dtype and np.array_equal(a, first[k]) for k, a in found.items())
  assert "torch.nn.Identity()" in capsys.readouterr().err


def test_lightlys_parts_leave_under_torchvisions_names(tmp_path):
  arrays = state_dict()
  names = {"conv1": "0", "bn1": "1", **{f"layer{i}": str(i + 3) for i in range(1, 5)}}
  np.savez(tmp_path / "a.npz", **{"backbone." + k.replace(p, n, 1): a for p, n in names.items()
                                  for k, a in arrays.items() if k.startswith(p + ".")})
  found = interop.import_weights(tmp_path / "a.npz", tmp_path / "run", source="lightly", encoder="resnet10", size=16,
                                 options={"width": 4})
  assert found.spec["source"]["layout"] == "children"
  interop.export_weights(tmp_path / "run", "torchvision", tmp_path / "b.safetensors")
  out = checkpoint.read_safetensors(tmp_path / "b.safetensors")[0]
  assert set(out) == set(arrays) - {"fc.weight"} and all(np.array_equal(a, arrays[k]) for k, a in out.items())


def test_the_record_travels_with_the_weights(workdir, tmp_path):
  out = tmp_path / "ours.safetensors"
  record = interop.export_weights(workdir, "safetensors", out)
  assert json.loads((tmp_path / "ours.safetensors.json").read_text()) == json.loads(json.dumps(record))
  assert record["normalisation"]["std"] == [0.229, 0.224, 0.225] and record["source"]["from"] == "torchvision"
  x = RNG.random((2, 16, 16, 3), np.float32)
  want = features(sslx.load_encoder(workdir), x)
  assert np.array_equal(features(sslx.load_encoder(out), x), want)
  for to in ("safetensors", "timm"):                       # such a file says all by itself
    path = tmp_path / f"{to}.safetensors"
    interop.export_weights(out, to, path)
    again = interop.import_weights(path, tmp_path / to)
    assert np.array_equal(features(again, x), want) and again.spec["source"]["origin"]["method"] == "imported"
    assert again.shape == (16, 16, 3) and again.spec["config"]["data"]["name"] == "digits"


def test_our_own_run_comes_back_from_timms_layout(tmp_path):
  c = config.default()
  c.encoder = encoders.options("vit_ti", width=8, depth=1, heads=2, patch=8)                 # computed positions
  module = encoders.make("vit_ti", width=8, depth=1, heads=2, patch=8)
  variables = module.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
  environment = {"data": {"name": "digits", "shape": [16, 16, 3]}, "versions": {}}
  checkpoint.export_encoder(tmp_path / "run/encoder", variables, checkpoint.spec_of(config.plain(c), environment)
                            | {"step": 3})
  record = interop.export_weights(tmp_path / "run", "timm", tmp_path / "t.safetensors")
  assert interop.recipe(record) == ["model = timm.create_model('vit_base_patch16_224', num_classes=0, img_size=16, "
                                    "patch_size=8, embed_dim=8, depth=1, num_heads=2, mlp_ratio=4.0)"]
  x = RNG.random((2, 16, 16, 3), np.float32)
  want = features(sslx.load_encoder(tmp_path / "run"), x)
  assert np.array_equal(features(interop.import_weights(tmp_path / "t.safetensors", tmp_path / "again"), x), want)
  arrays = checkpoint.read_safetensors(tmp_path / "t.safetensors")[0]                       # as if by somebody else
  safetensors.numpy.save_file(arrays, tmp_path / "plain.safetensors")
  other = interop.import_weights(tmp_path / "plain.safetensors", tmp_path / "plain", encoder="vit_ti", size=16,
                                 options={"width": 8, "depth": 1, "heads": 2})
  assert other.spec["encoder"]["position"] == "learned" and other.spec["source"]["from"] == "timm"
  np.testing.assert_allclose(features(other, x), want, atol=1e-6)


@pytest.mark.parametrize(("source", "prefix", "beside"), [
    ("dino", "teacher.module.backbone.", "teacher.head.mlp.0.weight"),
    ("mocov3", "state_dict.module.base_encoder.", "state_dict.module.predictor.0.weight"),
    ("simclr", "state_dict.backbone.", "optimizer.state.0.exp_avg"),
    ("solo-learn", "state_dict.encoder.", "state_dict.projector.0.weight"),
    ("lightly", "backbone.", "projection_head.layers.0.weight"),
    ("vissl", "classy_state_dict.base_model.model.trunk._feature_blocks.", "classy_state_dict.loss.a")])
def test_the_encoder_is_found_where_the_source_puts_it(source, prefix, beside, tmp_path, capsys):
  path = tmp_path / "net.npz"
  stem = {"stem": "small"} if source in ("solo-learn", "simclr") else {}
  arrays = {prefix + k: a for k, a in state_dict(**stem).items()} | {beside: np.zeros((2, 2), np.float32)}
  np.savez(path, **arrays)
  assert cli.main(["import", str(path), "--from", source, "--encoder", "resnet10", "--workdir", str(tmp_path / "run"),
                   "--size", "16", *OPTIONS]) == 0
  said = capsys.readouterr().err
  assert "heads, left out: fc (1)" in said and "beside the encoder, left out" in said and "--data NAME" in said
  spec = sslx.load_encoder(tmp_path / "run").spec
  assert spec["source"]["from"] == source and spec["source"]["heads"] == ["fc.weight"]
  assert spec["encoder"]["stem"] == {"solo-learn": "small_pad2", "simclr": "small"}.get(source, "imagenet")


@pytest.mark.parametrize(("source", "layout", "prefix", "heads"), [
    ("timm", "timm", "", ["head.weight"]), ("torchvision", "torchvision", "", ["heads.head.weight"]),
    ("dino", "timm", "teacher.backbone.", []), ("ibot", "timm", "state_dict.", ["masked_embed"]),
    ("dinov2", "timm", "teacher.backbone.", ["mask_token"]), ("mae", "timm", "model.", ["decoder_pred.bias"]),
    ("mocov3", "timm", "state_dict.module.base_encoder.", ["head.0.weight"]),
    ("big_vision", "big_vision", "params/", ["head/bias"])])
def test_a_vit_is_found_where_the_source_puts_it(source, layout, prefix, heads, tmp_path, capsys):
  options = {"width": 8, "depth": 2, "heads": 2}
  module = encoders.make("vit_ti", **options, patch=8, position="learned", grid=2,
                         mlp="gelu_tanh" if source == "big_vision" else "gelu")
  ours = {k: RNG.normal(0, 0.2, s).astype(np.float32) for k, s in architectures.shapes(module, (16, 16, 3)).items()}
  if layout in vit.BARE:
    ours["params/positions"][:, :1] = 0
  theirs = to_theirs(vit.rows(module, layout, (16, 16, 3)), ours)
  path = tmp_path / "net.npz"
  np.savez(path, **{prefix + k: a for k, a in (theirs | {k: np.zeros(2, np.float32) for k in heads}).items()})
  assert cli.main(["import", str(path), "--from", source, "--encoder", "vit_ti", "--workdir", str(tmp_path / "run"),
                   "--size", "16", "--options", *(f"{k}={v}" for k, v in options.items())]) == 0
  assert not heads or "heads, left out: " in capsys.readouterr().err
  found = sslx.load_encoder(tmp_path / "run")
  assert found.spec["source"]["from"] == source and len(found.spec["source"]["heads"]) == len(heads)
  assert found.module.mean == interop.SOURCES[source].mean
  x = RNG.random((2, 16, 16, 3), np.float32)
  module = module.clone(mean=found.module.mean, std=found.module.std)
  want = module.apply(checkpoint.nested(architectures.together(ours, module)), x, train=False)
  np.testing.assert_allclose(features(found, x), want, rtol=1e-5, atol=1e-6)


def test_bfloat16_becomes_float32(weights, tmp_path):
  arrays = checkpoint.read_safetensors(weights)[0]
  short = {k: a.astype(ml_dtypes.bfloat16) if a.ndim else a for k, a in arrays.items()}
  checkpoint.write_safetensors(tmp_path / "a.safetensors", short, None)
  header, content = checkpoint.read_safetensors(tmp_path / "a.safetensors")[0], arrays["conv1.weight"]
  assert header["conv1.weight"].dtype == ml_dtypes.bfloat16
  np.savez(tmp_path / "b.npz", **short)                    # NumPy forgets the type's name
  for i, path in enumerate((tmp_path / "a.safetensors", tmp_path / "b.npz")):
    found = interop.import_weights(path, tmp_path / str(i), encoder="resnet10", options={"width": 4}, size=16)
    kernel = np.asarray(found.variables["params"]["stem_conv"]["kernel"])
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), content.astype(ml_dtypes.bfloat16).astype(np.float32))


class Bomb:
  """Runs code when it is unpickled."""

  def __reduce__(self):
    return exec, ("raise AssertionError('it ran')",)


def bad(kind, tmp_path):
  """The path of a file that is wrong in some way."""
  path, arrays = tmp_path / "bad.safetensors", state_dict()
  if kind in ("missing", "unused", "shape"):
    if kind == "missing":
      del arrays["layer2.0.bn1.weight"]
    elif kind == "unused":
      arrays["layer9.weight"] = np.zeros(3, np.float32)
    else:
      arrays["layer1.0.conv1.weight"] = np.zeros((4, 4, 5, 5), np.float32)
    safetensors.numpy.save_file(arrays, path)
  elif kind == "truncated":
    safetensors.numpy.save_file(arrays, path)
    path.write_bytes(path.read_bytes()[:-100])
  elif kind == "nothing":
    path.write_bytes(b"")
  else:
    path = tmp_path / "bad.npz"
    out = io.BytesIO()
    np.savez(out, **({"a": np.array([Bomb()], object)} if kind == "code" else arrays))
    path.write_bytes({"cut": out.getvalue()[:-3000], "pickle": pickle.dumps(Bomb())}.get(kind, out.getvalue()))
  return str(path)


@pytest.mark.parametrize(("kind", "argv", "code", "says"), [
    ("missing", [], 2, "missing: layer2.0.bn1.weight"), ("unused", [], 2, "not used: layer9.weight"),
    ("shape", [], 2, "layer1.0.conv1.weight is [4, 4, 5, 5], not [4, 4, 3, 3]"),
    ("truncated", [], 1, "damaged or not whole"), ("nothing", [], 1, "damaged or not whole"),
    ("code", [], 2, "could run code: nothing was read"), ("pickle", [], 2, "could run code: nothing was read"),
    ("cut", [], 1, "damaged or not whole"), ("fine", ["--encoder", "resnet18"], 2, "It fits resnet10"),
    ("fine", ["--encoder", "vit_s", "--options", "patch=16"], 2, "it holds a ResNet"),
    ("fine", ["--encoder", "resnet11"], 2, "did you mean resnet10"),
    ("fine", ["--from", "tim"], 2, "did you mean timm"),
    ("fine", ["--options", "widht=4"], 2, "did you mean width"), ("fine", ["--options", "width"], 2, "KEY=VALUE"),
    ("fine", ["--encoder", "own.encoder"], 2, "unknown encoder"),
    ("fine", ["--prefix", "nowhere."], 2, "its keys are conv1.weight")])
def test_bad_files_and_words_are_one_line(kind, argv, code, says, tmp_path, capsys):
  path = bad(kind, tmp_path)
  argv = ["import", path, "--workdir", str(tmp_path / "run"), "--size", "16", *(
      [] if "--encoder" in argv else ["--encoder", "resnet10"]), *([] if "--options" in argv else OPTIONS), *argv]
  assert cli.main(argv) == code
  out = capsys.readouterr().err.strip().splitlines()
  assert len(out) == 1 and says in out[0]
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("change", "says"), [
    (lambda a, r: r["encoder"].update(name="evil"), "names the encoder evil, which is none of sslx's"),
    (lambda a, r: r["encoder"].update(name="os.abort"), "names the encoder os.abort, which is none of sslx's"),
    (lambda a, r: r.pop("shape"), "the record in FILE is not whole"),
    (lambda a, r: r["encoder"].update(width=8), "norm1/mean is [4], not [8] and 59 more"),
    (lambda a, r: a.pop("params/stem_conv/kernel"), "missing: params/stem_conv/kernel"),
    (lambda a, r: a.update(more=np.zeros(3)), "not used: more")])
def test_files_of_our_own_that_were_tampered_with(workdir, tmp_path, capsys, monkeypatch, change, says):
  interop.export_weights(workdir, "safetensors", path := tmp_path / "ours.safetensors")
  arrays, record = checkpoint.read_safetensors(path)
  change(arrays, record)
  checkpoint.write_safetensors(path, arrays, record)
  (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
  monkeypatch.syspath_prepend(tmp_path)
  assert cli.main(["import", str(path), "--workdir", str(tmp_path / "run")]) == 2
  line, = capsys.readouterr().err.strip().splitlines()
  assert says.replace("FILE", str(path)) in line and not (tmp_path / "run").exists()
  with pytest.raises(errors.UsageError):
    checkpoint.load_encoder(path)


def test_odd_shapes_are_one_line(tmp_path, capsys):
  arrays = state_dict()
  arrays["bn1.num_batches_tracked"] = np.array([7])
  safetensors.numpy.save_file(arrays, tmp_path / "one.safetensors")
  argv = ["--encoder", "resnet10", "--size", "16", *OPTIONS]
  assert cli.main(["import", f"{tmp_path}/one.safetensors", "--workdir", f"{tmp_path}/one", *argv]) == 0
  arrays["conv1.weight"] = arrays["conv1.weight"].ravel()
  safetensors.numpy.save_file(arrays, tmp_path / "flat.safetensors")
  capsys.readouterr()
  assert cli.main(["import", f"{tmp_path}/flat.safetensors", "--workdir", f"{tmp_path}/flat", *argv]) == 2
  assert "conv1.weight is [" in capsys.readouterr().err


def test_other_mistakes_are_one_line(weights, workdir, tmp_path, capsys, monkeypatch):
  (tmp_path / "a.pth").write_bytes(b"")
  monkeypatch.setitem(sys.modules, "torch", None)
  run = ["--workdir", str(tmp_path / "run")]
  there = ["--workdir", str(workdir)]
  for argv, code, says in (
      (["import", str(weights), *run], 2, "--encoder NAME"),
      (["import", "nowhere.safetensors", "--encoder", "resnet10", *run], 2, "there is no file nowhere"),
      (["import", "net.safetensor", *run], 2, "did you mean .safetensors"),
      (["import", str(tmp_path / "a.pth"), *run], 2, "pip install 'sslx[torch]'"),
      (["export", *there, "--to", "tim", "--out", "x"], 2, "did you mean timm"),
      (["export", *there, "--to", "timm", "--out", "x.txt"], 2, "unknown kind of weights file '.txt'"),
      (["export", *there, "--to", "timm", "--out", "nowhere/x.npz"], 2, "no folder nowhere"),
      (["export", *there, "--to", "safetensors", "--out", "x.npz"], 2, "a .safetensors file"),
      (["export", *there, "--to", "timm", "--out", str(tmp_path / "x.pth")], 2, "PyTorch is not installed"),
      (["export", "--workdir", "nowhere", "--to", "timm", "--out", "x.npz"], 2, "nowhere"),
      (["export", "--workdir", str(weights), "--to", "timm", "--out", "x.npz"], 2, "sslx import")):
    assert cli.main(argv) == code, argv
    assert says in last(capsys), argv
  checkpoint.write_json(tmp_path / "config.json", {"method": {"name": "simclr"}})
  assert cli.main(["import", str(weights), "--encoder", "resnet10", "--workdir", str(tmp_path), *OPTIONS]) == 2
  assert "holds a run already" in last(capsys)


def test_help_names_every_source(capsys):
  with pytest.raises(SystemExit):
    arguments.parser().parse_args(["import", "--help"])
  said = " ".join(capsys.readouterr().out.split())
  assert all(name in said for name in interop.SOURCES)


def test_pytorch_files(weights, tmp_path, capsys):
  torch = pytest.importorskip("torch")
  arrays = checkpoint.read_safetensors(weights)[0]
  state = {f"module.{k}": torch.from_numpy(np.array(a)) for k, a in arrays.items()}
  torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a.pth")
  found = interop.import_weights(tmp_path / "a.pth", tmp_path / "run", encoder="resnet10", size=16,
                                 options={"width": 4})
  assert found.spec["source"]["beside"] == [] and found.spec["source"]["counters"]["stem_norm"] == 7
  interop.export_weights(tmp_path / "run", "timm", tmp_path / "b.pth")
  again = torch.load(tmp_path / "b.pth", weights_only=True)
  assert all(torch.equal(a, state[f"module.{k}"]) for k, a in again.items()) and len(again) == len(arrays) - 1
  torch.save({"state_dict": state, "code": Bomb()}, tmp_path / "bomb.pth")
  (tmp_path / "cut.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-1000])
  (tmp_path / "plain.pth").write_bytes(pickle.dumps(Bomb()))
  (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
  capsys.readouterr()
  for name, code, says in (("bomb", 2, "could run code: nothing was executed"), ("cut", 1, "damaged or not whole"),
                           ("plain", 2, "could run code: nothing was executed"), ("page", 1, "no file of PyTorch's")):
    with warnings.catch_warnings(record=True, action="always") as heard:
      assert cli.main(["import", str(tmp_path / f"{name}.pth"), "--encoder", "resnet10", "--workdir",
                       str(tmp_path / "no"), *OPTIONS]) == code
    assert not heard
    out = capsys.readouterr().err.strip().splitlines()
    assert len(out) == 1 and says in out[0]


@pytest.mark.parametrize(("key", "name", "options", "shape", "said"), [
    ("text", "text_ti", {"width": 8, "heads": 2, "depth": 1}, (12,), {"dtype": "int32", "tokens": "bytes"}),
    ("audio", "audio_resnet10", {"width": 4}, (4000,), {"dtype": "float32", "samples": "at 8000 Hz"}),
    ("video", "frames_resnet10", {"width": 2, "stem": "small"}, (3, 8, 8, 3), {"layout": "NTHWC", "size": [8, 8]}),
    ("voxels", "voxel_resnet6", {"width": 2}, (8, 8, 8, 1), {"layout": "NDHWC", "size": [8, 8, 8]}),
    ("points", "pointnet", {"width": 2}, (9, 3), {"points": "their mean at 0"})])
def test_stablehlo_of_what_is_no_image(key, name, options, shape, said, tmp_path):
  pytest.importorskip("flatbuffers")
  module = encoders.make(name, **options)
  x = RNG.integers(1, 257, (2, *shape)).astype(np.int32) if key == "text" else RNG.random((2, *shape), np.float32)
  variables = jax.jit(module.init)(jax.random.key(0), x)
  data = {"tokenizer": "bytes", "rate": 8000, "fit": "crop"}
  encoder = checkpoint.Encoder(module, variables, shape, {"data": {"key": key}, "config": {"data": data}})
  program = stablehlo.export(encoder, tmp_path / "encoder.stablehlo")["program"]
  assert all(v in program["input"][k] if isinstance(v, str) else program["input"][k] == v for k, v in said.items())
  names = {"FILE": str(tmp_path / "encoder.stablehlo"), "examples": x}
  exec(program["run"], names)
  np.testing.assert_allclose(names["z"], features(encoder, x), rtol=1e-4, atol=1e-5)


def test_stablehlo_gives_the_same_features_without_the_library(workdir, tmp_path):
  pytest.importorskip("flatbuffers")
  record = interop.export_weights(workdir, "stablehlo", tmp_path / "encoder.stablehlo")
  assert record["program"]["input"]["shape"] == ["b", 16, 16, 3] and record["program"]["output"]["shape"] == ["b", 32]
  x = RNG.random((3, 16, 16, 3), np.float32)
  names = {"FILE": str(tmp_path / "encoder.stablehlo"), "examples": x}
  exec(record["program"]["run"], names)
  np.testing.assert_allclose(names["z"], features(sslx.load_encoder(workdir), x), rtol=1e-5, atol=1e-5)
