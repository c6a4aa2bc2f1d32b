"""Relative patch position (Doersch et al., 2015).

  sslx pretrain --config configs/patch_position.py:cifar10 --workdir runs/patch_position

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  c.method = methods.options("patch_position", widths=(32 if arg == "tiny" else 512,), aug=presets.aug(arg, "mae"))
  c.optim.lr, c.optim.warmup = 0.1, 0.1
  if arg == "imagenet":
    c.method.tile = 96                                       # as the paper's patches
    c.optim.name, c.optim.lr, c.optim.scale, c.batch_size = "sgd", 0.05, "linear", 1024
  elif arg == "cifar10":                                     # patches of 8 pixels, 3 apart
    c.method.gap, c.method.jitter, c.method.standardize, c.method.aug.scale = 0.35, 0.1, True, (0.5, 1.0)
    c.method.color = "keep"                                  # small images hardly show aberration
    c.optim.name, c.optim.lr, c.optim.weight_decay = "adamw", 2e-3, 0.01
  else:
    c.method.side = 32
  return c
