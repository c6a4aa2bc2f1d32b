"""Self-training with few labels on a pretrained encoder, beside the same network from scratch.

  sslx transfer --config configs/transfer/selftrain.py:digits --from runs/simclr --workdir runs/few
    --config.data.labels=5 --config.method.kind=fixmatch

One command; labels: 10% or 5 (a class), the rest of the training images comes along without. Kinds: fixmatch, entropy,
none. Variants: digits, cifar10, imagenet, tiny.
"""

from sslx import errors, methods, presets
from sslx.augment import recipes


def get_config(arg="digits"):
  if arg not in ("digits", "cifar10", "imagenet", "tiny"):
    raise errors.unknown("variant", arg, ("digits", "cifar10", "imagenet", "tiny"))
  c = presets.make(arg)
  aug = (recipes.options("fixmatch") if arg in ("cifar10", "imagenet") else
         recipes.options("fixmatch", flip_p=0.0, cutout=0.25))
  c.method = methods.options("sslx.transfer.selftrain", aug=aug)
  c.data.labels, c.data.unlabelled = "10%" if arg in ("cifar10", "imagenet") else "5", True
  c.batch_size = 32 if arg == "tiny" else 128
  c.optim.name, c.optim.lr, c.optim.warmup, c.optim.weight_decay = "sgd", 0.03, 0.05, 5e-4
  c.online_probe = False
  if arg == "cifar10":
    c.total_epochs, c.data.limit = 10.0, 0
  if arg == "imagenet":
    c.data.size, c.total_epochs, c.batch_size = 224, 30.0, 512
  return c
