"""Every deterministic augmentation of one image [H, W, C] again, from its definition, in NumPy float64."""

import colorsys

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


def crop_resize(x, box, size):
  """Every output pixel is the weighted mean of the crop's pixels under a triangle as wide as it is itself."""
  (top, left, height, width), (h, w) = box, size
  crop = x[top:top + height, left:left + width]
  def triangle(i, full, n):
    scale = full / n
    return np.array([max(0, 1 - abs(j + 0.5 - (i + 0.5) * scale) / max(scale, 1)) for j in range(full)])
  out = np.zeros((h, w, x.shape[-1]))
  for i in range(h):
    for j in range(w):
      weight = np.outer(triangle(i, height, h), triangle(j, width, w))
      out[i, j] = np.tensordot(weight / weight.sum(), crop)
  return out


def affine(x, angle, translate, scale, shear):
  """out(M p) = x(p) about the centre, M = move turn shear_y shear_x scale: every output pixel looks up its p."""
  H, W, C = x.shape
  a, sx, sy = np.deg2rad([angle, *shear])
  turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
  matrix = scale * turn @ np.array([[1, 0], [-np.tan(sy), 1]]) @ np.array([[1, -np.tan(sx)], [0, 1]])
  centre, out = np.array([(W - 1) / 2, (H - 1) / 2]), np.zeros(x.shape)
  at = lambda r, c: x[r, c] if 0 <= r < H and 0 <= c < W else np.zeros(C)
  for r in range(H):
    for c in range(W):
      px, py = np.linalg.solve(matrix, np.array([c, r]) - centre - translate) + centre
      c0, r0 = int(np.floor(px)), int(np.floor(py))
      u, v = px - c0, py - r0
      out[r, c] = ((1 - v) * ((1 - u) * at(r0, c0) + u * at(r0, c0 + 1))
                   + v * ((1 - u) * at(r0 + 1, c0) + u * at(r0 + 1, c0 + 1)))
  return out
