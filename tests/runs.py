"""Small runs that several tests make."""

import jax
import numpy as np

from sslx import checkpoint, config, encoders, log, methods
from sslx.augment import recipes


def tiny(**changed):
  """Twelve steps with the small encoder of tests/own on one device."""
  c = config.default()
  c.total_steps, c.batch_size = 12, 32
  c.mesh.data = 1
  c.encoder = encoders.options("own.encoder", width=8)
  c.method = methods.options("simclr", widths=(16, 8), aug=recipes.options("handwriting"))
  c.checkpoint.every, c.log.every = 4, 2
  for key, value in changed.items():
    *path, last = key.split("__")
    group = c
    for name in path:
      group = group[name]
    group[last] = value
  return c


def leaves(workdir, step=None):
  """All that a checkpoint holds, as numpy arrays."""
  saved = checkpoint.Checkpoints(workdir, create=False)
  return [np.asarray(x) for x in jax.tree.leaves(saved.restore_plain(step)[1])]


def numbers(workdir):
  """The records of metrics.jsonl, what the clock says left out."""
  return [{k: v for k, v in r.items() if k not in log.CLOCK} for r in log.read(f"{workdir}/metrics.jsonl")]
