"""VGG: the convolutions of torchvision's, "features" in timm as well; its dense layers are a head."""

from sslx.encoders import vgg
from sslx.interop.table import batch_norm, conv

MODULE, FAMILY = vgg.VGG, vgg


def rows(module, layout, shape=None):
  """The table of a VGG: an nn.Sequential of convolutions, their norms, ReLUs and a max-pool after each stage."""
  place = 0
  for stage, count in enumerate(module.blocks, 1):
    for i in range(1, count + 1):
      yield from conv(f"stage{stage}_conv{i}", f"features.{place}", bias=True)
      if module.norm:
        yield from batch_norm(f"stage{stage}_norm{i}", f"features.{place + 1}")
      place += 3 if module.norm else 2
    place += 1


def recognised(shapes, source):
  """See resnet.recognised."""
  return ("torchvision", {}) if shapes.get("features.0.weight", ())[2:] == (3, 3) else None


def laid_out(module, to):
  """See resnet.laid_out."""
  return "torchvision"


def refused(module, to):
  """See resnet.refused."""
  return "timm's VGG keeps two dense layers that the encoder has not: --to torchvision" if to == "timm" else None


def call(module, to, shape):
  """See resnet.call."""
  name = next(n for n, v in vgg.VARIANTS.items() if v == (module.blocks, module.norm))
  return {"name": name if module.width == 64 else None, "options": {},
          "then": ["model.avgpool = torch.nn.AdaptiveAvgPool2d(1)", "model.classifier = torch.nn.Identity()"]}
