"""SimMIM (Xie et al., 2022).

  sslx pretrain --config configs/simmim.py:digits --workdir runs/simmim

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.vit(presets.make(arg), arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("simmim", aug=presets.aug(arg, "mae", scale=(0.67, 1.0)))
    c.total_epochs, c.batch_size = 800.0, 2048               # there the rate falls to a tenth at epoch 700
    c.optim.lr, c.optim.scale, c.optim.clip = 5e-5, "linear", 5.0
    c.optim.weight_decay, c.optim.warmup = 0.05, 10 / 800
  else:
    scale = {"scale": (0.67, 1.0)} if arg == "cifar10" else {}
    c.method = methods.options("simmim", unit=1, normalise=True, aug=presets.aug(arg, "mae", **scale))
    c.optim.lr, c.optim.warmup = 4e-3, 0.1
    if arg == "cifar10":
      c.optim.name, c.optim.lr = "muon", 0.02                # with AdamW half the gain after as many steps
  return c
