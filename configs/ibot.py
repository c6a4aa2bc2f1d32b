"""iBOT (Zhou et al., 2022).

  sslx pretrain --config configs/ibot.py:digits --workdir runs/ibot

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import encoders, methods, presets


def get_config(arg="digits"):
  c = presets.vit(presets.make(arg), arg)
  if arg == "imagenet":                                      # ViT-S/16 and the numbers of the authors' code
    c.method = methods.options("ibot", warm=30 / 800, freeze=1 / 800, patch_weight=0.5, aug=presets.aug(
        arg, "dino", scale=(0.25, 1.0), small=10, small_scale=(0.05, 0.25)))
    c.encoder = encoders.options("vit_s", patch=16, drop_path=0.1)
    c.total_epochs, c.batch_size = 800.0, 1024
    c.optim.lr, c.optim.final, c.optim.warmup, c.optim.clip = 2e-3, 5e-4, 10 / 800, 3.0
    c.optim.weight_decay, c.optim.decay_final = 0.04, 0.4
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("ibot", prototypes=256, momentum=0.95, warm_temp=0.05, teacher_temp=0.05,
                               centering="sinkhorn", patch_prototypes=256, widths=(width, width // 2), norm=True,
                               aug=presets.aug(arg, "dino"))
    c.encoder.pool = "token"
    c.optim.lr, c.optim.weight_decay = 2e-3, 0.04
    if arg == "cifar10":                                     # in short runs without small views, which take the time
      c.method.aug.small, c.optim.name, c.optim.lr = 0, "muon", 0.015
  return c
