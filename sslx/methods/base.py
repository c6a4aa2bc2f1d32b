"""What a self-supervised method is, and the few pieces that methods share."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Method:
  """A self-supervised method as pure functions over pytrees; built by make(encoder, *, hyperparameters).

  init:    (rng, batch) -> (params, state); params: a dict of named groups, all trained; state: a dict of everything
           else that lives on: batch statistics, EMA targets, queues, centers, labels
  views:   (rng, batch) -> views: augments, masks or corrupts a clean batch; all randomness of the pretext task
  loss:    (params, state, views, rng, progress) -> (loss, (state, metrics)); the only function that is differentiated;
           progress in [0, 1) is the share of the run that is done
  encoder: (params, state) -> {tower: variables}; towers are named by what they read ("image", "text", ...), and
           module.apply(variables, x, train=False) is the representation [B, D]
  reads:   the batch keys it needs: image, text, mask, audio, video, depth, points, label, index
  epoch:   (params, state, rng, features [N, D]) -> (params, state, names of reset groups), or None; between epochs
  show:    (params, state, views) -> {name: images [B, H, W, C] or a matrix [M, M]}, or None; pictures for the report
  """
  init: Callable
  views: Callable
  loss: Callable
  encoder: Callable
  reads: tuple = ("image",)
  epoch: Callable | None = None
  show: Callable | None = None


class Network(nn.Module):
  """An encoder with a head on it: x [B, H, W, C] -> [B, K]."""
  encoder: nn.Module
  head: nn.Module

  def __call__(self, x, train=False):
    return self.head(self.encoder(x, train), train)


def init(net, rng, image):
  """(params, stats) of a Flax module for images like `image` [B, H, W, C] of any type, in JAX's default float type."""
  x = jnp.zeros((1, *image.shape[1:]), float)
  variables = jax.jit(net.init)(rng, x)
  wide = jax.tree.map(lambda v: v.astype(float) if jnp.issubdtype(v.dtype, jnp.floating) else v, variables)
  return wide.pop("params"), wide


def forward(net, params, stats, x, *, rng=None):
  """A training pass: (output, new stats). rng feeds dropout and the like."""
  rngs = None if rng is None else {"dropout": rng}
  return net.apply({"params": params, **stats}, x, train=True, mutable=list(stats), rngs=rngs)


def encode(net, params, stats, views, *, rng=None):
  """A training pass of every view, one size at a time: a tuple of [B, V, h, w, C] -> (z [V, B, K], new stats)."""
  out = []
  for x in views:
    z, stats = forward(net, params, stats, x.reshape(-1, *x.shape[2:]), rng=rng)
    out.append(z.reshape(*x.shape[:2], *z.shape[1:]))
  return jnp.concatenate(out, 1).swapaxes(0, 1), stats


def pairs(views, large=2):
  """Index pairs i < j of `views` views that are compared: all with at least one of the `large` views in them."""
  return [(i, j) for i in range(min(large, views)) for j in range(i + 1, views)]


def first_two(views):
  """The first two views of each image, as `show` gives them to the report."""
  return {"view 1": views[0][:, 0], "view 2": views[0][:, 1]}


def part(name, params, stats):
  """The variables of one submodule."""
  return {"params": params[name], **{k: v[name] for k, v in stats.items() if name in v}}
