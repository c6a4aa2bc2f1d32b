"""Siamese pairs (Hadsell et al., 2006).

  sslx pretrain --config configs/pair.py:digits --workdir runs/pair

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("pair", widths=(2048, 128), aug=presets.aug(arg, "simclr"))
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("pair", widths=(width, width), aug=presets.aug(arg, "simclr"))
  return c
