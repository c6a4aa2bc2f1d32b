"""ConvNeXt and ConvNeXt V2: timm's names, those of the authors' code, and torchvision's."""

from sslx.encoders import convnext
from sslx.interop.table import conv, dense, norm, one

MODULE, FAMILY = convnext.ConvNeXt, convnext
BLOCK = {  # convolution, norm, the two layers of the MLP, layer scale, response norm
    "timm": ("conv_dw", "norm", "mlp.fc1", "mlp.fc2", "gamma", "mlp.grn.weight", "mlp.grn.bias"),
    "authors": ("dwconv", "norm", "pwconv1", "pwconv2", "gamma", "grn.gamma", "grn.beta"),
    "torchvision": ("block.0", "block.2", "block.3", "block.5", "layer_scale", None, None)}
PLACES = {  # of the stem, of what makes a stage smaller, of a stage's blocks, of the last norm
    "timm": ("stem.{}", "stages.{}.downsample.{}", "stages.{}.blocks.{}.", "head.norm"),
    "authors": ("downsample_layers.0.{}", "downsample_layers.{}.{}", "stages.{}.{}.", "norm"),
    "torchvision": ("features.0.{}", "features.{}.{}", "features.{}.{}.", "classifier.0")}
BLOCK["timm pointwise"], PLACES["timm pointwise"] = BLOCK["timm"], PLACES["timm"]      # MLPs of 1x1 convolutions
POINTWISE = [((2, 2, 6, 2), 40), ((2, 2, 6, 2), 48), ((2, 2, 6, 2), 64), ((2, 2, 8, 2), 80)]     # timm's small V1


def column(ours, theirs, layout):
  """The layer scale, which torchvision keeps as [D, 1, 1]."""
  square = layout == "torchvision"
  return one(ours, theirs, lambda a: a[:, 0, 0] if square else a, lambda a: a[:, None, None] if square else a)


def row_vector(ours, theirs, layout):
  """A parameter of the response norm, which the authors keep as [1, 1, 1, D]."""
  wide = layout == "authors"
  return one(ours, theirs, lambda a: a.reshape(-1) if wide else a, lambda a: a[None, None, None] if wide else a)


def rows(module, layout, shape=None):
  """The table of a ConvNeXt in one of PLACES."""
  stem, smaller, blocks, last = PLACES[layout]
  conv_, norm_, mlp1, mlp2, scale, grn, grn_bias = BLOCK[layout]
  at = lambda stage: 2 * stage if layout == "torchvision" else stage
  yield from conv("stem_conv", stem.format(0), bias=True)
  yield from norm("stem_norm", stem.format(1))
  for stage, count in enumerate(module.blocks):
    if stage:
      yield from norm(f"stage{stage + 1}_norm", smaller.format(at(stage), 0))
      yield from conv(f"stage{stage + 1}_conv", smaller.format(at(stage), 1), bias=True)
    for i in range(count):
      a, b = f"stage{stage + 1}_block{i + 1}", blocks.format(at(stage) + (layout == "torchvision"), i)
      yield from conv(f"{a}/conv", b + conv_, bias=True)
      yield from norm(f"{a}/norm", b + norm_)
      yield from dense(f"{a}/mlp1", b + mlp1, pointwise=layout == "timm pointwise")
      yield from dense(f"{a}/mlp2", b + mlp2, pointwise=layout == "timm pointwise")
      if module.second:
        yield row_vector(f"params/{a}/response_scale", b + grn, layout)
        yield row_vector(f"params/{a}/response_bias", b + grn_bias, layout)
      elif module.layer_scale:
        yield column(f"params/{a}/scale", b + scale, layout)
  yield from norm("norm", last)


def recognised(shapes, source):
  """See resnet.recognised."""
  for layout in ("timm", "authors", "torchvision"):
    stem, _, blocks, _ = PLACES[layout]
    first, block = stem.format(0) + ".weight", blocks.format(int(layout == "torchvision"), 0)
    if first in shapes and block + BLOCK[layout][0] + ".weight" in shapes:
      pointwise = layout == "timm" and len(shapes.get(block + "mlp.fc1.weight", ())) == 4
      plain = not any(block + name in shapes for name in BLOCK[layout][4:6] if name)
      options = {"stem": shapes[first][-1]} | ({"layer_scale": 0.0} if plain else {})
      return "timm pointwise" if pointwise else layout, options
  return None


def laid_out(module, to):
  """See resnet.laid_out."""
  small = to == "timm" and not module.second and (module.blocks, module.width) in POINTWISE
  return "timm pointwise" if small else to


def refused(module, to):
  """See resnet.refused."""
  if to == "torchvision" and (module.second or not module.layer_scale):
    return "torchvision's ConvNeXt is the first version with layer scale: --to timm"
  if module.stem == 2 or (to == "torchvision" and module.stem != 4):
    return f"{to}'s ConvNeXt has no stem of stride {module.stem}: --to safetensors"
  return None


def call(module, to, shape):
  """See resnet.call."""
  name = next(n for n, v in convnext.VARIANTS.items() if (v[0], v[2]) == (module.blocks, module.second))
  name = next((n for n, v in convnext.VARIANTS.items() if v == (module.blocks, module.width, module.second)), name)
  if to == "torchvision":
    known = convnext.VARIANTS[name][1] == module.width
    return {"name": name if known else None, "options": {}, "then": ["model.classifier[2] = torch.nn.Identity()"]}
  options = {"num_classes": 0}
  if convnext.VARIANTS[name][1] != module.width:
    options |= {"dims": [module.width * 2 ** i for i in range(4)]}
  if module.stem != 4:
    options |= {"patch_size": module.stem}
  if not module.second and not module.layer_scale:
    options |= {"ls_init_value": None}
  return {"name": name, "options": options, "then": []}
