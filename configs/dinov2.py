"""DINOv2 (Oquab et al., 2023).

  sslx pretrain --config configs/dinov2.py:digits --workdir runs/dinov2

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import encoders, methods, presets


def get_config(arg="digits"):
  c = presets.vit(presets.make(arg), arg)
  if arg == "imagenet":                                      # ViT-L/16 and the numbers of the authors' code on ImageNet
    c.method = methods.options("dinov2", momentum=0.992, prototypes=65536, patch_prototypes=65536, widths=(
        2048, 2048, 256), aug=presets.aug(arg, "dino", scale=(0.32, 1.0), small_scale=(0.05, 0.32)))
    c.encoder = encoders.options("vit_l", patch=16, drop_path=0.3, layer_scale=1e-5)
    c.batch_size, c.optim.scale, c.optim.reference_batch = 2048, "sqrt", 1024
    c.optim.lr, c.optim.final, c.optim.warmup, c.optim.clip = 4e-3, 2.5e-4, 0.1, 3.0
    c.optim.weight_decay, c.optim.decay_final, c.optim.layer_decay = 0.04, 0.4, 0.9
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("dinov2", prototypes=256, patch_prototypes=256, momentum=0.95, warm_temp=0.05,
                               teacher_temp=0.05, widths=(width, width // 2), norm=True, aug=presets.aug(arg, "dino"))
    c.encoder.pool = "token"
    c.optim.lr, c.optim.weight_decay = 2e-3, 0.04
    if arg == "cifar10":                                     # in short runs without small views, which take the time
      c.method.aug.small, c.optim.name, c.optim.lr = 0, "muon", 0.02
  return c
