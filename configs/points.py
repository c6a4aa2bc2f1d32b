"""PointContrast of whole objects (Xie et al., 2020).

  sslx pretrain --config configs/points.py:points --config.data.name=points:PATH --workdir runs/points

variants: points (yours, {train,test}/CLASS/*.npy) and tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets


def get_config(arg="points"):
  c = presets.solid(arg, "points")
  c.method = methods.options("points", widths=(32, 16) if arg == "tiny" else (64, 32))
  if arg == "points":                                        # objects that stand alike; 180 where they do not
    c.method.degrees = 15.0
  return c
