"""AlexNet: the convolutions of torchvision's; its dense layers are a head."""

from sslx.encoders import alexnet
from sslx.interop.table import conv

MODULE, FAMILY = alexnet.AlexNet, alexnet
PLACES = (0, 3, 6, 8, 10)                                  # of the convolutions in torchvision's nn.Sequential


def rows(module, layout, shape=None):
  """The table of an AlexNet."""
  for i, place in enumerate(PLACES, 1):
    yield from conv(f"conv{i}", f"features.{place}", bias=True)


def recognised(shapes, source):
  """See resnet.recognised."""
  side = shapes.get("features.0.weight", ())[2:]
  return ("torchvision", {"stem": "imagenet" if side == (11, 11) else "small"}) if side in ((11, 11), (5, 5)) else None


def laid_out(module, to):
  """See resnet.laid_out."""
  return "torchvision"


def refused(module, to):
  """See resnet.refused."""
  if to == "timm":
    return "timm has no AlexNet: --to torchvision"
  return "torchvision's AlexNet has no batch norm (encoder.norm)" if module.norm else None


def call(module, to, shape):
  """See resnet.call."""
  then = ["model.avgpool = torch.nn.AdaptiveAvgPool2d(1)", "model.classifier = torch.nn.Identity()"]
  if module.stem == "small":
    then = [f"model.features[0] = torch.nn.Conv2d({shape[2]}, {module.channels[0]}, 5, 1, 2)", *then]
  return {"name": "alexnet" if module.channels == alexnet.VARIANTS["alexnet"] else None, "options": {}, "then": then}
