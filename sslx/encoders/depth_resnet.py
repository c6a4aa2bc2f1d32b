"""ResNet (He et al., 2016) on the logarithm of depth: what is twice as far is one step away, near or far."""

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.encoders import resnet

VARIANTS = {f"depth_{name}": resnet.VARIANTS[name] for name in ("resnet10", "resnet18", "resnet34", "resnet50")}
LARGEST = 65535                                            # of a map of 16 bits, which is 1.0


def make(variant, *, width=64, stem="imagenet", mean=(0.8,), std=(0.1,), dtype=None, axis_name=None):
  """A ResNet of `variant` that reads depth maps [B, H, W, 1] in [0, 1], shares of 65535; 0 is unknown.

  Args:
    width, stem, dtype, axis_name: as of `resnet`.
    mean, std: of log(1 + d) / log(65536), d the number in the map.
  """
  return Depth(resnet.make(variant, width=width, stem=stem, mean=mean, std=std, dtype=dtype, axis_name=axis_name))


class Depth(nn.Module):
  """Depth maps [B, H, W, 1] in [0, 1] -> what the trunk, an encoder of images, gives for their logarithm."""
  trunk: nn.Module

  def __call__(self, x, train=False):
    """x [B, H, W, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  def features(self, x, train=False):
    """x [B, H, W, 1] -> the trunk's features."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
      raise errors.UsageError(f"a depth map of {x.dtype} where floats in [0, 1] are needed: bring it there by to_float")
    return self.trunk.features(jnp.log1p(LARGEST * x) / jnp.log(LARGEST + 1.0), train)
