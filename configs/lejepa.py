"""LeJEPA (Balestriero and LeCun, 2025).

  sslx pretrain --config configs/lejepa.py:digits --workdir runs/lejepa

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import encoders, methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("lejepa", aug=presets.aug(arg, "dino"))
    c.encoder, c.batch_size = encoders.options("vit_s", patch=16), 512
    c.optim.name, c.optim.scale, c.optim.lr, c.optim.weight_decay = "adamw", "none", 5e-4, 0.05
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("lejepa", slices=256, widths=(width, width // 2), aug=presets.aug(arg, "dino"))
  return c
