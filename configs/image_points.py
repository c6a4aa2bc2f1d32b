"""CrossPoint between modalities (Afham et al., 2022).

  sslx pretrain --config configs/image_points.py:points --config.data.name=points:PATH --workdir runs/crosspoint
  sslx pretrain --config configs/image_points.py:pairs --config.data.name=pairs:PATH --workdir runs/crosspoint

variants: points (yours: point sets alone, whose depth images are drawn), pairs (yours: images with points), tiny;
sslx/presets.py says what each one is.
"""

from sslx import encoders, errors, methods, presets


def get_config(arg="points"):
  if arg == "points":
    c = presets.solid(arg, "points")
    c.data.key, c.data.size = "image", 32
    c.encoder = encoders.options("resnet10", width=8, stem="small", mean=(0.2,), std=(0.3,))
  elif arg in ("pairs", "tiny"):
    c = presets.pairs(arg)
  else:
    raise errors.unknown("variant", arg, ("points", "pairs", "tiny"))
  c.method = methods.options("image_points", width=16 if arg == "tiny" else 64, rendered=arg != "pairs",
                             points=presets.points_tower(arg), aug=presets.aug(
      arg, "mae", **{} if arg == "tiny" else {"size": 0, "scale": (0.5, 1.0)}))
  if arg != "tiny":                                          # objects that stand alike; 180 where they do not
    c.method.degrees = 15.0
  return c
