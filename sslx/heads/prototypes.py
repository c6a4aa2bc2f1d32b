"""Prototypes: learned directions that embeddings are compared with."""

import flax.linen as nn
import jax.numpy as jnp

from sslx import losses


class Prototypes(nn.Module):
  """Cosines of x [..., D] to `number` learned directions: [..., number], never below float32.

  Directions have length 1 whatever the parameters' length is (a weight-normed layer of gain 1).
  """
  number: int

  @nn.compact
  def __call__(self, x, train=False):
    w = self.param("prototypes", nn.initializers.lecun_normal(), (x.shape[-1], self.number), jnp.result_type(float))
    flat = losses.unit(x.reshape(-1, x.shape[-1]))
    return (flat @ losses.unit(w.T).T.astype(flat.dtype)).reshape(*x.shape[:-1], self.number)


class Chain(nn.Module):
  """Heads one after the other."""
  heads: tuple

  def __call__(self, x, train=False):
    for head in self.heads:
      x = head(x, train)
    return x
