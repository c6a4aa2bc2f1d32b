"""A frame and the clip around it (Feichtenhofer et al., 2021).

  sslx pretrain --config configs/video_frame.py:video --config.data.name=video:PATH --workdir runs/frame

DIR/towers/image holds the image encoder, DIR/encoder the one of video around it.

variants: video, tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets
from sslx.augment import recipes


def get_config(arg="video"):
  c = presets.video(arg, "frames_resnet10")
  widths = (32, 16) if arg == "tiny" else (128, 128)
  c.method = methods.options("video_frame", widths=widths, norm=True, aug=recipes.options(
      "simclr", scale=(0.3, 1.0), blur_p=0.0))
  return c
