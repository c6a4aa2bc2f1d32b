"""Three-dimensional space: rotations as matrices [..., 3, 3], and depth images of points.

`axis` is the one that points up, by its number; turns follow the right-hand rule.
"""

import jax
import jax.numpy as jnp

from sslx.augment.exact import rounded, uniform

FLOOR = 0.25                                                 # brightness of what is farthest; nothing is black


def rotation(angle, *, axis=2):
  """The matrices [..., 3, 3] that turn by `angle` degrees [...] about an axis."""
  turn = jnp.deg2rad(jnp.asarray(angle, float))
  c, s, zero, one = jnp.cos(turn), jnp.sin(turn), jnp.zeros_like(turn), jnp.ones_like(turn)
  a, b = (axis + 1) % 3, (axis + 2) % 3
  entries = {(a, a): c, (a, b): -s, (b, a): s, (b, b): c, (axis, axis): one}
  return jnp.stack([jnp.stack([entries.get((i, j), zero) for j in range(3)], -1) for i in range(3)], -2)


def product(a, b):
  """The product of matrices [..., 3, 3], of the same bits everywhere."""
  return sum(rounded(a[..., :, k, None] * b[..., None, k, :]) for k in range(3))


def applied(matrix, points):
  """Points [..., M, 3] under a matrix [..., 3, 3] of their own."""
  matrix = matrix.astype(points.dtype)
  return sum(rounded(points[..., k, None] * matrix[..., None, :, k]) for k in range(3))


def random_rotation(key, shape, *, degrees=180.0, tilt=15.0, axis=2):
  """Matrices [*shape, 3, 3]: a turn in +-degrees about the axis, then one in +-tilt about each of the other two."""
  keys = jax.random.split(key, 3)
  out = rotation(uniform(keys[0], shape, float, -degrees, degrees), axis=axis)
  for k, other in zip(keys[1:], ((axis + 1) % 3, (axis + 2) % 3), strict=True):
    out = product(rotation(uniform(k, shape, float, -tilt, tilt), axis=other), out)
  return out


def camera(azimuth, elevation, *, axis=2):
  """Rows right, up and towards the camera [..., 3, 3], for one that looks at the origin from there, in degrees."""
  a, e = (jnp.deg2rad(jnp.asarray(v, float)) for v in (azimuth, elevation))
  a, e = jnp.broadcast_arrays(a, e)
  ca, sa, ce, se = jnp.cos(a), jnp.sin(a), jnp.cos(e), jnp.sin(e)
  rows = [(-sa, ca, jnp.zeros_like(a)), (-rounded(ca * se), -rounded(sa * se), ce), (rounded(ca * ce), rounded(sa * ce),
                                                                                     se)]
  return jnp.stack([jnp.stack([dict(zip(((axis + 1) % 3, (axis + 2) % 3, axis), row, strict=True))[i]
                               for i in range(3)], -1) for row in rows], -2)


def render(points, azimuth=30.0, elevation=30.0, *, size=32, axis=2, radius=1, there=None):
  """Depth images [..., S, S, 1] of points [..., M, 3] in the unit sphere: orthographic, the nearer the brighter.

  Args:
    azimuth, elevation: of the camera in degrees, scalars or [...]: about the axis, and above the plane under it.
    radius: of the square that a point covers, in pixels; the nearest point in a pixel is seen, 0 is behind all.
    there: [..., M], which of the points there are; None for all.
  """
  seen = applied(camera(azimuth, elevation, axis=axis), points)                          # [..., M, (right, up, near)]
  shape, M = points.shape[:-2], points.shape[-2]
  near = (FLOOR + rounded((1 - FLOOR) / 2 * (1 + jnp.clip(seen[..., 2], -1, 1)))).reshape(-1, M)
  column, row = (jnp.round(rounded((1 + s * seen[..., i]) * ((size - 1) / 2))).astype(jnp.int32).reshape(-1, M)
                 for i, s in ((0, 1), (1, -1)))
  near = near if there is None else jnp.where(there.reshape(-1, M), near, 0)
  out, which = jnp.zeros((len(near), size, size), points.dtype), jnp.arange(len(near))[:, None]
  for dy in range(-radius, radius + 1):
    for dx in range(-radius, radius + 1):
      y, x = row + dy, column + dx
      inside = (y >= 0) & (y < size) & (x >= 0) & (x < size)
      out = out.at[which, jnp.where(inside, y, size), jnp.where(inside, x, size)].max(near, mode="drop")
  return out.reshape(*shape, size, size, 1)


def places(grid):
  """(points [..., D H W, 3] of the voxels of grids [..., D, H, W, C] in [0, 1], which are more than a quarter full).

  Those that are full lie in the unit sphere.
  """
  sides, shape = grid.shape[-4:-1], grid.shape[:-4]
  there = jnp.mean(grid, -1).reshape(*shape, -1) > 0.25
  at = jnp.stack([v.reshape(-1) for v in jnp.mgrid[:sides[0], :sides[1], :sides[2]]], -1).astype(float)
  at = at - (jnp.asarray(sides, float) - 1) / 2
  far = jnp.max(jnp.where(there, jnp.sqrt(jnp.sum(at**2, -1)), 0), -1)
  return at / jnp.where(far > 0, far, 1)[..., None, None], there


def random_render(key, points, *, size=32, degrees=180.0, elevation=(0.0, 45.0), axis=2, radius=1):
  """render from an azimuth in +-degrees and an elevation uniform in the range."""
  r_azimuth, r_elevation = jax.random.split(key)
  shape = points.shape[:-2]
  return render(points, uniform(r_azimuth, shape, float, -degrees, degrees), uniform(
      r_elevation, shape, float, *elevation), size=size, axis=axis, radius=radius)
