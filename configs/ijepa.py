"""I-JEPA (Assran et al., 2023).

  sslx pretrain --config configs/ijepa.py:digits --workdir runs/ijepa

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import encoders, methods, presets


def get_config(arg="digits"):
  c = presets.vit(presets.make(arg), arg)
  if arg == "imagenet":                                      # the paper's ViT-H/14 and its numbers
    c.method = methods.options("ijepa", heads=16, aug=presets.aug(arg, "ijepa"))
    c.encoder = encoders.options("vit_h", patch=14, pool="mean")
    c.total_epochs, c.batch_size = 300.0, 2048
    c.optim.lr, c.optim.final, c.optim.warmup, c.optim.decay_final = 1e-3, 1e-3, 40 / 300, 0.4
    c.optim.weight_decay = 0.04
  else:
    width, depth, heads = {"tiny": (8, 1, 2), "digits": (48, 2, 4), "cifar10": (64, 3, 4)}[arg]
    c.method = methods.options("ijepa", width=width, depth=depth, heads=heads, momentum=0.99,
                               aug=presets.aug(arg, "ijepa"))
    if arg != "cifar10":
      c.method.aug.jitter_p = 0.0                            # crops and nothing else
    c.optim.lr = 1e-3
    if arg == "cifar10":
      c.optim.name, c.optim.lr = "muon", 0.01                # with AdamW about half the gain after as many steps
  return c
