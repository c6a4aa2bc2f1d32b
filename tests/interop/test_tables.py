"""The tables read both ways, on small encoders and without PyTorch."""

import jax
import numpy as np
import pytest

from sslx import encoders, errors, interop
from sslx.encoders import positions, resnet, vit
from sslx.interop import architectures, convnext, resnet as resnet_table, vit as vit_table
from sslx.interop.table import to_ours, to_theirs

RNG = np.random.default_rng(0)
SHAPE = (32, 32, 3)
SMALL_VIT = {"patch": 16, "width": 8, "depth": 2, "heads": 2, "position": "learned", "grid": 2}
CASES = {  # (module, layouts)
    "resnet": (resnet.make(((1, 1, 1, 1), False), width=4), tuple(resnet_table.LAYOUTS)),
    "wide": (resnet.make(((1, 1, 1, 1), True, 2), width=4, stem="small"), ("torchvision",)),
    "vit": (vit.make((8, 2, 2), **SMALL_VIT), tuple(vit_table.TOP)),
    "registers": (vit.make((8, 2, 2), **SMALL_VIT, registers=2, layer_scale=0.1, qk_norm=True, mlp="swiglu"),
                  ("timm", "timm bare")),
    "mean": (vit.make((8, 2, 2), **SMALL_VIT, pool="mean", class_token=True, norm="pooled"), ("timm",)),
    "convnext": (encoders.make("convnext_atto", width=4), tuple(convnext.BLOCK)),
    "convnextv2": (encoders.make("convnextv2_atto", width=4), ("timm", "authors")),
    "vgg": (encoders.make("vgg11_bn", width=4), ("torchvision",)), "alexnet": (encoders.make("alexnet"),
                                                                             ("torchvision",))}
ALL = [(name, layout) for name, (_, layouts) in CASES.items() for layout in layouts]


def random(module):
  """{our name: random array} of an encoder."""
  return {k: RNG.normal(size=s).astype(np.float32) for k, s in architectures.shapes(module, SHAPE).items()}


@pytest.mark.parametrize(("name", "layout"), ALL)
def test_out_and_in_again_is_the_same_bit_for_bit(name, layout):
  module, table = CASES[name][0], architectures.of(CASES[name][0])
  rows, ours = list(table.rows(module, layout, SHAPE)), random(module)
  if layout in vit_table.BARE:
    ours["params/positions"][:, :1] = 0                    # such files have no place for it
  theirs = to_theirs(rows, ours)
  again = to_ours(rows, theirs)
  assert set(again) == set(ours)                           # the table names every parameter, once
  assert sum(len(row.ours) for row in rows) == len(ours) and sum(len(row.theirs) for row in rows) == len(theirs)
  assert all(np.array_equal(again[k], ours[k]) and again[k].dtype == ours[k].dtype for k in ours)
  assert all(np.array_equal(a, theirs[k]) for k, a in to_theirs(rows, again).items())


@pytest.mark.parametrize(("name", "layout"), ALL)
def test_a_file_shows_its_layout_and_options(name, layout):
  module, table = CASES[name][0], architectures.of(CASES[name][0])
  theirs = to_theirs(table.rows(module, layout, SHAPE), random(module))
  found, options = table.recognised({k: a.shape for k, a in theirs.items()}, "timm")
  fields = vars(module) | (dict(module.block) if isinstance(module, vit.ViT) else {})
  assert found == layout and options.keys() <= fields.keys()
  for key, value in options.items():
    if key == "mlp" and layout in vit_table.FLAX:
      assert value == "gelu_tanh"                          # Flax's default
    elif key == "layer_scale":
      assert bool(value) == bool(fields[key])
    else:
      assert value == fields[key], key


def test_a_class_token_without_a_place_takes_its_own_along():
  module = CASES["registers"][0]
  ours = random(module)
  theirs = to_theirs(vit_table.rows(module, "timm bare", SHAPE), ours)
  np.testing.assert_array_equal(theirs["cls_token"], ours["params/token"] + ours["params/positions"][:, :1])
  assert theirs["pos_embed"].shape == (1, 4, 8)


def test_computed_positions_are_written_for_the_images_at_hand():
  module = vit.make((8, 1, 2), patch=16, width=8, depth=1, heads=2)
  theirs = to_theirs(vit_table.rows(module, "timm", SHAPE), random(module))
  np.testing.assert_allclose(theirs["pos_embed"][0, 1:], positions.sincos_2d(2, 2, 8), rtol=1e-6)
  assert not theirs["pos_embed"][0, 0].any()


def test_names_of_several_programs_become_one():
  theirs = {"blocks.1.7.mlp.w12.weight": 1, "register_tokens": 2, "encoder.layers.encoder_layer_0.mlp.linear_2.bias": 3,
            "Transformer.encoderblock.LayerNorm_0.scale": np.arange(2)}
  assert vit_table.named_alike(theirs) == {
      "blocks.7.mlp.fc1.weight": 1, "reg_token": 2, "encoder.layers.encoder_layer_0.mlp.3.bias": 3,
      "Transformer.encoderblock_0.LayerNorm_0.scale": 0, "Transformer.encoderblock_1.LayerNorm_0.scale": 1}


def test_scanned_blocks_come_apart_and_together():
  module = vit.make((8, 2, 2), **SMALL_VIT, scan=True)
  ours = random(module)
  plain = architectures.shapes(vit.make((8, 2, 2), **SMALL_VIT), SHAPE)
  assert {k: a.shape for k, a in ours.items()} == plain
  stacked = architectures.together(ours, module)
  assert all(np.array_equal(a, ours[k]) for k, a in architectures.apart(stacked).items())
  wanted = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, *SHAPE), np.float32))["params"]
  assert {k.removeprefix("params/") for k in stacked} == {"/".join(p.key for p in path) for path, _ in
                                                         jax.tree_util.tree_leaves_with_path(wanted)}


@pytest.mark.parametrize(("module", "to", "says"), [
    (vit.make((8, 1, 2), **SMALL_VIT | {"position": "none"}, rotary=True), "timm", "rotary"),
    (CASES["registers"][0], "torchvision", "--to timm"), (CASES["vgg"][0], "timm", "--to torchvision"),
    (CASES["alexnet"][0], "timm", "--to torchvision"), (encoders.make("alexnet", norm=True), "torchvision", "norm"),
    (CASES["convnextv2"][0], "torchvision", "--to timm"),
    (encoders.make("convnext_atto", stem=2), "timm", "--to safetensors")])
def test_what_has_no_place_is_refused(module, to, says):
  assert says in architectures.of(module).refused(module, to)


def test_an_encoder_of_ones_own_has_no_table():
  with pytest.raises(errors.UsageError, match="--to safetensors or stablehlo"):
    architectures.of(encoders.make("own.encoder"))
  assert set(interop.TARGETS) == {"timm", "torchvision", "safetensors", "stablehlo"}
