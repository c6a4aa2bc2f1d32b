"""Detection on a pretrained encoder, beside the same network from scratch.

  sslx transfer --config configs/transfer/detect.py --from runs/simclr --workdir runs/cells
    --config.data.name=boxes:$DATA/cells --config.data.size=192 --config.data.fit=squash

One command; boxes:PATH holds annotations in COCO's or YOLO's format (sslx/data/boxes.py). Variants: small (600 steps of
8 images), tiny (6 steps of 4).
"""

from sslx import config, errors, methods


def get_config(arg="small"):
  if arg not in ("small", "tiny"):
    raise errors.unknown("variant", arg, ("small", "tiny"))
  c = config.default()
  c.total_steps, c.batch_size = (600, 8) if arg == "small" else (6, 4)
  c.data.name = "boxes:cells"
  c.method = methods.options("sslx.transfer.detect")
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 1e-3, 0.01, 0.05
  c.optim.clip = 5.0
  c.checkpoint.every, c.log.every, c.online_probe = (100, 10, False) if arg == "small" else (3, 2, False)
  return c
