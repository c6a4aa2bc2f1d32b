"""Super-resolution (Ledig et al., 2017).

  sslx pretrain --config configs/super_resolution.py:cifar10 --workdir runs/super_resolution
  sslx pretrain --config configs/super_resolution.py:cifar10 --config.method.objective=l2 --workdir runs/srresnet

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  width = 8 if arg == "tiny" else 32
  c.method = methods.options("super_resolution", width=width, critic_width=width)
  if arg in ("digits", "tiny"):
    c.method.aug = presets.aug(arg, "mae")
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 1e-3, 0.0, 0.05
  if arg == "imagenet":                                      # the paper's crops, factor and rate; 16 blocks
    c.method.factor, c.method.crop, c.method.width, c.method.blocks = 4, 96, 64, 16
    c.method.critic_width = 64
    c.encoder.stem = "small"
    c.optim.lr, c.batch_size = 1e-4, 256
  return c
