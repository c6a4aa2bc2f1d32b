"""Ambient sound (Owens et al., 2016).

  sslx pretrain --config configs/ambient_sound.py:pairs --workdir runs/ambient --config.data.name=pairs:PATH

variants: pairs, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="pairs"):
  c = presets.pairs(arg, sound=True)
  spectrogram = {k: v for k, v in presets.audio_tower(arg).items() if k in ("rate", "window", "hop", "mels")}
  c.method = methods.options("ambient_sound", **spectrogram, aug=presets.aug(
      arg, "mae", **{} if arg == "tiny" else {"size": 0, "scale": (0.5, 1.0)}))
  if arg == "tiny":
    c.method.clusters, c.method.parts = 8, 2
  return c
