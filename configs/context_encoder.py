"""Context encoders (Pathak et al., 2016).

  sslx pretrain --config configs/context_encoder.py:cifar10 --workdir runs/context_encoder
  sslx pretrain --config configs/context_encoder.py:cifar10 --config.method.objective=l2 --workdir runs/inpainting

variants: digits, cifar10, imagenet, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  c.checkpoint.keep = 6                                      # their pictures are in the report
  width = 8 if arg == "tiny" else 32
  overlap = {"imagenet": 7, "cifar10": 2}.get(arg, 1)
  c.method = methods.options("context_encoder", overlap=overlap, width=width, critic_width=width,
                             aug=presets.aug(arg, "mae"))
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 1e-3, 0.01, 0.05
  c.optim.critic_rate = 0.1                                  # as in the paper
  if arg == "imagenet":
    c.optim.lr, c.batch_size = 2e-4, 1024
  return c
