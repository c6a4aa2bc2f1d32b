"""SupCon (Khosla et al., 2020): SimCLR with labels.

  sslx pretrain --config configs/supcon.py:digits --workdir runs/supcon

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("supcon", aug=presets.aug(arg, "simclr"))
    c.total_epochs, c.optim.lr, c.optim.weight_decay = 350.0, 0.5, 1e-4
    c.optim.name, c.optim.warmup = "sgd", 0.03
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("supcon", widths=(width, width), norm=True, aug=presets.aug(arg, "simclr"))
  return c
