"""Frame prediction (Liu et al., 2017).

  sslx pretrain --config configs/frame_prediction.py:video --config.data.name=video:PATH --workdir runs/prediction
  sslx pretrain --config configs/frame_prediction.py:video --config.data.name=video:PATH --config.data.length=3 \
    --config.method.given=-1,1 --config.method.target=0 --workdir runs/between

variants: video, tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets
from sslx.augment import recipes


def get_config(arg="video"):
  c = presets.video(arg, "r2plus1d_10")
  c.checkpoint.keep = 6                                      # their pictures are in the report
  c.encoder.strides = (1, 1, 1, 1)
  c.method = methods.options("frame_prediction", width=4 if arg == "tiny" else 16,
                             aug=recipes.options("mae", scale=(1.0, 1.0)))
  c.data.length = 3.0
  return c
