"""DINO (Caron et al., 2021).

  sslx pretrain --config configs/dino.py:digits --workdir runs/dino

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import encoders, methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":                                      # the paper's numbers, where they are not the defaults
    c.method = methods.options("dino", teacher_temp=0.07, prototypes=65536, aug=presets.aug(arg, "dino"))
    c.encoder, c.batch_size = encoders.options("vit_s", patch=16, drop_path=0.1), 1024
    c.optim.name, c.optim.lr, c.optim.final, c.optim.clip = "adamw", 5e-4, 5e-4, 3.0
    c.optim.weight_decay, c.optim.decay_final = 0.04, 0.4
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options(
        "dino", prototypes=512, momentum=0.99, widths=(width, width // 2), norm=True,
        aug=presets.aug(arg, "dino"))
    c.optim.name, c.optim.lr, c.optim.weight_decay = "adamw", 2e-3, 0.04
  return c
