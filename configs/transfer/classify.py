"""Classification on a pretrained encoder, beside the same network from scratch.

  sslx transfer --config configs/transfer/classify.py:digits --from runs/simclr --workdir runs/digits --strategy linear

variants: digits, cifar10, imagenet, tiny; `--config.data.name=folder:photos` for images of your own; text, whose
data.name is to be set. The encoder is that of --from; what moves is --strategy.
"""

from sslx import errors, methods, presets
from sslx.augment import recipes


def get_config(arg="digits"):
  if arg not in ("digits", "cifar10", "imagenet", "tiny", "text"):
    raise errors.unknown("variant", arg, ("digits", "cifar10", "imagenet", "tiny", "text"))
  if arg == "text":
    c = presets.text(arg)
    c.method = methods.options("sslx.transfer.classify")
    c.optim.name, c.optim.lr, c.total_steps, c.online_probe = "adamw", 5e-4, 300, False
    return c
  c = presets.make(arg)
  aug = (recipes.options("handwriting") if arg in ("digits", "tiny") else
         recipes.options("mae", scale=(0.3 if arg == "cifar10" else 0.08, 1.0), interpolation="bilinear"))
  c.method = methods.options("sslx.transfer.classify", aug=aug)
  c.optim.name, c.optim.lr, c.optim.warmup, c.optim.weight_decay = "sgd", 0.1, 0.05, 1e-4
  c.online_probe = False
  if arg == "cifar10":
    c.total_epochs, c.data.limit = 10.0, 0
  if arg == "imagenet":
    c.data.size, c.total_epochs, c.batch_size = 224, 30.0, 512
  return c
