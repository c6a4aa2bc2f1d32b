"""NNCLR (Dwibedi et al., 2021).

  sslx pretrain --config configs/nnclr.py:digits --workdir runs/nnclr

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("nnclr", aug=presets.aug(arg, "simclr"))
    c.total_epochs, c.optim.warmup = 1000.0, 0.01
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "nnclr", temperature=0.3, queue=1024, widths=(width, width), predictor=(width, width),
        aug=presets.aug(arg, "simclr"))
  return c
