"""RotNet (Gidaris et al., 2018).

  sslx pretrain --config configs/rotation.py:cifar10 --workdir runs/rotation

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
Digits are a poor place for it: a turned 6 is a 9, and 0, 1 and 8 look the same upside down.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  c.method = methods.options("rotation", aug=presets.aug(arg, "mae"))
  if arg == "imagenet":                                      # the numbers of Kolesnikov et al. (2019) for a ResNet-50
    c.total_epochs, c.batch_size, c.optim.name = 35.0, 1024, "sgd"
    c.optim.lr, c.optim.scale, c.optim.weight_decay, c.optim.warmup = 0.1, "linear", 1e-4, 0.15
  else:
    c.optim.lr, c.optim.warmup = 0.1, 0.1
    if arg == "cifar10":
      c.method.aug.scale = (0.5, 1.0)
  return c
