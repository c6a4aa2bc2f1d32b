"""PointContrast (Xie et al., 2020) of whole objects: two views of a point set attract, all others repel."""

from sslx.augment import points
from sslx.methods import base, solid

CITE = """@inproceedings{xie2020pointcontrast,
  title={PointContrast: Unsupervised Pre-training for 3D Point Cloud Understanding},
  author={Xie, Saining and Gu, Jiatao and Guo, Demi and Qi, Charles R. and Guibas, Leonidas and Litany, Or},
  booktitle={ECCV}, year={2020}}"""


def make(encoder, *, temperature=0.2, widths=(512, 128), norm=True, last_norm=True, degrees=180.0, tilt=15.0,
         factor=(0.67, 1.5), distance=0.2, jitter=0.01, crop=(0.5, 1.0), erase=(), drop=(0.0, 0.75), axis=2):
  """NT-Xent of one vector a view, where the paper has one a point, on an encoder of points.

  Args:
    temperature, widths, norm, last_norm: see simclr.make.
    degrees, tilt: of turns about the axis that points up, and about the other two: uniform in +-.
    factor: range of the scale of each axis.
    distance: of shifts, in each direction; the object has radius 1.
    jitter: deviation of the noise on each point.
    crop: range of the share of the points that a cut leaves; () for none.
    erase: range of the sides of a cuboid that is taken out; () for none.
    drop: range of the share of the points that are dropped; () for none.
    axis: the one that points up: 0, 1 or 2.
  """
  base.ranges(factor=factor)
  base.ranges(most=1, crop=crop, erase=erase, drop=drop)
  aug = points.stack(degrees=degrees, tilt=tilt, factor=factor, distance=distance, jitter=jitter, crop=crop,
                     erase=erase, drop=drop, axis=solid.axis_of(axis))
  return solid.contrast(encoder, "points", aug, axis, temperature=temperature, widths=widths, norm=norm,
                        last_norm=last_norm)
