"""The tables there are, by encoder."""

import jax
import numpy as np

from sslx import checkpoint, errors
from sslx.interop import alexnet, convnext, resnet, vgg, vit

ALL = (resnet, vit, convnext, vgg, alexnet)


def of(module):
  """The table's module for an encoder; a UsageError for one of the user's own."""
  found = next((a for a in ALL if isinstance(module, a.MODULE)), None)
  if found is None:
    raise errors.UsageError(f"there is no table for {type(module).__name__}, which those libraries do not have: export "
                            "it with --to safetensors or stablehlo")
  return found


def named(name):
  """The table's module for a built-in encoder's name."""
  known = {n: a for a in ALL for n in a.FAMILY.VARIANTS}
  if name not in known:
    raise errors.unknown("encoder", name, known)
  return known[name]


def shapes(module, shape):
  """{our name: shape} of an encoder for images (H, W, C), scanned blocks apart."""
  x = jax.ShapeDtypeStruct((1, *shape), float)
  tree = jax.eval_shape(module.init, jax.eval_shape(lambda: jax.random.key(0)), x)
  flat = {k: np.broadcast_to(np.float32(0), v.shape) for k, v in checkpoint.flat(tree).items()}
  return {k: v.shape for k, v in apart(flat).items()}


BLOCKS = "params/blocks/"


def apart(ours):
  """A flat dict with scanned blocks as block1, block2, ..."""
  out = {}
  for key, a in ours.items():
    if key.startswith(BLOCKS):
      out |= {f"params/block{i}/{key.removeprefix(BLOCKS)}": v for i, v in enumerate(a, 1)}
    else:
      out[key] = a
  return out


def together(ours, module):
  """The opposite of `apart`, where the encoder scans its blocks."""
  if not getattr(module, "scan", False):
    return ours
  last = {k.removeprefix("params/block1/") for k in ours if k.startswith("params/block1/")}
  stacked = {BLOCKS + k: np.stack([ours[f"params/block{i}/{k}"] for i in range(1, module.depth + 1)]) for k in last}
  return {k: a for k, a in ours.items() if not k.startswith("params/block")} | stacked
