"""The papers' linear protocol on a pretrained encoder: SGD over 100 epochs, a sweep of learning rates in one run.

  sslx transfer --config configs/transfer/linear_sgd.py:cifar10 --from runs/dino --workdir runs/dino-linear

variants: digits, cifar10, imagenet, tiny; `--config.data.name=folder:photos` for images of your own,
`--config.method.blocks=4` for DINO's feature of a ViT, `--config.total_epochs=50` for another length.
"""

from sslx import errors, methods, presets
from sslx.augment import recipes


def get_config(arg="digits"):
  if arg not in ("digits", "cifar10", "imagenet", "tiny"):
    raise errors.unknown("variant", arg, ("digits", "cifar10", "imagenet", "tiny"))
  c = presets.make(arg)
  aug = (recipes.options("handwriting") if arg in ("digits", "tiny") else
         recipes.options("mae", scale=(0.08, 1.0), interpolation="bilinear"))
  c.method = methods.options("sslx.transfer.linear_sgd", aug=aug)
  c.optim.name, c.optim.lr, c.optim.scale, c.optim.warmup, c.optim.weight_decay = "sgd", 1.0, "linear", 0.0, 0.0
  c.online_probe = False
  if arg == "cifar10":
    c.data.limit = 0
  if arg == "imagenet":
    c.data.size, c.batch_size = 224, 1024
  if arg != "tiny":
    c.total_steps, c.total_epochs = 0, 100.0
  return c
