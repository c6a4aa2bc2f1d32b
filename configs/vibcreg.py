"""VIbCReg (Lee and Aune, 2021).

  sslx pretrain --config configs/vibcreg.py:digits --workdir runs/vibcreg

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("vibcreg", aug=presets.aug(arg, "vicreg"))
    c.total_epochs, c.batch_size = 1000.0, 2048
    c.optim.lr, c.optim.warmup = 0.2, 0.01
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("vibcreg", widths=(2 * width, 2 * width), aug=presets.aug(arg, "vicreg"))
    c.optim.lr = 0.03
  return c
