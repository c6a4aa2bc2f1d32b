"""Image and depth (CMC: Tian et al., 2020; Eigen et al., 2014).

  sslx pretrain --config configs/image_depth.py:pairs --workdir runs/depth --config.data.name=pairs:PATH

With --config.method.target=depth a decoder on the image encoder draws the depth map, and only the image is read.

variants: pairs, tiny; sslx/presets.py says what each one is and how long it takes.
"""

from sslx import encoders, methods, presets
from sslx.augment import recipes


def get_config(arg="pairs"):
  c = presets.pairs(arg)
  tower = {"name": "depth_resnet10", "width": 4, "stem": "small"} if arg == "tiny" else {
      "name": "depth_resnet18", "width": 32}
  c.method = methods.options("image_depth", depth=encoders.options(**tower), aug=recipes.options(
      "mae", scale=(0.5, 1.0), flip_p=0.0 if arg == "tiny" else 0.5, interpolation="bilinear"))
  if arg == "tiny":
    c.method.width, c.method.decoder = 16, 4
  return c
