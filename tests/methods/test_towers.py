"""Two towers compared: what is missing, locked towers, their export, retrieval and zero-shot classification."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import checkpoint, config, data, encoders, errors, evaluate, frozen, methods, train

USUAL = ("knn", "linear", "few_label", "health")      # what the command asks for, unless told
CONFIG = "configs/clip.py:tiny"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The workdir of a short run on the digits and their names."""
  c = config.load(CONFIG)
  c.total_steps, c.online_probe, c.checkpoint.every, c.log.every = 200, False, 0, 30
  c.optim.lr = 0.01
  workdir = tmp_path_factory.mktemp("clip")
  train.train(c, workdir)
  return workdir


@pytest.mark.slow
def test_towers_are_exported_and_compared(run):
  assert checkpoint.compares(checkpoint.load_encoder(run).spec)
  text = checkpoint.load_encoder(run / "towers" / "text")
  assert text.reads == "text" and text.shape == (16,) and text.spec["step"] == 200
  both = checkpoint.spaces(run)
  assert {t: e.reads for t, e in both.items()} == {"image": "image", "text": "text"}
  for tower, encoder in (("text", text), ("image", checkpoint.load_encoder(run))):
    jax.tree.map(np.testing.assert_array_equal, encoder.variables["params"], both[tower].variables["params"]["encoder"])
  test = data.load("digits_pairs", split="test")
  words = data.load("digits_pairs", split="test", key="text")
  assert evaluate.embed(text, data.arrays(words)[0][:5]).shape == (5, 16)
  result = frozen.evaluate(checkpoint.load_encoder(run), run, protocols=("retrieval", "zero_shot"), test=0,
                           templates=["a {}", "the digit {}"])
  own = result["retrieval"]["encoder"]
  assert own["count"] == {"image": sum(t.any() for t in test.batch(np.arange(len(test)))["text"]), "text": 20}
  assert result["retrieval"]["random"]["examples"] == {"image to text": [], "text to image": []}
  assert len(own["examples"]["image to text"]) == 6 and own["examples"]["text to image"][0]["query"]["text"] in (0, 1)
  rows = {(p, s): v for p, s, *v in evaluate.rows(result)}
  assert rows["zero_shot", "accuracy"][0] > 0.3 and rows["zero_shot", "accuracy"][3] == pytest.approx(0.1)
  encoder, random, _, chance = rows["retrieval", "image to text R@5"]                     # 2 of the 20 texts are right
  assert encoder > random and chance == pytest.approx(1 - 15 * 14 / (20 * 19))
  assert np.sum(result["zero_shot"]["encoder"]["confusion"]) == len(test)
  usual = frozen.evaluate(text, run / "towers" / "text", protocols=USUAL, train=50, test=50)
  assert "knn" in usual and "retrieval" not in usual
  with pytest.raises(errors.UsageError, match="holds no encoder and no checkpoints"):
    frozen.evaluate(text, run / "towers" / "text", protocols=("retrieval",), train=50, test=50)


def test_of_a_method_without_towers():
  spec = {"config": config.plain(config.load("configs/simclr.py:tiny"))}
  assert not checkpoint.compares(spec | {"encoder": spec["config"]["encoder"]})


def make(name="clip", **options):
  image, text = (encoders.make("vit_ti", patch=4, width=8, depth=1, heads=2, pool="mean"),
                 encoders.make("text_ti", width=8, depth=1, heads=2, dropout=0.0))
  return methods.make(name, image, text=text, width=6, **options)


def batch():
  rng = np.random.default_rng(0)
  text = rng.integers(1, 200, (8, 2, 5)).astype(np.int32)
  text[::3] = 0
  return {"image": jnp.asarray(rng.random((8, 8, 8, 3)), jnp.float32), "text": jnp.asarray(text)}


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_what_is_missing_does_not_count(name):
  method, full = make(name, aug=lambda key, x: x), batch()
  params, state = method.init(jax.random.key(0), full)
  views = method.views(jax.random.key(1), full)
  assert views["whole"].tolist() == [False, True, True, False, True, True, False, True]
  loss = jax.jit(lambda views: method.loss(params, state, views, jax.random.key(2), 0.5)[0])
  other = views | {"image": jnp.where(views["whole"][:, None, None, None], views["image"], 0.7)}
  assert float(loss(views)) == pytest.approx(float(loss(other)), rel=1e-6)
  drawn = views["text"][views["whole"]]
  assert all(np.any(np.all(t == full["text"][views["whole"]][i], -1)) for i, t in enumerate(drawn))


def test_a_locked_tower_stays():
  method, full = make(locked=True), batch()
  params, state = method.init(jax.random.key(0), full)
  assert set(params["image"]) == {"head"}
  views = method.views(jax.random.key(1), full)
  grads, (new, _) = jax.jit(jax.grad(lambda p: method.loss(p, state, views, jax.random.key(2), 0.5), has_aux=True))(
      params)
  assert np.any(grads["image"]["head"]["dense1"]["kernel"])
  jax.tree.map(np.testing.assert_array_equal, new["image"], state["image"])
  jax.tree.map(np.testing.assert_array_equal, method.encoder(params, new)["image"], state["image"]["encoder"])
  module, variables = method.spaces(params, state)["image"]
  assert module.apply(variables, full["image"]).shape == (8, 6)


def test_wrong_use():
  with pytest.raises(errors.UsageError, match=r"config\.encoder is the image encoder"):
    methods.make("clip", encoders.make("text_ti"))
  with pytest.raises(errors.UsageError, match="text has no name"):
    methods.make("clip", encoders.make("resnet10"), text={"width": 3})
  with pytest.raises(errors.UsageError, match="clip reads text, and ResNet does not"):
    methods.make("clip", encoders.make("resnet10"), text={"name": "resnet10"})
  source = data.load("digits_pairs", split="test")
  with pytest.raises(errors.UsageError, match="'a photo' has no {}"):
    evaluate.zero_shot({"image": None, "text": None}, source, "bytes", ["a photo"])
