"""CVRL (Qian et al., 2021).

  sslx pretrain --config configs/video_contrast.py:video --config.data.name=video:PATH --workdir runs/contrast

With --config.encoder.name=frames_resnet10 --config.encoder.width=16 --config.method.frames=1 two frames attract: more
examples in the same time, and better on a few hundred clips (experiments/results/video.md).

variants: video, tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets
from sslx.augment import recipes


def get_config(arg="video"):
  c = presets.video(arg, "r2plus1d_10")
  widths = (32, 16) if arg == "tiny" else (128, 128)
  c.method = methods.options("video_contrast", widths=widths, norm=True, aug=recipes.options(
      "simclr", scale=(0.3, 1.0), blur_p=0.0))
  return c
