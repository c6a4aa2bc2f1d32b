"""Every variant of every config: its keys build a run, and the ImageNet recipe traces from images to updates."""

import pathlib

import jax
import jax.numpy as jnp
import pytest

from sslx import config, errors, optim, run, train

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = sorted(ROOT.glob("configs/*.py"))
KINDS = {p: config.load(f"{p}:tiny").data.name.partition("digits_")[2] for p in CONFIGS}    # text, audio, video or ""
IMAGES = [p for p in CONFIGS if not KINDS[p]]
QUICK = {"imagenet-simclr", "imagenet-dino", "imagenet-context_encoder"}
SIZES = {"imagenet": (224, 1_281_167), "cifar10": (32, 50_000)}


@pytest.mark.parametrize("path, variant", [                  # tiny: tests/methods
    pytest.param(p, v, marks=() if f"{v}-{p.stem}" in QUICK else pytest.mark.slow, id=f"{v}-{p.stem}")
    for p in IMAGES for v in ("digits", "cifar10", "imagenet")])
def test_variant_traces(path, variant):
  c = config.load(f"{path}:{variant}")
  size, examples = SIZES.get(variant, (8, 1437))
  c = run.resolve(c, examples)
  run.fill(c, examples, 10)
  encoder, method = train.build(c)
  tx = optim.make(c.optim, c.total_steps, c.batch_size)
  side = c.data.size or size
  image = jax.ShapeDtypeStruct((c.batch_size, side, side, 1 if size == 8 else 3), jnp.uint8)
  number = jax.ShapeDtypeStruct((c.batch_size,), jnp.int32)
  batch = {k: v for k, v in {"image": image, "label": number, "index": number}.items() if k in method.reads}
  key = jax.eval_shape(jax.random.key, 0)
  state = jax.eval_shape(lambda k, b: train.init_state(method, tx, k, b), key, batch)
  after, metrics = jax.eval_shape(train.make_step(method, tx, c.total_steps), state, key, batch)
  shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert shapes(after) == shapes(state)
  assert metrics["loss"].shape == ()


@pytest.mark.parametrize("path, variant", [
    pytest.param(p, v, id=f"{v}-{p.stem}") for p in CONFIGS for v in ([KINDS[p]] if KINDS[p] else
                                                                      ["digits", "cifar10", "imagenet"])])
def test_variant_builds(path, variant):
  c = run.resolve(config.load(f"{path}:{variant}"), 50_000)
  train.build(c)
  assert optim.make(c.optim, c.total_steps, c.batch_size)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_unknown_variant_names_the_nearest(path):
  right = KINDS[path] or "digits"
  with pytest.raises(errors.UsageError, match=f"did you mean {right}"):
    config.load(f"{path}:{right[:-1]}")


def test_every_key_and_value_is_checked():
  c = lambda: config.load(f"{ROOT}/configs/simclr.py:tiny")
  new = config.override(c(), ["--config.batch_size=32", "--config.data.dir=here", "--config.mesh.data=2",
                              "--config.evaluate.protocols=knn,linear", "--config.optim.lr=1",
                              "--config.method.widths=8,4"])
  assert (new.batch_size, new.data.dir, new.mesh.data) == (32, "here", 2)
  assert (new.evaluate.protocols, new.optim.lr, new.method.widths) == (("knn", "linear"), 1.0, (8, 4))
  new = config.override(c(), ["--config.evaluate.data=[digits, digits_text]", "--config.method.widths=(8,4)"])
  assert (new.evaluate.data, new.method.widths) == (("digits", "digits_text"), (8, 4))
  assert config.override(c(), ["--config.mesh.whole=conv,norm"]).mesh.whole == ("conv", "norm")
  for wrong, says in (("--config.batch_sise=3", "batch_size"), ("--config.batch_size=many", "batch_size"),
                      ("--batch_size=3", "--config.batch_size"), ("--config.optim.lrr=3", "optim.lr"),
                      ("--config.encoder.name=resnet19", "resnet18"), ("--config.method.aug.name=simcrl", "simclr")):
    with pytest.raises(errors.UsageError, match=says):
      config.override(c(), [wrong])


def test_a_method_named_again_keeps_its_views():
  c = config.override(config.load(f"{ROOT}/configs/simclr.py:digits"), ["--config.method.name=simclr"])
  assert c.method.aug.name == "handwriting"
  assert c.method.temperature == 0.5


def test_a_saved_config_comes_back_with_its_types():
  c = config.load(f"{ROOT}/configs/simclr.py:tiny")
  again = config.restored(config.plain(c))
  assert config.plain(again) == config.plain(c)
  assert config.override(again, ["--config.evaluate.protocols=knn", "--config.data.dir=d"]).data.dir == "d"
  assert again.method.widths == (32, 16) and again.is_locked


def test_a_new_encoder_brings_its_own_options():
  c = config.override(config.load(f"{ROOT}/configs/simclr.py:tiny"),
                      ["--config.encoder.patch=2", "--config.encoder.name=vit_ti"])
  assert c.encoder.patch == 2
  assert c.encoder.width == 0                                # a ResNet's width is not a ViT's
  assert c.encoder.mean == (0.3,)                            # shared with the ResNet's, so kept
