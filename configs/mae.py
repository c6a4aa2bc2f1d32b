"""MAE (He et al., 2022).

  sslx pretrain --config configs/mae.py:digits --workdir runs/mae

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.vit(presets.make(arg), arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("mae", aug=presets.aug(arg, "mae"))
    c.total_epochs = 800.0
    c.optim.lr, c.optim.scale, c.optim.b2, c.optim.weight_decay, c.optim.warmup = 1.5e-4, "linear", 0.95, 0.05, 0.05
  else:
    width, depth, heads = {"tiny": (8, 1, 2), "digits": (64, 1, 4), "cifar10": (64, 1, 4)}[arg]
    c.method = methods.options("mae", width=width, depth=depth, heads=heads, aug=presets.aug(arg, "mae"))
    c.optim.lr, c.optim.b2, c.optim.warmup = 4e-3, 0.95, 0.1
  return c
