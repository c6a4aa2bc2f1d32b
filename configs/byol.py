"""BYOL (Grill et al., 2020).

  sslx pretrain --config configs/byol.py:digits --workdir runs/byol

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("byol", momentum=0.99, aug=presets.aug(arg, "byol"))
    c.optim.lr, c.optim.weight_decay = 0.45, 1e-6
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "byol", momentum=0.9, widths=(width, width), predictor=(width, width), last_norm=True,
        aug=presets.aug(arg, "byol"))
    if arg == "cifar10":
      c.method.momentum = 0.99
      c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 2e-3, 0.01, 0.1
  return c
