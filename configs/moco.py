"""MoCo v2 (Chen et al., 2020).

  sslx pretrain --config configs/moco.py:digits --workdir runs/moco

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("moco", aug=presets.aug(arg, "moco_v2"))
    c.total_epochs, c.batch_size, c.optim.name = 200.0, 256, "sgd"
    c.optim.lr, c.optim.weight_decay, c.optim.warmup = 0.03, 1e-4, 0.0
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "moco", temperature=0.5, momentum=0.99, queue=1024, widths=(width, width), norm=True,
        aug=presets.aug(arg, "moco_v2"))
  return c
