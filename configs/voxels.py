"""SimCLR of voxel grids (Chen et al., 2020).

  sslx pretrain --config configs/voxels.py:voxels --config.data.name=voxels:PATH --workdir runs/voxels

variants: voxels (yours, {train,test}/CLASS/*.npy) and tiny; sslx/presets.py says what each one is.
"""

from sslx import methods, presets


def get_config(arg="voxels"):
  c = presets.solid(arg, "voxels")
  c.method = methods.options("voxels", widths=(32, 16) if arg == "tiny" else (64, 32))
  if arg == "voxels":                                        # objects that stand alike; 180 where they do not
    c.method.degrees = 15.0
  return c
