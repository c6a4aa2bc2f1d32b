"""The smallest encoder, and views of several sizes, for tests of methods; which of these the fast suite takes whole."""

import flax.linen as nn
import jax
import numpy as np

FAMILIES = ("simclr", "moco", "byol", "dino", "deepcluster", "context_encoder")     # of several kinds
IMAGES = np.random.default_rng(0).random((4, 3, 3, 1), np.float32)


class Linear(nn.Module):
  """The smallest encoder there is: the mean over pixels through a dense layer."""

  @nn.compact
  def __call__(self, x, train=False):
    return nn.Dense(5)(x.mean((1, 2)))


class Conv(nn.Module):
  """The smallest encoder with maps: two convolutions, the second of stride 2."""
  width: int = 4

  def __call__(self, x, train=False):
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    first = nn.relu(nn.Conv(self.width, (3, 3))(x))
    last = nn.relu(nn.Conv(2 * self.width, (3, 3), 2)(first))
    return {"stage1": first, "stage2": last, "grid": last, "pooled": last.mean((1, 2))}


def several(key, image):
  """Two views and three smaller ones of each image [B, H, W, C], all different."""
  draw = lambda k, n, v: v[:, None] * jax.random.uniform(k, (len(v), n, 1, 1, 1))
  first, second = jax.random.split(key)
  return draw(first, 2, image), draw(second, 3, image[:, :2, :2])
