"""SigLIP (Zhai et al., 2023).

  sslx pretrain --config configs/siglip.py:pairs --workdir runs/siglip --config.data.name=pairs:PATH

variants: pairs, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="pairs"):
  c = presets.pairs(arg)
  small = arg == "tiny"
  c.method = methods.options("siglip", width=16 if small else 256, text=presets.text_tower(arg), aug=presets.aug(
      arg, "mae", **{} if small else {"size": 0, "scale": (0.5, 1.0)}))
  return c
