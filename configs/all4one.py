"""All4One (Estepa et al., 2023).

  sslx pretrain --config configs/all4one.py:digits --workdir runs/all4one

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("all4one", aug=presets.aug(arg, "byol"))
    c.batch_size, c.optim.lr, c.optim.weight_decay = 1024, 0.45, 1e-5
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "all4one", queue=1024, depth=1, attention_heads=4, widths=(width, width), predictor=(width, width),
        aug=presets.aug(arg, "byol"))
  return c
