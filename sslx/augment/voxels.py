"""Voxel grids [..., D, H, W, C], floats in [0, 1], 0 where nothing is; amounts are scalars or one a grid ([...]).

As with images, random functions take `key` first and the grid next, options keyword-only, and each draw depends on the
key and the position in the batch alone. `axis` 0, 1 or 2, of D, H, W, is the one that points up.
"""

import jax
import jax.numpy as jnp

from sslx.augment import geometry
from sslx.augment.color import to_float
from sslx.augment.exact import rounded, uniform


def wide(amount):
  """An amount a grid [...] made to broadcast against [..., D, H, W, C]."""
  amount = jnp.asarray(amount)
  return amount.reshape(amount.shape + (1,) * 4) if amount.ndim else amount


def mirror(grid, axis):
  """The grid mirrored along an axis."""
  return jnp.flip(grid, axis - 4)


def rot90(grid, k, *, axis=2):
  """Turns by k quarters about the axis, by the right-hand rule: an integer, or for square layers also one a grid."""
  a, b = (axis + 1) % 3 - 4, (axis + 2) % 3 - 4
  if isinstance(k, int):
    return jnp.rot90(grid, k, (a, b))
  if grid.shape[a] != grid.shape[b]:
    raise ValueError(f"layers of {grid.shape[a]}x{grid.shape[b]} are not square: all are turned by one integer")
  k = wide(jnp.asarray(k) % 4)
  return jnp.select([k == i for i in range(1, 4)], [jnp.rot90(grid, i, (a, b)) for i in range(1, 4)], grid)


def shift(grid, offset):
  """Moves by whole voxels [..., 3], along D, H and W; what comes in is empty."""
  offset = jnp.asarray(offset)
  for i in range(3):
    axis, n = i - 4, grid.shape[i - 4]
    from_ = jnp.arange(n).reshape(n, *(1,) * (3 - i)) - wide(offset[..., i])               # [..., 1, n, 1, 1]
    index = jnp.broadcast_to(jnp.clip(from_, 0, n - 1), (*grid.shape[:-4], *(n if j == i else 1 for j in range(3)), 1))
    grid = jnp.where((from_ >= 0) & (from_ < n), jnp.take_along_axis(grid, index, axis), 0)
  return grid


def box(grid, start, size):
  """Which voxels [..., D, H, W, 1] lie in the cuboid of size [..., 3] from start [..., 3] on."""
  start, size, out = jnp.asarray(start), jnp.asarray(size), True
  for i, n in enumerate(grid.shape[-4:-1]):
    at = jnp.arange(n).reshape(n, *(1,) * (3 - i))
    out &= (at >= wide(start[..., i])) & (at < wide(start[..., i] + size[..., i]))
  return out


def erase(grid, start, size):
  """Empties the cuboid of size [..., 3] from start [..., 3] on; it may reach over the border."""
  return jnp.where(box(grid, start, size), 0, grid)


def flip(grid, where):
  """Full is empty and empty is full at the places that are true."""
  return jnp.where(where, 1 - grid, grid)


def turn(grid, angle, *, axis=2, factor=1.0):
  """Turns by `angle` degrees about the axis through the middle, by the right-hand rule, and scales across the axis.

  Layer by layer as images are, bilinear, empty outside.
  """
  layers = jnp.moveaxis(grid, (axis + 1) % 3 - 4, -4)                                   # [..., across, C]
  layers = jnp.moveaxis(layers, _second(axis), -3)
  image = layers.reshape(*layers.shape[:-2], -1)
  image = geometry.affine(image, -jnp.asarray(angle, float), scale=factor)
  layers = jnp.moveaxis(image.reshape(layers.shape), -3, _second(axis))
  return jnp.moveaxis(layers, -4, (axis + 1) % 3 - 4)


def _second(axis):
  """Where the second axis across `axis` lies once the first is in front."""
  rest = [i for i in range(3) if i != (axis + 1) % 3]
  return rest.index((axis + 2) % 3) - 3


def random_mirror(key, grid, *, axis, p=0.5):
  """mirror with probability p."""
  return jnp.where(wide(jax.random.bernoulli(key, p, grid.shape[:-4])), mirror(grid, axis), grid)


def random_rot90(key, grid, *, axis=2):
  """rot90 by 0, 1, 2 or 3 quarters, each as likely."""
  return rot90(grid, jax.random.randint(key, grid.shape[:-4], 0, 4), axis=axis)


def random_shift(key, grid, *, share=0.125):
  """shift by whole voxels, up to a share of the side along each axis, either way."""
  most = jnp.asarray([round(share * n) for n in grid.shape[-4:-1]])
  return shift(grid, jax.random.randint(key, (*grid.shape[:-4], 3), -most, most + 1))


def random_erase(key, grid, *, share=(0.2, 0.6)):
  """erase of a cuboid anywhere inside, its sides uniform in the range, shares of the grid's."""
  r_size, r_start = jax.random.split(key)
  sides, shape = jnp.asarray(grid.shape[-4:-1], grid.dtype), (*grid.shape[:-4], 3)
  size = jnp.round(rounded(uniform(r_size, shape, grid.dtype, *share) * sides))
  start = jnp.floor(rounded(jax.random.uniform(r_start, shape, grid.dtype) * (sides - size + 1)))
  return erase(grid, start, size)


def random_drop(key, grid, *, share=(0.0, 0.5)):
  """Empties each voxel with a probability that is uniform in the range."""
  r_share, r_voxel = jax.random.split(key)
  dropped = wide(uniform(r_share, grid.shape[:-4], grid.dtype, *share))
  return jnp.where(jax.random.uniform(r_voxel, (*grid.shape[:-1], 1), grid.dtype) < dropped, 0, grid)


def random_flip(key, grid, *, share=(0.0, 0.02)):
  """flip of each voxel with a probability that is uniform in the range."""
  r_share, r_voxel = jax.random.split(key)
  flipped = wide(uniform(r_share, grid.shape[:-4], grid.dtype, *share))
  return flip(grid, jax.random.uniform(r_voxel, (*grid.shape[:-1], 1), grid.dtype) < flipped)


def random_turn(key, grid, *, degrees=180.0, factor=(1.0, 1.0), axis=2):
  """turn by an angle uniform in +-degrees, scaled by a factor uniform in the range."""
  r_angle, r_factor = jax.random.split(key)
  shape = grid.shape[:-4]
  return turn(grid, uniform(r_angle, shape, grid.dtype, -degrees, degrees), axis=axis,
              factor=uniform(r_factor, shape, grid.dtype, *factor))


def stack(*, degrees, tilt, factor, quarters, mirror_p, shift, erase, drop, flip, axis):
  """aug(key, grid): erase, drop, turn, tilt, quarters, mirror, shift, flip, in that order; see the functions.

  The tilt is a turn in +-tilt about each of the axes that do not point up, and the mirror along one of them; the factor
  is drawn for every turn. A range () or a number 0 leaves an operation out.
  """
  others, factor = ((axis + 1) % 3, (axis + 2) % 3), tuple(factor) or (1.0, 1.0)
  scaled = factor != (1.0, 1.0)
  steps = [(random_erase, {"share": erase}, len(erase)), (random_drop, {"share": drop}, len(drop)),
           (random_turn, {"degrees": degrees, "factor": factor, "axis": axis}, degrees or scaled),
           *((random_turn, {"degrees": tilt, "factor": factor, "axis": other}, tilt or scaled) for other in others),
           (random_rot90, {"axis": axis}, quarters), (random_mirror, {"axis": others[0], "p": mirror_p}, mirror_p),
           (random_shift, {"share": shift}, shift), (random_flip, {"share": flip}, len(flip))]

  def aug(key, grid):
    grid = to_float(grid)
    for k, (step, options, wanted) in zip(jax.random.split(key, len(steps)), steps, strict=True):
      grid = step(k, grid, **options) if wanted else grid
    return grid
  return aug
