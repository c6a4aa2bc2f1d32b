"""Supervised training, the reference row.

  sslx pretrain --config configs/supervised.py:digits --workdir runs/supervised

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("supervised", num_classes=1000, smoothing=0.1, aug=presets.aug(arg, "simclr"))
    c.method.aug.strength, c.method.aug.grayscale_p, c.method.aug.blur_p = 0.0, 0.0, 0.0
    c.total_epochs, c.batch_size, c.optim.name = 90.0, 1024, "sgd"
    c.optim.lr, c.optim.weight_decay, c.optim.warmup = 0.1, 1e-4, 0.05
  else:
    c.method = methods.options("supervised", num_classes=10, aug=presets.aug(arg, "simclr"))
  return c
