"""VICReg (Bardes et al., 2022).

  sslx pretrain --config configs/vicreg.py:digits --workdir runs/vicreg

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("vicreg", aug=presets.aug(arg, "vicreg"))
    c.total_epochs, c.batch_size = 1000.0, 2048
    c.optim.lr, c.optim.warmup = 0.2, 0.01
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("vicreg", widths=(2 * width, 2 * width), aug=presets.aug(arg, "vicreg"))
    c.optim.lr = 0.03
    if arg == "cifar10":
      c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 2e-3, 0.01, 0.1
  return c
