"""DeepCluster (Caron et al., 2018).

  sslx pretrain --config configs/deepcluster.py:digits --workdir runs/deepcluster

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("deepcluster", aug=presets.aug(arg, "simclr"))
    c.total_epochs, c.batch_size, c.optim.name, c.optim.scale = 500.0, 256, "sgd", "none"
    c.optim.lr, c.optim.schedule, c.optim.weight_decay, c.optim.warmup = 0.05, "constant", 1e-5, 0.0
  else:
    c.method = methods.options("deepcluster", clusters=100, pca=64, aug=presets.aug(arg, "simclr"))
  return c
