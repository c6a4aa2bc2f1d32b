"""The devices that share a batch, and batches spread over them."""

import jax
from jax.sharding import NamedSharding, PartitionSpec

from sslx import errors


def make_mesh(config):
  """The devices of config.mesh in a row named "data"; UsageError where they are too few or do not divide the batch."""
  have, wanted = jax.device_count(), config.mesh.data
  n = have if wanted == -1 else wanted
  if not 1 <= n <= have:
    raise errors.UsageError(f"mesh.data is {wanted}, and there are {have} devices: give 1 to {have}, or -1 for all")
  if config.slices < 1 or config.batch_size % (n * config.slices):
    raise errors.UsageError(f"batch_size {config.batch_size} does not divide over {n} devices"
                            + (f" in slices={config.slices}" if config.slices != 1 else "")
                            + ": change it, or mesh.data" + (", or slices" if config.slices != 1 else ""))
  return jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:n])


def place(batch, mesh):
  """A host batch, this process's share, onto the mesh, spread over "data"."""
  spread = NamedSharding(mesh, PartitionSpec("data"))
  return {k: jax.make_array_from_process_local_data(spread, v) for k, v in batch.items()}
