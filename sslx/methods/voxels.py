"""SimCLR (Chen et al., 2020) of voxel grids: two views of an object attract, all others repel."""

from sslx.augment import voxels
from sslx.methods import base, simclr, solid

CITE = simclr.CITE


def make(encoder, *, temperature=0.5, widths=(512, 128), norm=True, last_norm=True, degrees=180.0, tilt=10.0,
         factor=(0.8, 1.25), quarters=False, mirror_p=0.5, shift=0.125, erase=(0.2, 0.6), drop=(0.0, 0.5), flip=(),
         axis=2):
  """NT-Xent on an encoder of voxel grids.

  Args:
    temperature, widths, norm, last_norm: see simclr.make.
    degrees, tilt: of turns about the axis that points up, and about the other two: uniform in +-.
    factor: range of the scale, drawn for each of these turns; () for none.
    quarters: turns by quarters about that axis, which are exact.
    mirror_p: probability of the mirror image.
    shift: of the object, a share of the side, along each axis.
    erase: range of the sides of a cuboid that is emptied, as shares; () for none.
    drop, flip: ranges of the share of voxels that are emptied, and turned into their opposite; () for none.
    axis: the one that points up: 0, 1 or 2, of D, H, W.
  """
  base.ranges(factor=factor)
  base.ranges(most=1, erase=erase, drop=drop, flip=flip)
  aug = voxels.stack(degrees=degrees, tilt=tilt, factor=factor, quarters=quarters, mirror_p=mirror_p, shift=shift,
                     erase=erase, drop=drop, flip=flip, axis=solid.axis_of(axis))
  return solid.contrast(encoder, "voxels", aug, axis, temperature=temperature, widths=widths, norm=norm,
                        last_norm=last_norm)
