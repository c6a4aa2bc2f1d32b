"""3x3 convolutions whose kernel's gradient is a product of matrices on CPUs, where XLA's own form of it is slow."""

import math

import jax
import jax.numpy as jnp
from jax import lax

ROWS = 4096                                                # places that one product takes at most: caches hold them
LEAST = 128                                                # below that many, products are too small to be worth it
NHWC = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def convolve(x, kernel, strides, padding, *, dimension_numbers, lhs_dilation=None, rhs_dilation=None,
             feature_group_count=1, precision=None):
  """lax.conv_general_dilated, as nn.Conv(conv_general_dilated=convolve) calls it, with another gradient where it fits.

  It fits x [B, H, W, C] and kernels [3, 3, C, K] of stride 1 with a border of one pixel: the numbers are the same but
  for rounding. On GPUs and TPUs, and under shard_map and pmap, nothing changes. There is no forward-mode derivative.
  """
  border = padding if isinstance(padding, str) else tuple(map(tuple, padding))
  plain = (dimension_numbers == NHWC and tuple(strides) == (1, 1) and border in ("SAME", ((1, 1), (1, 1)))
           and {1, None} >= {*(lhs_dilation or ()), *(rhs_dilation or ()), feature_group_count} and precision is None)
  known = x.ndim == 4 and all(isinstance(n, int) for n in x.shape)                      # an exported program's is open
  enough = known and split(x.shape)[2] * math.prod(x.shape[1:3]) >= LEAST
  alone = not jax.sharding.get_abstract_mesh().manual_axes   # a cotangent under shard_map is of another kind
  if plain and enough and alone and kernel.shape[:2] == (3, 3) and x.dtype == kernel.dtype:
    return same(x, kernel)
  return lax.conv_general_dilated(x, kernel, strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
                                  feature_group_count, precision=precision)


def plainly(x, kernel):
  return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)


@jax.custom_vjp
def same(x, kernel):
  """x [B, H, W, C], kernel [3, 3, C, K] -> [B, H, W, K]."""
  return plainly(x, kernel)


def _forward(x, kernel):
  return plainly(x, kernel), (x, kernel)


def _backward(kept, g):
  x, kernel = kept
  by_convolution = lambda x, g: jax.linear_transpose(lambda k: plainly(x, k), kernel)(g)[0]
  slope = lax.platform_dependent(x, g, cpu=by_products, default=by_convolution)
  return jax.linear_transpose(lambda x: plainly(x, kernel), x)(g)[0], slope


same.defvjp(_forward, _backward)


def split(shape):
  """(parts, slices, images of a slice) of a batch: a part a device, so that each slices what it holds itself."""
  batch, places = shape[0], math.prod(shape[1:3])
  parts = math.gcd(batch, jax.device_count())
  images = math.gcd(batch // max(parts, 1), 2 ** max(0, (ROWS // places).bit_length() - 1)) if batch and places else 0
  return parts, batch // (parts * images) if images else 0, images


def by_products(x, g):
  """The kernel's gradient [3, 3, C, K] of x [B, H, W, C] and that of the output, g [B, H, W, K].

  x moved along W by each of the kernel's columns, g along H by each of its rows: one product gives all nine places.
  """
  (_, h, w, c), k = x.shape, g.shape[-1]
  cut = lambda v: jnp.moveaxis(v.reshape(*split(v.shape), *v.shape[1:]), 1, 0)           # [slices, parts, b, h, w, ...]

  def product(x, g):                                                                    # [b, h, w, C], [b, h, w, K]
    x, g = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0))), jnp.pad(g, ((0, 0), (1, 1), (0, 0), (0, 0)))
    x = jnp.concatenate([x[:, :, j:j + w] for j in range(3)], -1).reshape(-1, 3 * c)
    g = jnp.concatenate([g[:, 2 - i:2 - i + h] for i in range(3)], -1).reshape(-1, 3 * k)
    return lax.dot_general(x, g, (((0,), (0,)), ((), ())))                              # [3 C, 3 K]
  products = lax.map(lambda slices: jax.vmap(product)(*slices), (cut(x), cut(g)))
  return products.sum((0, 1)).reshape(3, c, 3, k).transpose(2, 0, 1, 3)


def patched(x, kernel, strides, padding, *, precision=None, **_):
  """nn.Conv(conv_general_dilated=patched) of patches that do not overlap, as one product.

  x [B, h P, w Q, C], kernel [P, Q, C, K] -> [B, h, w, K]; strides are (P, Q), padding is "VALID". Under jax.vmap over
  kernels it is a product still, where convolutions become grouped ones, at which CPUs are slow.
  """
  (B, H, W, C), (P, Q) = x.shape, kernel.shape[:2]
  return jnp.einsum("bhpwqc,pqck->bhwk", x.reshape(B, H // P, P, W // Q, Q, C), kernel, precision=precision)
