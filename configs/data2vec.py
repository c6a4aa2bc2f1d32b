"""data2vec on images (Baevski et al., 2022).

  sslx pretrain --config configs/data2vec.py:digits --workdir runs/data2vec

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.vit(presets.make(arg), arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("data2vec", aug=presets.aug(arg, "mae"))
    c.encoder.layer_scale, c.encoder.drop_path = 1e-4, 0.25
    c.total_epochs, c.batch_size = 800.0, 2048
    c.optim.lr, c.optim.clip, c.optim.weight_decay, c.optim.warmup = 2e-3, 3.0, 0.05, 10 / 800
  else:
    top, smallest = {"tiny": (1, 2), "digits": (3, 2), "cifar10": (5, 6)}[arg]
    c.method = methods.options("data2vec", top=top, smallest=smallest, beta=1.0, aug=presets.aug(arg, "mae"))
    c.optim.lr, c.optim.warmup = 4e-3, 0.1                   # a faster teacher is soon easy to predict
    if arg == "cifar10":
      c.optim.name, c.optim.lr = "muon", 0.01
  return c
