"""VideoMAE (Tong et al., 2022).

  sslx pretrain --config configs/video_mae.py:video --config.data.name=video:PATH --workdir runs/video_mae

variants: video, tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets
from sslx.augment import recipes


def get_config(arg="video"):
  c = presets.video(arg, "video_vit_ti")
  c.checkpoint.keep = 6                                      # their pictures are in the report
  width, depth, heads = (8, 1, 2) if arg == "tiny" else (64, 1, 4)
  c.method = methods.options("video_mae", width=width, depth=depth, heads=heads, ratio=0.75 if arg == "tiny" else 0.9,
                             aug=recipes.options("mae", scale=(0.5, 1.0)))
  c.optim.b2 = 0.95
  return c
