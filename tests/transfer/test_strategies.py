"""Which stage parameters belong to, and that what is frozen is: parameters, statistics, noise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sources import TOY, exported

from sslx import checkpoint, encoders, errors, mesh, optim, train
from sslx.augment import to_float
from sslx.transfer import classify, downstream, stages

IMAGES = np.random.default_rng(0).integers(0, 255, (8, 8, 8, 1), np.uint8)
BATCH = {"image": IMAGES, "label": np.arange(8) % 3}


def make(source, module, strategy, **options):
  aug = lambda key, image: to_float(image)
  return classify.make(module, source=source, strategy=strategy, num_classes=3, aug=aug, **options)


def same(a, b):
  return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def shaped(name, **options):
  module, x = encoders.make(name, **options), jnp.zeros((1, 32, 32, 3))
  variables = jax.eval_shape(lambda: module.init(jax.random.key(0), x))
  return variables, jax.eval_shape(lambda v: module.apply(v, x, method="features"), variables)


@pytest.mark.parametrize(("name", "options"), [
    ("resnet10", {"width": 2}), ("resnet50", {"width": 2}), ("vgg11_bn", {"width": 2}), ("alexnet", {"norm": True}),
    ("vit_ti", {"width": 8, "heads": 2, "depth": 3, "patch": 8, "registers": 1, "position": "learned"}),
    ("convnext_atto", {"width": 4, "stem": 1}), ("convnextv2_atto", {"width": 4, "stem": 1})])
def test_every_part_has_its_stage(name, options):
  """A stage's output depends on the parts of stages up to its own alone: frozen, they fix it."""
  variables, features = shaped(name, **options)
  parts = variables["params"]
  there = [k for k in features if k.startswith("stage")]
  assert stages.count(parts) == len(there)
  assert set(map(stages.stage, parts)) - {0, float("inf")} == set(range(1, len(there) + 1))
  for part in parts:                                         # the number in a part's name is its stage's
    if "stage" in part or "block" in part:
      first = part.removeprefix("stage").removeprefix("block")
      assert stages.stage(part) == int(first.split("_")[0])


def test_a_stage_depends_on_frozen_parts_alone():
  module, x = encoders.make("resnet10", **TOY), jnp.asarray(IMAGES[:2]) / 255
  variables = module.init(jax.random.key(0), x)
  moved = {k: v if stages.stage(k) <= 2 else jax.tree.map(lambda p: p + 1, v) for k, v in variables["params"].items()}
  run = lambda params: module.apply({**variables, "params": params}, x, method="features")
  old, new = run(variables["params"]), run(moved)
  assert np.array_equal(old["stage2"], new["stage2"]) and not np.array_equal(old["stage3"], new["stage3"])


@pytest.mark.parametrize("strategy", ["freeze=2", "copy_freeze=2", "linear"])
def test_frozen_is_frozen_to_the_bit(tmp_path, strategy):
  source, module, before = exported(tmp_path, **TOY)
  method = make(source, module, strategy)
  tx = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.5, momentum=0.9))
  state = train.init_state(method, tx, jax.random.key(0), BATCH)
  step = train.make_step(method, tx, 3)
  for _ in range(3):
    state, _ = step(state, jax.random.key(1), BATCH)
  after = method.encoder(state.params, state.state)["image"]
  still = (lambda k: True) if strategy == "linear" else (lambda k: k.startswith(("stem", "stage1", "stage2")))
  for collection in ("params", "batch_stats"):
    assert set(after[collection]) == set(before[collection])
    for part, old in before[collection].items():
      assert same(old, after[collection][part]) == still(part), (collection, part)


def test_frozen_stages_run_as_in_evaluation(tmp_path):
  _, module, variables = exported(tmp_path, **TOY)
  net, x = classify.Classifier(module, 3), jnp.asarray(IMAGES) / 255
  parts = net.init(jax.random.key(0), x)
  whole = {c: {**v, "encoder": variables[c]} for c, v in parts.items()}
  wanted = module.apply(variables, x, method="features")
  def seen(still):
    def features(net, x):
      return net.encoder.features(x, train=True)
    with stages.standing(still):
      return net.apply(whole, x, method=features, mutable=["batch_stats"])
  out, moved = seen(stages.frozen("freeze=2"))
  assert np.array_equal(out["stage2"], wanted["stage2"]) and not np.array_equal(out["stage3"], wanted["stage3"])
  free, _ = seen(stages.frozen("finetune"))
  assert not np.array_equal(free["stage1"], wanted["stage1"])
  assert same(moved["batch_stats"]["encoder"]["stage2_block1_norm1"], variables["batch_stats"]["stage2_block1_norm1"])


def test_frozen_blocks_drop_nothing():
  module = encoders.make("vit_ti", width=8, heads=2, depth=3, patch=4, drop_path=0.9, mean=(0.3,), std=(0.38,))
  net, x = classify.Classifier(module, 3), jnp.asarray(IMAGES) / 255
  variables = net.init(jax.random.key(0), x)
  run = lambda net, x: net.encoder.features(x, train=True)
  def seen(strategy, seed):
    with stages.standing(stages.frozen(strategy)):
      return net.apply(variables, x, method=run, rngs={"dropout": jax.random.key(seed)})
  a, b = seen("freeze=2", 0), seen("freeze=2", 1)
  assert np.array_equal(a["stage2"], b["stage2"]) and not np.array_equal(a["stage3"], b["stage3"])
  assert not np.array_equal(seen("finetune", 0)["stage2"], seen("finetune", 1)["stage2"])


@pytest.mark.parametrize(("strategy", "pretrained"), [
    ("copy=1", ("stem", "stage1")), ("copy_freeze=1", ("stem", "stage1")), ("scratch", ()),
    ("finetune", ("stem", "stage"))])
def test_what_starts_pretrained(tmp_path, strategy, pretrained):
  source, module, found = exported(tmp_path, **TOY)
  method = make(source, module, strategy)
  params, state = method.init(jax.random.key(0), BATCH)
  assert bool(state["frozen"]) == (strategy == "copy_freeze=1")
  for collection, parts in method.encoder(params, state)["image"].items():
    for part, values in parts.items():
      assert same(values, found[collection][part]) == part.startswith(pretrained), (collection, part)


def test_two_devices_give_the_same_step(tmp_path):
  source, module, _ = exported(tmp_path, "own.encoder", shape=(8, 8, 1))
  method = make(source, module, "finetune", mixup=0.4, cutmix=1.0, ema=0.9)
  seen, tx = [], optax.sgd(0.1)
  for n in (1, 2):
    over, state = mesh.arranged(jax.devices()[:n]), train.init_state(method, tx, jax.random.key(0), BATCH)
    where = mesh.shardings(state, over)
    step = train.make_step(method, tx, 3, where)
    state, metrics = step(mesh.put(state, where), jax.random.key(1), mesh.place(BATCH, over))
    seen.append((jax.device_get(method.project(state.params, state.state)[1]), metrics["loss"]))
  for a, b in zip(*map(jax.tree.leaves, seen), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_layers_decay_among_what_moves(tmp_path):
  source, module, _ = exported(tmp_path, **TOY)
  for strategy, wanted in (("finetune", {"stem_conv": 0, "stage1_block1_conv1": 1, "stage4_block1_conv1": 4}),
                           ("freeze=2", {"stage3_block1_conv1": 1, "stage4_block1_conv1": 2})):
    params, _ = make(source, module, strategy).init(jax.random.key(0), BATCH)
    layer, number = optim.layers(params)
    assert {k: layer["net"]["encoder"][k]["kernel"] for k in wanted} == wanted
    assert layer["net"]["head"]["kernel"] == number - 1 == max(wanted.values()) + 1
  params, _ = make(source, module, "linear").init(jax.random.key(0), BATCH)
  assert "encoder" not in params["net"] and optim.layers(params)


def test_the_average_of_the_weights(tmp_path):
  source, module, _ = exported(tmp_path, **TOY)
  method = make(source, module, "linear", ema=0.9)
  tx = optax.sgd(0.5)
  state = train.init_state(method, tx, jax.random.key(0), BATCH)
  step, wanted = train.make_step(method, tx, 5), None
  for t in range(5):
    now = np.asarray(state.params["net"]["head"]["kernel"])
    share = min(0.9, (1 + t) / (10 + t))
    wanted = now if wanted is None else share * wanted + (1 - share) * now
    state, _ = step(state, jax.random.key(1), BATCH)
  _, kept = method.project(state.params, state.state)
  np.testing.assert_allclose(kept["params"]["head"]["kernel"], wanted, rtol=1e-5)
  assert not np.allclose(kept["params"]["head"]["kernel"], state.params["net"]["head"]["kernel"], rtol=1e-3)


@pytest.mark.parametrize(("strategy", "says"), [
    ("freze=2", "did you mean freeze=K"), ("freeze", "write freeze=K"), ("freeze=0", "from 1 on"),
    ("linear=2", "takes no number"), ("copy=x", "write copy=K"), ("freeze=9", "stages 1 to 4"),
    ("auto", "sslx transfer")])
def test_wrong_strategies(tmp_path, strategy, says):
  source, module, _ = exported(tmp_path, **TOY)
  with pytest.raises(errors.UsageError, match=says):
    make(source, module, strategy).init(jax.random.key(0), BATCH)


def test_encoders_that_do_not_fit(tmp_path):
  source, module, variables = exported(tmp_path, **TOY)
  with pytest.raises(errors.UsageError, match="does not fit: .*conv.* parameters differ"):
    make(source, encoders.make("resnet10", **TOY | {"width": 4}), "linear").init(jax.random.key(0), BATCH)
  with pytest.raises(errors.UsageError, match="not the one that this run began with"):
    make(source, module, "linear", weights="0" * 16).init(jax.random.key(0), BATCH)
  with pytest.raises(errors.UsageError, match="no pretrained encoder was named"):
    make("", module, "linear").init(jax.random.key(0), BATCH)
  with pytest.raises(errors.UsageError, match="encoder.scan"):
    stages.check({"blocks": {}}, "freeze=1")
  assert checkpoint.digest(variables) == checkpoint.digest(downstream.pretrained(source))
