"""Jigsaw puzzles (Noroozi and Favaro, 2016).

  sslx pretrain --config configs/jigsaw.py:cifar10 --workdir runs/jigsaw
  sslx pretrain --config configs/jigsaw.py:cifar10 --config.method.target=positions --workdir runs/jigsaw_positions

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  number = {"imagenet": 1000, "tiny": 8, "digits": 24}.get(arg, 64)
  c.method = methods.options("jigsaw", number=number, widths=(32 if arg == "tiny" else 512,),
                             aug=presets.aug(arg, "mae"))
  c.optim.lr, c.optim.warmup = 0.1, 0.1
  if arg == "imagenet":
    c.method.side = 225
    c.optim.name, c.optim.lr, c.optim.scale, c.batch_size = "sgd", 0.05, "linear", 1024
  elif arg == "cifar10":
    c.method.inset, c.method.aug.scale = 0.65, (0.3, 1.0)    # tiles of 6 pixels, no larger than objects are
    c.optim.name, c.optim.lr, c.optim.weight_decay = "adamw", 2e-3, 0.01
  else:
    c.method.side = 24
  return c
