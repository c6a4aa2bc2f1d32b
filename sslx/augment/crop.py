"""Crops and resizing. Images are floats [..., H, W, C] in [0, 1]."""

import functools
import math

import jax
import jax.numpy as jnp

from sslx import errors
from sslx.augment.apart import apart
from sslx.augment.boxes import random_box
from sslx.augment.exact import rounded, total


def _triangle(t):
  """The bilinear kernel at distances t >= 0, of radius 1."""
  return jnp.maximum(0, 1 - t)


def _keys(t):
  """The bicubic kernel of Keys (1981) with a = -1/2 at distances t >= 0, of radius 2."""
  near = rounded((t + 0.5 * t - 2.5) * t * t) + 1
  far = rounded((rounded((2.5 - 0.5 * t) * t) - 4) * t) + 2
  return jnp.where(t < 1, near, jnp.where(t < 2, far, 0))


KERNELS = {"bilinear": (_triangle, 1), "bicubic": (_keys, 2)}           # and their radius
METHODS = ("nearest", *KERNELS)
MOST = 16                                                               # pixels a place that are summed one by one


def _weights(start, length, full, size, dtype, method, sparse):
  """(first, weights [..., size, T]) that resample [start, start + length) of an axis to `size` places.

  Place i is the sum of T pixels from first[..., i] on: of all of them (first is None) or, where `sparse`, of the few
  that have weight. Antialiased: the kernel is as wide as one place where that shrinks, never leaves the crop, and its
  weights sum to one.
  """
  start, length = (jnp.asarray(v).astype(jnp.int32)[..., None] for v in (start, length))
  twice = (2 * jnp.arange(size) + 1) * length                                   # the centres of places, times 2 size
  if method == "nearest":                                                               # the pixel under the centre
    at = start + twice // (2 * size)
    return (at, jnp.ones((*at.shape, 1), dtype)) if sparse else (None, _picks(at, full, dtype))
  kernel, radius = KERNELS[method]
  wide = jnp.maximum(length, size)
  first = (twice - 2 * radius * wide + size) // (2 * size) + start if sparse else jnp.zeros((size,), jnp.int32)
  exact = jnp.promote_types(dtype, jnp.float32)                                         # counts pixels exactly
  reach = _reach(full, size, method) if sparse else full
  pixel = (first - start)[..., None].astype(exact) + jnp.arange(reach, dtype=exact) + 0.5                # in the crop
  center, wide, length = (v[..., None].astype(exact) for v in (twice, wide, length))
  weights = kernel(jnp.abs(pixel * size - center / 2) / wide)                           # rounds here and only here
  weights = jnp.where((pixel > 0) & (pixel < length), weights, 0)
  weights = (weights / total(weights, -1)).astype(dtype)
  return first if sparse else None, weights


def _within(start, length, full, size):
  """(start, length, full, size) of what lies in [0, full) of an axis, a pixel at least."""
  first = jnp.clip(start, 0, full - 1)
  return first, jnp.clip(start + length, first + 1, full) - first, full, size


def _reach(full, size, method):
  """How many pixels of an axis can have weight in one place."""
  return 1 if method == "nearest" else math.ceil(2 * KERNELS[method][1] * max(full / size, 1))


def _picks(at, full, dtype):
  """Rows [..., size, full] that pick the places `at` [..., size] of an axis; a place outside picks nothing, so zero."""
  return (jnp.asarray(at)[..., None] == jnp.arange(full)).astype(dtype)


def _product(rows, image, cols):
  """rows [..., h, H] times the image times cols [..., w, W]: [..., h, w, C]."""
  high = jax.lax.Precision.HIGHEST
  image = jnp.einsum("...hH,...HWC->...hWC", rows, image, precision=high)
  return jnp.einsum("...wW,...hWC->...hwC", cols, image, precision=high)


def _summed(image, first, weights):
  """The rows of the image [..., H, W, C] resampled, and rows and columns exchanged: [..., W, h, C]."""
  *batch, H, W, C = image.shape
  image, out = image.reshape(*batch, H, W * C), None
  first, weights = (jnp.broadcast_to(v, (*batch, *v.shape[v.ndim - n:])) for v, n in ((first, 1), (weights, 2)))
  for t in range(weights.shape[-1]):
    at = jnp.clip(first + t, 0, H - 1)[..., None]
    term = weights[..., t, None] * jnp.take_along_axis(image, at, -2, mode="promise_in_bounds")
    term = rounded(term) if weights.shape[-1] > 1 else term
    out = term if out is None else out + term
  return jnp.swapaxes(out.reshape(*batch, -1, W, C), -3, -2)


def crop_resize(image, box, size, *, method="bilinear"):
  """Cuts `box` = (top, left, height, width) in whole pixels, scalars or one an image, and resizes it to size = (h, w).

  First the crop, then the resize, as torchvision's resized_crop: "bilinear" or "bicubic", both antialiased, or
  "nearest", the pixel under each centre (torchvision's nearest-exact). Bicubic values are clipped to [0, 1].

  What of a box is beyond the image is left out. Two matrix products, no gather; on CPUs, where most of such a product
  is lost on zeros, sums of gathered rows instead.
  """
  if method not in METHODS:
    raise errors.unknown("method of a crop", method, METHODS)
  return _cut(image, tuple(jnp.asarray(v) for v in box), tuple(size), method)


@functools.partial(jax.jit, static_argnames=("size", "method"))
def _cut(image, box, size, method):
  """crop_resize."""
  spans = lambda box: (_within(box[0], box[2], image.shape[-3], size[0]),
                       _within(box[1], box[3], image.shape[-2], size[1]))

  def products(image, *box):
    rows, cols = (_weights(*span, image.dtype, method, False)[1] for span in spans(box))
    return _product(rows, image, cols)

  def sums(image, *box):
    for span in spans(box):
      image = apart(_summed)(image, *_weights(*span, image.dtype, method, True))
    return image

  if max(_reach(*span[2:], method) for span in spans(box)) > MOST:
    image = products(image, *box)
  else:
    image = jax.lax.platform_dependent(image, *box, cpu=sums, default=products)
  return jnp.clip(image, 0, 1) if method == "bicubic" else image


def resize(image, size, *, method="bilinear"):
  """The whole image at another size = (h, w), by the methods of crop_resize."""
  return crop_resize(image, (0, 0, *image.shape[-3:-1]), size, method=method)


def center_crop(image, size):
  """The middle of size = (h, w); where that is larger than the image, black is added around it."""
  for axis, n in zip((-3, -2), size, strict=True):
    extra = max(n - image.shape[axis], 0)
    axis += image.ndim
    image = jnp.pad(image, [(extra // 2, (extra + 1) // 2) if i == axis else (0, 0) for i in range(image.ndim)])
    start = round((image.shape[axis] - n) / 2)
    image = jax.lax.slice_in_dim(image, start, start + n, axis=axis)
  return image


def pad_and_crop(image, top, left, *, padding=4, size=None, mode="constant"):
  """Pads by `padding` pixels on each side and cuts size = (h, w) at (top, left), whole pixels, scalars or one an image.

  The size is by default the image's own, the border black ("constant"), the nearest pixel ("edge") or mirrored
  ("reflect"). Two matrix products with ones and zeros, so exact and without a gather.
  """
  if mode not in ("constant", "edge", "reflect"):
    raise ValueError(f"mode must be constant, edge or reflect, not {mode}")
  def rows(start, full, n):
    at = jnp.asarray(start).astype(jnp.int32)[..., None] + jnp.arange(n) - padding
    if mode == "edge":
      at = jnp.clip(at, 0, full - 1)
    if mode == "reflect":
      turn = max(2 * (full - 1), 1)
      at = jnp.minimum(at % turn, turn - at % turn)
    return _picks(at, full, image.dtype)
  H, W = image.shape[-3:-1]
  h, w = size or (H, W)
  return _product(rows(top, H, h), image, rows(left, W, w))


def random_pad_and_crop(key, image, *, padding=4, size=None, mode="constant"):
  """pad_and_crop at a random place: moves of up to `padding` pixels; with padding=0 and a size, a random crop."""
  h, w = size or image.shape[-3:-1]
  room = (image.shape[-3] + 2 * padding - h, image.shape[-2] + 2 * padding - w)
  if min(room) < 0:
    raise ValueError(f"a crop of {(h, w)} is larger than an image of {image.shape[-3:-1]} with {padding} pixels around")
  places = zip(jax.random.split(key), room, strict=True)
  top, left = (jax.random.randint(k, image.shape[:-3], 0, r + 1) for k, r in places)
  return pad_and_crop(image, top, left, padding=padding, size=(h, w), mode=mode)


def random_resized_crop(key, image, *, size=None, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), method="bilinear"):
  """A random box of each image resized to `size` = (h, w), by default the image's own (Szegedy et al., 2015)."""
  full = image.shape[-3:-1]
  box = random_box(key, image.shape[:-3], full, scale=scale, ratio=ratio)
  return crop_resize(image, box, size or full, method=method)
