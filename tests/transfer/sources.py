"""Encoders that nobody trained, exported as a run would, for tests of what is built on them."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx import checkpoint, config, encoders

TOY = {"width": 2, "stem": "small", "mean": (0.3,), "std": (0.38,)}


def exported(folder, name="resnet10", shape=(8, 8, 1), seed=0, **options):
  """(path of a workdir with an encoder whose every number, statistics included, is random; module; variables)."""
  module = encoders.make(name, **options)
  c = config.default()
  c.encoder = encoders.options(name, **options)
  variables = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, *shape))))
  rng = np.random.default_rng(seed)
  variables = jax.tree.map(lambda v: rng.uniform(0.1, 0.3, v.shape).astype(v.dtype), variables)
  spec = checkpoint.spec_of(config.plain(c), {"data": {"shape": list(shape)}, "versions": {}})
  checkpoint.export_encoder(folder / "encoder", variables, spec | {"step": 1})
  return str(folder), module, variables
