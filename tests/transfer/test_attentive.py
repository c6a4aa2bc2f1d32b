"""The attentive probe: by hand, on encoders of every kind, with the encoder still."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sources import exported

from sslx import checkpoint, encoders, errors, heads, train
from sslx.augment import to_float
from sslx.transfer import classify

RNG = np.random.default_rng(0)
SMALL = {"width": 8, "depth": 2, "heads": 2}


def test_by_hand():
  x, real = RNG.standard_normal((3, 5, 6)).astype(np.float32), np.arange(5) < np.array([[5], [3], [1]])
  module = heads.Attentive(heads=4)                          # two: four do not divide six
  p = jax.tree.map(lambda v: RNG.standard_normal(v.shape, np.float32), module.init(jax.random.key(0), x)["params"])
  assert p["query"].shape == (2, 3)
  wanted = np.zeros((3, 6))
  for b in range(3):
    tokens = x[b][real[b]]
    for h, part in enumerate((slice(0, 3), slice(3, 6))):
      weight = np.exp((tokens @ p["key"]["kernel"])[:, part] @ p["query"][h] / 3 ** 0.5)
      wanted[b, part] = weight / weight.sum() @ (tokens @ p["value"]["kernel"])[:, part]
  np.testing.assert_allclose(module.apply({"params": p}, x, real), wanted, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "options", "shape", "reads"), [
    ("resnet10", {"width": 2, "stem": "small"}, (8, 8, 1), "image"),
    ("vit_ti", SMALL | {"patch": 4}, (8, 8, 1), "image"),
    ("text_ti", SMALL, (7,), "text"), ("audio_vit_ti", SMALL | {"patch": 4, "rate": 4000}, (4000,), "audio"),
    ("video_vit_ti", SMALL | {"patch": 4}, (4, 8, 8, 1), "video"),
    ("frames_resnet10", {"width": 2, "stem": "small"}, (4, 8, 8, 1), "video")])
@pytest.mark.parametrize("layer", ["", "stage1"])
def test_every_encoder(name, options, shape, reads, layer):
  net = classify.Classifier(encoders.make(name, **options), 3, layer, True, "attentive")
  x = checkpoint.blank(shape, reads)
  found = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), x))
  assert found[0].shape == (1, 3) and {"pool", "head"} <= set(found[1]["params"])


def test_padding_is_not_seen():
  net = classify.Classifier(encoders.make("text_ti", width=8, depth=1, heads=2, pool="token"), 3, "", True, "attentive")
  ids = RNG.integers(1, 200, (4, 6)).astype(np.int32)
  ids[:, 4:] = 0
  variables = jax.jit(net.init)(jax.random.key(0), ids)
  run = jax.jit(lambda x: net.apply(variables, x, train=True, mutable=["batch_stats"]))
  for a, b in zip(*map(jax.tree.leaves, (run(ids), run(ids[:, :4]))), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_it_learns_where_the_mean_says_nothing():
  """Tokens a and -a, or b and -b: their mean is zero for both classes."""
  signs = np.stack(np.float32([[1, -1], [1, -1]]))[..., None]
  x = np.tile(RNG.standard_normal((2, 1, 4)).astype(np.float32) * signs, (8, 1, 1))
  net = nn.Sequential([heads.Attentive(heads=2), nn.Dense(2)])
  params, tx = net.init(jax.random.key(0), x), optax.adam(0.05)

  def loss(params):
    return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, x), jnp.arange(16) % 2).mean()

  @jax.jit
  def step(params, opt):
    updates, opt = tx.update(jax.grad(loss)(params), opt)
    return optax.apply_updates(params, updates), opt
  opt = tx.init(params)
  for _ in range(100):
    params, opt = step(params, opt)
  assert loss(params) < 0.05 < 0.69


def test_the_encoder_stays_still(tmp_path):
  source, module, before = exported(tmp_path, "own.encoder", shape=(8, 8, 1), width=4)
  batch = {"image": RNG.integers(0, 255, (8, 8, 8, 1), np.uint8), "label": np.arange(8) % 2}
  make = lambda pool: classify.make(module, source=source, pool=pool, num_classes=2, aug=lambda key, x: to_float(x))
  method, tx = make("attentive"), optax.sgd(0.5)
  state = train.init_state(method, tx, jax.random.key(0), batch)
  query = np.asarray(state.params["net"]["pool"]["query"])
  state, _ = train.make_step(method, tx, 1)(state, jax.random.key(1), batch)
  moving = state.params["net"]
  assert set(moving) == {"pool", "head"} and not np.array_equal(query, moving["pool"]["query"])
  after = method.encoder(state.params, state.state)["image"]
  assert all(map(np.array_equal, *map(jax.tree.leaves, (after, {k: before[k] for k in after}))))
  with pytest.raises(errors.UsageError, match="did you mean attentive"):
    make("attentiv")
