"""Autoencoders, plain and denoising (Vincent et al., 2008).

  sslx pretrain --config configs/autoencoder.py:digits --workdir runs/autoencoder
  sslx pretrain --config configs/autoencoder.py:digits --config.method.corruption=mask --workdir runs/denoising

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  code, width = {"digits": (32, 32), "tiny": (8, 8)}.get(arg, (128, 32))
  c.method = methods.options("autoencoder", code=code, width=width, aug=presets.aug(arg, "mae"))
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 2e-3, 0.01, 0.05
  if arg == "imagenet":
    c.optim.lr, c.batch_size = 5e-4, 1024
  return c
