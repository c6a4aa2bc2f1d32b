"""MoCo v3 (Chen et al., 2021).

  sslx pretrain --config configs/mocov3.py:digits --workdir runs/mocov3

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("mocov3", aug=presets.aug(arg, "moco_v3"))
    c.method.aug.scale = (0.2, 1.0)
    c.optim.lr, c.optim.weight_decay = 0.6, 1e-6
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "mocov3", temperature=0.5, momentum=0.98, widths=(width, width), predictor=(width, width),
        aug=presets.aug(arg, "moco_v3"))
  return c
