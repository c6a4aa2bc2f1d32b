"""W-MSE (Ermolov et al., 2021).

  sslx pretrain --config configs/wmse.py:digits --workdir runs/wmse

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("wmse", aug=presets.aug(arg, "simclr"))
    c.optim.name, c.optim.scale, c.optim.lr, c.optim.weight_decay = "adamw", "none", 2e-3, 1e-6
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("wmse", size=64, widths=(width, width // 4), eps=1e-4, aug=presets.aug(arg, "simclr"))
  return c
