"""Keeping a part of a program to itself."""

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def apart(f):
  """f(*arrays), compiled on its own on CPUs, where XLA computes its result once.

  Left to itself XLA merges long elementwise chains into every loop that reads them, and then computes them over and
  over: some hundred times slower where that loop pads or concatenates. Other platforms merge more wisely, and outside
  of jit nothing is merged.
  """
  def plain(*args):
    with set_xla_metadata(inlineable=None):                  # for f as a whole, not for the functions it calls
      return f(*args)

  def called(*args):
    with set_xla_metadata(inlineable="false"):
      return jax.jit(plain)(*args)

  def run(*args):
    if not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args)):
      return f(*args)
    return jax.lax.platform_dependent(*args, cpu=called, default=f)
  return run
