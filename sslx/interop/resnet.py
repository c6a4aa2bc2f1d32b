"""ResNet: torchvision's names, which timm, DINO, VISSL and solo-learn share, and lightly's."""

from sslx.encoders import resnet
from sslx.interop.table import batch_norm, conv

MODULE, FAMILY = resnet.ResNet, resnet
LAYERS = tuple(f"layer{i}" for i in range(1, 5))
LAYOUTS = {  # first convolution, its norm, stages, skip branch
    "torchvision": ("conv1", "bn1", LAYERS, "downsample"),
    "children": ("0", "1", tuple("4567"), "downsample"),                 # an nn.Sequential of torchvision's parts
    "lightly": ("conv1", "bn1", LAYERS, "shortcut"),                     # lightly's own ResNetGenerator
    "lightly children": ("0", "1", tuple("2345"), "shortcut")}


def rows(module, layout, shape=None):
  """The table of a ResNet in one of LAYOUTS."""
  stem, stem_norm, stages, skip = LAYOUTS[layout]
  yield from conv("stem_conv", stem)
  yield from batch_norm("stem_norm", stem_norm)
  for stage, (count, theirs) in enumerate(zip(module.blocks, stages, strict=False), 1):
    for i in range(count):
      a, b = f"stage{stage}_block{i + 1}_", f"{theirs}.{i}."
      for j in range(1, 4 if module.bottleneck else 3):
        yield from conv(f"{a}conv{j}", f"{b}conv{j}")
        yield from batch_norm(f"{a}norm{j}", f"{b}bn{j}")
      if i == 0 and (stage > 1 or module.bottleneck):
        yield from conv(f"{a}skip_conv", f"{b}{skip}.0")
        yield from batch_norm(f"{a}skip_norm", f"{b}{skip}.1")


def recognised(shapes, source):
  """(layout, the encoder's options that a file shows by itself) of {key: shape}, or None for what is no ResNet."""
  for layout, (stem, _, stages, skip) in LAYOUTS.items():
    if {f"{stem}.weight", f"{stages[0]}.0.conv1.weight", f"{stages[1]}.0.{skip}.0.weight"} <= set(shapes):
      small = "small_pad2" if source == "solo-learn" else "small"
      return layout, {"stem": "imagenet" if shapes[f"{stem}.weight"][2:] == (7, 7) else small}
  return None


def laid_out(module, to):
  """The layout of a library, "timm" or "torchvision", for such an encoder."""
  return "torchvision"


def refused(module, to):
  """Why such an encoder has no place in a library's layout, or None."""


def call(module, to, shape):
  """How the library makes the model that the exported weights fit: {"name": None where it has none, "options", "then":
  lines of Python}."""
  like = (module.blocks, module.bottleneck, *([module.inner] if module.inner > 1 else []))
  name = next((n for n, v in resnet.VARIANTS.items() if v == like and n != "resnet10"), None)
  options = {"num_classes": 0} if to == "timm" else {}
  if module.width != 64 and to == "timm":
    options |= {"channels": [module.width * 2 ** i for i in range(4)], "stem_width": module.width}
  then = ["model.fc = torch.nn.Identity()"] if to == "torchvision" else []
  if module.stem != "imagenet":
    border = 2 if module.stem == "small_pad2" else 1
    then += [f"model.conv1 = torch.nn.Conv2d({shape[2]}, {module.width}, 3, 1, {border}, bias=False)",
             "model.maxpool = torch.nn.Identity()"]
  return {"name": None if to == "torchvision" and module.width != 64 else name, "options": options, "then": then}
