"""Colorization (Zhang et al., 2016).

  sslx pretrain --config configs/colorization.py:cifar10 --workdir runs/colorization
  sslx pretrain --config configs/colorization.py:cifar10 --config.method.objective=l2 --workdir runs/colorization_l2

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
Digits are grey, so there is nothing to learn from them but that: they are here to try the command.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  reduce = 4 if arg in ("imagenet", "cifar10") else 1
  c.method = methods.options("colorization", reduce=reduce, width=8 if arg == "tiny" else 32,
                             aug=presets.aug(arg, "mae"))
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 1e-3, 1e-3, 0.05
  if arg == "imagenet":
    c.optim.lr, c.batch_size = 3e-4, 512
  return c
