"""Segmentation on a pretrained encoder, beside the same network from scratch.

  sslx transfer --config configs/transfer/segment.py --from runs/simclr --workdir runs/camvid
    --config.data.name=masks:$DATA/camvid --config.method.head=fcn --strategy finetune

One command; masks:PATH holds {train,test}/{images,masks}, masks are PNGs of class numbers. Variants: small (300 steps
of 16 images), tiny (8 steps of 4).
"""

from sslx import config, errors, methods


def get_config(arg="small"):
  if arg not in ("small", "tiny"):
    raise errors.unknown("variant", arg, ("small", "tiny"))
  c = config.default()
  c.total_steps, c.batch_size = (300, 16) if arg == "small" else (8, 4)
  c.data.name = "masks:camvid"
  c.method = methods.options("sslx.transfer.segment")
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 2e-3, 0.01, 0.05
  c.checkpoint.every, c.log.every, c.online_probe = (100, 10, False) if arg == "small" else (4, 2, False)
  return c
