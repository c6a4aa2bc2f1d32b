"""Convolutions whose kernel's gradient is a product of matrices on CPUs, where XLA's own form of it is slow."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from sslx.encoders.layers import alone

ROWS = 4096                                                # places that one product takes at most: caches hold them
LEAST = 128                                                # below that many, products are too small to be worth it
NHWC = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def convolve(x, kernel, strides, padding, *, dimension_numbers, lhs_dilation=None, rhs_dilation=None,
             feature_group_count=1, precision=None):
  """lax.conv_general_dilated, as nn.Conv(conv_general_dilated=convolve) calls it, with another gradient where it fits.

  It fits x [B, H, W, C] and kernels [3, 3, C, K] with a border of one pixel or [1, 1, C, K] without, of stride 1 or 2:
  the numbers are the same but for rounding. On GPUs and TPUs, and under shard_map and pmap, nothing changes. On CPUs
  there is no forward-mode derivative.
  """
  size, stride = kernel.shape[0], strides[0]
  border = ((size // 2,) * 2,) * 2
  same = {border, *(["SAME"] if size == 1 or stride == 1 else []), *(["VALID"] if size == 1 else [])}
  plain = (dimension_numbers == NHWC and tuple(strides) in ((1, 1), (2, 2))
           and (padding if isinstance(padding, str) else tuple(map(tuple, padding))) in same
           and {1, None} >= {*(lhs_dilation or ()), *(rhs_dilation or ()), feature_group_count} and precision is None)
  known = x.ndim == 4 and all(isinstance(n, int) for n in x.shape)                      # an exported program's is open
  enough = known and split(places(x, stride))[2] * math.prod(places(x, stride)[1:]) >= LEAST
  fits = plain and enough and alone(x) and kernel.shape[:2] in ((1, 1), (3, 3)) and x.dtype == kernel.dtype
  if fits and jax.default_backend() == "cpu":
    return bordered(x, kernel, stride)
  return lax.conv_general_dilated(x, kernel, strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
                                  feature_group_count, precision=precision)


def plainly(x, kernel, stride):
  border = (kernel.shape[0] // 2,) * 2
  return lax.conv_general_dilated(x, kernel, (stride, stride), (border, border), dimension_numbers=NHWC)


def places(x, stride):
  """(B, h, w) of the output for x [B, H, W, C]."""
  return len(x), -(-x.shape[1] // stride), -(-x.shape[2] // stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def bordered(x, kernel, stride):
  """x [B, H, W, C], kernel [3, 3, C, K] or [1, 1, C, K] -> [B, h, w, K], H and W over the stride, rounded up."""
  return plainly(x, kernel, stride)


def _forward(x, kernel, stride):
  return plainly(x, kernel, stride), (x, kernel)


def _backward(stride, kept, g):
  x, kernel = kept
  by_convolution = lambda x, g: jax.linear_transpose(lambda k: plainly(x, k, stride), kernel)(g)[0]
  by_matrices = functools.partial(by_products, size=kernel.shape[0], stride=stride)
  slope = lax.platform_dependent(x, g, cpu=by_matrices, default=by_convolution)
  return jax.linear_transpose(lambda x: plainly(x, kernel, stride), x)(g)[0], slope


bordered.defvjp(_forward, _backward)


def split(shape):
  """(parts, slices, images of a slice) of a batch with outputs (B, h, w): a part a device, of what it holds itself."""
  batch, outputs = shape[0], math.prod(shape[1:])
  parts = math.gcd(batch, jax.device_count())
  images = math.gcd(batch // max(parts, 1), 2 ** max(0, (ROWS // outputs).bit_length() - 1)) if batch and outputs else 0
  return parts, batch // (parts * images) if images else 0, images


def by_products(x, g, size, stride):
  """The kernel's gradient [size, size, C, K] of x [B, H, W, C] and that of the output, g [B, h, w, K].

  One product gives all places of the kernel: of x moved by each of them; at stride 1 of x moved by the kernel's columns
  and g by its rows, which is less to move.
  """
  (_, h, w, k), c, edge = g.shape, x.shape[-1], (size // 2,) * 2
  cut = lambda v: jnp.moveaxis(v.reshape(*split(g.shape[:3]), *v.shape[1:]), 1, 0)       # [slices, parts, b, ...]
  moved = lambda v, axis, length: [lax.slice_in_dim(v, i, i + stride * (length - 1) + 1, stride, axis)
                                   for i in range(size)]

  def product(x, g):                                                                    # [b, H, W, C], [b, h, w, K]
    x = jnp.pad(x, ((0, 0), edge if stride > 1 else (0, 0), edge, (0, 0)))
    columns = jnp.concatenate(moved(x, 2, w), -1)                                       # [b, .., w, size C]
    if stride > 1:
      x = jnp.concatenate(moved(columns, 1, h), -1)
    else:
      x, g = columns, jnp.concatenate(moved(jnp.pad(g, ((0, 0), edge, (0, 0), (0, 0))), 1, h)[::-1], -1)
    return jnp.tensordot(x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1]), (0, 0))
  products = lax.map(lambda xg: jax.vmap(product)(*xg), (cut(x), cut(g))).sum((0, 1))
  if stride > 1:
    return products.reshape(size, size, c, k)
  return products.reshape(size, c, size, k).transpose(2, 0, 1, 3)


def patched(x, kernel, strides, padding, *, precision=None, **_):
  """nn.Conv(conv_general_dilated=patched) of patches that do not overlap, as one product.

  x [B, h P, w Q, C], kernel [P, Q, C, K] -> [B, h, w, K]; strides are (P, Q), padding is "VALID". Under jax.vmap over
  kernels it is a product still, where convolutions become grouped ones, at which CPUs are slow.
  """
  (B, H, W, C), (P, Q) = x.shape, kernel.shape[:2]
  return jnp.einsum("bhpwqc,pqck->bhwk", x.reshape(B, H // P, P, W // Q, Q, C), kernel, precision=precision)
