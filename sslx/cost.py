"""What a program asks of its devices, and what devices can do at most."""

import dataclasses
import math

import jax
import jax.extend


@dataclasses.dataclass(frozen=True)
class Chip:
  """Published peaks of one device. Sources: Google Cloud's pages on TPU versions, NVIDIA's data sheets (dense, SXM)."""
  kind: str            # what jax's device_kind holds
  flops: float         # bfloat16 products, FLOP/s
  memory: float        # bytes
  bandwidth: float     # of its memory, bytes/s
  links: float         # to other devices of the slice or node, bytes/s that it can send by all links together
  shape: str = ""      # TPU: how its slices are wired: 2d or 3d


CHIPS = {
    "v4": Chip("TPU v4", 275e12, 32 * 2**30, 1.2e12, 300e9, "3d"),
    "v5e": Chip("TPU v5 lite", 197e12, 16 * 2**30, 0.8e12, 200e9, "2d"),
    "v5p": Chip("TPU v5", 459e12, 95 * 2**30, 2.765e12, 600e9, "3d"),
    "v6e": Chip("TPU v6 lite", 918e12, 32 * 2**30, 1.6e12, 400e9, "2d"),
    "a100": Chip("NVIDIA A100", 312e12, 80 * 2**30, 2.039e12, 300e9),
    "h100": Chip("NVIDIA H100", 989e12, 80 * 2**30, 3.35e12, 450e9)}


def chip_of(device):
  """The Chip that a jax device is, or None where it is not known."""
  found = [c for c in CHIPS.values() if c.kind in device.device_kind]
  return max(found, key=lambda c: len(c.kind), default=None)


def inner(eqn):
  """The jaxprs in an equation of a jaxpr."""
  parts = [j for value in eqn.params.values() for j in (value if isinstance(value, (tuple, list)) else [value])]
  return [j for j in parts if isinstance(j, (jax.extend.core.Jaxpr, jax.extend.core.ClosedJaxpr))]


def primitives(jaxpr):
  """The set of the names of all operations of a jaxpr."""
  found = set()
  for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
    found |= {eqn.primitive.name}.union(*map(primitives, inner(eqn)))
  return found


def flops(jaxpr, once=False):
  """FLOPs of the matrix products and convolutions of a jaxpr, two a multiplication; loops of known length in full.

  Recomputation (jax.checkpoint) counts, as the device does it. Of several branches the dearest counts, of a `while` one
  round. All devices together. once: each loop counts one round, as XLA's own analysis does.
  """
  total = 0
  for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
    name, p = eqn.primitive.name, eqn.params
    if name == "dot_general":
      (contracted, _), _ = p["dimension_numbers"]
      shape = eqn.invars[0].aval.shape
      total += 2 * eqn.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
    elif name == "conv_general_dilated":
      kernel, spread = eqn.invars[1].aval, math.prod(p["lhs_dilation"])           # spread by zeros, which cost nothing
      each = kernel.size // kernel.shape[p["dimension_numbers"].rhs_spec[0]]
      total += 2 * eqn.outvars[0].aval.size * each // spread
    elif name == "cond":
      total += max(flops(j, once) for j in p["branches"])
    else:
      within = sum(flops(j, once) for j in inner(eqn))
      times = (1 if once else p["length"]) if name == "scan" else p["mesh"].size if name == "shard_map" else 1
      total += times * within
  return total
