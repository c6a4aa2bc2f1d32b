"""Audio-MAE (Huang et al., 2022).

  sslx pretrain --config configs/audio_mae.py:audio --config.data.name=audio:FOLDER --workdir runs/audio_mae

variants: audio (yours: recordings of about a second) and tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets


def get_config(arg="audio"):
  c = presets.audio(arg, "audio_vit_ti")
  width, depth, heads = (8, 1, 2) if arg == "tiny" else (64, 1, 4)
  c.method = methods.options("audio_mae", width=width, depth=depth, heads=heads)
  return c
