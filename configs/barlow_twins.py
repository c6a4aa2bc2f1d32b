"""Barlow Twins (Zbontar et al., 2021).

  sslx pretrain --config configs/barlow_twins.py:digits --workdir runs/barlow_twins

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("barlow_twins", scale=0.024, aug=presets.aug(arg, "barlow"))
    c.total_epochs, c.batch_size = 1000.0, 2048
    c.optim.lr, c.optim.weight_decay, c.optim.warmup = 0.2, 1.5e-6, 0.01
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "barlow_twins", lambd=0.02, scale=0.1, widths=(2 * width, 2 * width),
        aug=presets.aug(arg, "barlow"))
  return c
