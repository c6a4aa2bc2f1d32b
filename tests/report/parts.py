"""A data set, an encoder and a method of a user's own, as small as they can be, for a run that takes seconds."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sslx.augment import to_float
from sslx.data import source
from sslx.methods import base

CLASSES = ("<script>alert(1)</script>", "cats & dogs", "plain")


class Net(nn.Module):
  width: int

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.relu(nn.Conv(self.width, (3, 3), name="stem")(x))
    return jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], -1)


def encoder(*, width=6):
  return Net(width)


def method(encoder, *, noise=0.1, shows=True):
  def init(rng, batch):
    return {"net": base.init(encoder, rng, batch["image"])[0]}, {}

  def views(rng, batch):
    x = to_float(batch["image"])
    return jnp.concatenate([jnp.clip(x + noise * jax.random.normal(r, x.shape), 0, 1) for r in jax.random.split(rng)])

  def project(params, views):
    z = encoder.apply({"params": params["net"]}, views)
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)

  def loss(params, state, views, rng, progress):
    a, b = jnp.split(project(params, views), 2)
    return jnp.mean((a - b)**2), (state, {"z_std": a.std(0).mean(), "own_measure": a.mean()})

  def show(params, state, views):
    a, b = jnp.split(views, 2)
    return {"first <b>": a, "second": b, "affinity": project(params, views) @ project(params, views).T,
            "stacked": jnp.concatenate([b, a, b])}

  return base.Method(init, views, loss, lambda params, state: {"image": {"params": params["net"]}},
                     show=show if shows else None)


def data(*, split="train", channels=3, dtype="uint8", labelled=True):
  rng = np.random.default_rng(0)
  ideas, n = rng.random((3, 6, 6, channels)), 60 if split == "train" else 24
  labels = np.arange(n) % 3
  images = np.clip(ideas[labels] + 0.1 * rng.standard_normal((n, 6, 6, channels)), 0, 1)
  images = images.astype(dtype) if dtype == "float32" else (images * np.iinfo(dtype).max).astype(dtype)
  return source.from_array("parts", images, labels if labelled else None, CLASSES if labelled else None)


def pairs(*, split="train"):
  """The same with two texts each."""
  images = data(split=split)
  said = [f"{kind} of <{i}>".encode() for i in range(3) for kind in ("art", "map")]
  texts = np.stack([np.frombuffer(line, np.uint8) for line in said]).astype(np.int32).reshape(3, 2, -1) + 1
  return dataclasses.replace(images, read=lambda rows: {**images.read(rows), "text": texts[rows % 3]})


def pictures(*, split="train"):
  return data(split=split, labelled=False)
