"""Every deterministic augmentation of one image [H, W, C] again, from its definition, in NumPy float64."""

import colorsys
import math
from fractions import Fraction

import numpy as np
from scipy import ndimage


def grey(x):
  return x @ np.array([0.2989, 0.587, 0.114]) if x.shape[-1] == 3 else x.mean(-1)


def brightness(x, f):
  return np.clip(f * x, 0, 1)


def contrast(x, f):
  return np.clip(f * x + (1 - f) * grey(x).mean(), 0, 1)


def saturation(x, f):
  return np.clip(f * x + (1 - f) * grey(x)[..., None], 0, 1) if x.shape[-1] == 3 else x


def hue(x, delta):
  if x.shape[-1] != 3:
    return x
  def turn(rgb):
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    return colorsys.hsv_to_rgb((h + delta) % 1, s, v)
  return np.apply_along_axis(turn, -1, x)


def blur(x, sigma, size):
  w = np.exp(-0.5 * (np.arange(size) - size // 2) ** 2 / sigma**2)
  for axis in (0, 1):
    x = ndimage.correlate1d(x, w / w.sum(), axis=axis, mode="mirror")
  return x


def sharpness(x, f):
  kernel = np.ones((3, 3, 1))
  kernel[1, 1] = 5
  smooth = ndimage.correlate(x, kernel / 13)
  for edge in (0, -1):
    smooth[edge], smooth[:, edge] = x[edge], x[:, edge]
  return np.clip(f * x + (1 - f) * smooth, 0, 1)


def solarize(x, threshold):
  return np.where(x < threshold, x, 1 - x)


def posterize(x, bits):
  return np.minimum(np.floor(x * 2.0**bits), 2.0**bits - 1) / 2.0**bits


def autocontrast(x):
  stretch = lambda v: (v - v.min()) / (v.max() - v.min()) if v.max() > v.min() else v
  return np.stack([stretch(x[..., c]) for c in range(x.shape[-1])], -1)


def equalize(x):
  """Each bin's new value is the share of the pixels in lower bins, in whole steps; the highest bin does not count."""
  def channel(v):
    v = np.floor(v * 255.999).astype(int)
    counts = np.bincount(v.ravel(), minlength=256)
    step = (v.size - counts[v.max()]) // 255
    table = [min(255, (counts[:i].sum() + step // 2) // step) if step else i for i in range(256)]
    return np.take(table, v) / 255
  return np.stack([channel(x[..., c]) for c in range(x.shape[-1])], -1)


def _triangle(t):
  return max(0, 1 - abs(t))


def _cubic(t):
  t = abs(t)
  return 1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0


def crop_resize(x, box, size, kernel=_triangle):
  """Every output pixel is the weighted mean of the crop's pixels under a kernel as wide as it is itself."""
  (top, left, height, width), (h, w) = box, size
  crop = x[top:top + height, left:left + width]
  def weights(i, full, n):
    scale = full / n
    return np.array([kernel((j + 0.5 - (i + 0.5) * scale) / max(scale, 1)) for j in range(full)])
  out = np.zeros((h, w, x.shape[-1]))
  for i in range(h):
    for j in range(w):
      weight = np.outer(weights(i, height, h), weights(j, width, w))
      out[i, j] = np.tensordot(weight / weight.sum(), crop)
  return out


def crop_bicubic(x, box, size):
  return np.clip(crop_resize(x, box, size, _cubic), 0, 1)


def crop_nearest(x, box, size):
  (top, left, height, width), (h, w) = box, size
  under = lambda i, full, n: math.floor((i + Fraction(1, 2)) * int(full) / n)
  return x[[[top + under(i, height, h)] for i in range(h)], [left + under(j, width, w) for j in range(w)]]


def pad_and_crop(x, top, left, mode):
  H, W = x.shape[:2]
  return np.pad(x, [(4, 4), (4, 4), (0, 0)], mode=mode)[top:top + H, left:left + W]


def box(x, top, left, height, width):
  """Which pixels [H, W, 1] lie in the box."""
  r, c = np.mgrid[:x.shape[0], :x.shape[1]]
  return ((top <= r) & (r < top + height) & (left <= c) & (c < left + width))[..., None]


def _warp(x, place):
  """Every output pixel (column, row) looks up the place it is given, bilinear."""
  H, W, C = x.shape
  out = np.zeros(x.shape)
  at = lambda r, c: x[r, c] if 0 <= r < H and 0 <= c < W else np.zeros(C)
  for r in range(H):
    for c in range(W):
      px, py = place(c, r)
      c0, r0 = int(np.floor(px)), int(np.floor(py))
      u, v = px - c0, py - r0
      out[r, c] = ((1 - v) * ((1 - u) * at(r0, c0) + u * at(r0, c0 + 1))
                   + v * ((1 - u) * at(r0 + 1, c0) + u * at(r0 + 1, c0 + 1)))
  return out


def affine(x, angle, translate, scale, shear):
  """out(M p) = x(p) about the centre, M = move turn shear_y shear_x scale."""
  a, sx, sy = np.deg2rad([angle, *shear])
  turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
  matrix = scale * turn @ np.array([[1, 0], [-np.tan(sy), 1]]) @ np.array([[1, -np.tan(sx)], [0, 1]])
  centre = np.array([(x.shape[1] - 1) / 2, (x.shape[0] - 1) / 2])
  return _warp(x, lambda c, r: np.linalg.solve(matrix, np.array([c, r]) - centre - translate) + centre)


def perspective(x, start, end):
  """The map with eight coefficients that takes the four `end` points to `start`, by solving its linear equations."""
  rows, values = [], []
  for (u, v), (a, b) in zip(start, end, strict=True):
    rows += [[a, b, 1, 0, 0, 0, -a * u, -b * u], [0, 0, 0, a, b, 1, -a * v, -b * v]]
    values += [u, v]
  m = np.append(np.linalg.solve(np.array(rows, float), np.array(values, float)), 1).reshape(3, 3)
  def place(c, r):
    u, v, depth = m @ [c + 0.5, r + 0.5, 1]
    return u / depth - 0.5, v / depth - 0.5
  return _warp(x, place)


def elastic(x, displacement):
  return _warp(x, lambda c, r: (c, r) + displacement[r, c])
