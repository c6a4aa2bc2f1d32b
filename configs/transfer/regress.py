"""Regression (method.target=number) or several labels at once (labels) on a pretrained encoder, beside it from scratch.

  sslx transfer --config configs/transfer/regress.py --from runs/simclr --workdir runs/ages --config.data.name=mine.data

mine/data.py has load(*, split="train"), which returns a sequence of {"image": [H, W, C], "target": floats [K]}.
variants: small (400 steps of 64), tiny (8 steps of 16).
"""

from sslx import config, errors, methods
from sslx.augment import recipes


def get_config(arg="small"):
  if arg not in ("small", "tiny"):
    raise errors.unknown("variant", arg, ("small", "tiny"))
  c = config.default()
  c.total_steps, c.batch_size = (400, 64) if arg == "small" else (8, 16)
  c.method = methods.options("sslx.transfer.regress", aug=recipes.options("mae", scale=(0.6, 1.0)))
  c.optim.lr, c.optim.warmup, c.online_probe = 0.05, 0.05, False
  c.checkpoint.every, c.log.every = (200, 20) if arg == "small" else (4, 2)
  return c
