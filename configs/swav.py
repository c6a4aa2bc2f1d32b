"""SwAV (Caron et al., 2020).

  sslx pretrain --config configs/swav.py:digits --workdir runs/swav

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("swav", queue=0, aug=presets.aug(arg, "swav"))
    c.total_epochs, c.optim.lr, c.optim.final, c.optim.warmup = 800.0, 0.3, 0.001, 0.0125
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "swav", prototypes=100, queue=0, epsilon=0.02, widths=(width, width), aug=presets.aug(arg, "swav"))
  return c
