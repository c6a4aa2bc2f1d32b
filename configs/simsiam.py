"""SimSiam (Chen and He, 2021).

  sslx pretrain --config configs/simsiam.py:digits --workdir runs/simsiam

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("simsiam", aug=presets.aug(arg, "simsiam"))
    c.batch_size, c.optim.name, c.optim.lr = 512, "sgd", 0.05
    c.optim.weight_decay, c.optim.warmup = 1e-4, 0.0
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "simsiam", widths=(width, width), predictor=(width // 2, width),
        aug=presets.aug(arg, "simsiam"))
  return c
