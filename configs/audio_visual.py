"""Image and sound of the same thing (Arandjelovic and Zisserman, 2017).

  sslx pretrain --config configs/audio_visual.py:pairs --workdir runs/av --config.data.name=pairs:PATH

With --config.method.target=correspondence a small network tells whether the two belong together.

variants: pairs, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import methods, presets


def get_config(arg="pairs"):
  c = presets.pairs(arg, sound=True)
  c.method = methods.options("audio_visual", audio=presets.audio_tower(arg), aug=presets.aug(
      arg, "mae", **{} if arg == "tiny" else {"size": 0, "scale": (0.5, 1.0)}))
  if arg == "tiny":
    c.method.width = c.method.hidden = 16
  else:
    c.method.segment, c.method.snr = 0.9, (5.0, 30.0)
  return c
