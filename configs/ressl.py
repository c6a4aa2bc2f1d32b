"""ReSSL (Zheng et al., 2021).

  sslx pretrain --config configs/ressl.py:digits --workdir runs/ressl

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("ressl", aug=presets.aug(arg, "weak_strong"))
    c.total_epochs, c.batch_size, c.optim.name = 200.0, 256, "sgd"
    c.optim.lr, c.optim.weight_decay = 0.05, 1e-4
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "ressl", momentum=0.99, queue=1024, widths=(width, width),
        aug=presets.aug(arg, "weak_strong"))
  return c
