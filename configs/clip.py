"""CLIP (Radford et al., 2021).

  sslx pretrain --config configs/clip.py:pairs --workdir runs/clip --config.data.name=pairs:PATH

variants: pairs, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="pairs"):
  c = presets.pairs(arg)
  small = arg == "tiny"
  c.method = methods.options("clip", width=16 if small else 256, text=presets.text_tower(arg), aug=presets.aug(
      arg, "mae", **{} if small else {"size": 0, "scale": (0.5, 1.0)}))
  return c
