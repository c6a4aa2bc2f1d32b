"""Autoencoding transformations, AET (Zhang et al., 2019).

  sslx pretrain --config configs/transform.py:cifar10 --workdir runs/transform
  sslx pretrain --config configs/transform.py:cifar10 --config.method.target=kind --config.method.apart=False \
      --config.method.aug.scale="(0.8,1.0)" --workdir runs/transform_kind

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  c.method = methods.options("transform", widths=(32 if arg == "tiny" else 512,), aug=presets.aug(arg, "mae"))
  c.optim.lr, c.optim.warmup = 0.05, 0.1
  if arg == "imagenet":
    c.optim.name, c.optim.lr, c.optim.scale, c.batch_size = "sgd", 0.01, "linear", 1024
  elif arg == "cifar10":                                     # between views of unlike crops, colours and blur
    c.method.aug = presets.aug(arg, "simsiam", scale=(0.4, 1.0), blur_p=0.5, interpolation="bicubic")
    c.method.apart, c.method.quarters, c.method.degrees = True, True, 15.0
    c.method.shear, c.method.translate = 15.0, 0.1
    c.optim.name, c.optim.lr, c.optim.weight_decay = "adamw", 1e-3, 0.01
  else:
    c.method.degrees, c.method.shear = 45.0, 15.0
  return c
