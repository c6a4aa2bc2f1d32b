"""The order of frames (Misra et al., 2016), or with --config.method.task=arrow the arrow of time.

  sslx pretrain --config configs/temporal_order.py:video --config.data.name=video:PATH --workdir runs/order

variants: video, tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets
from sslx.augment import recipes


def get_config(arg="video"):
  c = presets.video(arg, "frames_resnet10")
  c.method = methods.options("temporal_order", widths=(32,) if arg == "tiny" else (128,),
                             aug=recipes.options("mae", scale=(0.5, 1.0)))
  return c
