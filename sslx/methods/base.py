"""What a self-supervised method is, and the few pieces that methods share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import losses
from sslx.augment import recipes


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
  show:    (params, state, views) -> {name: what the report shows}, or None: images [B, H, W, C], clips [B, T, H, W, C],
           a matrix [M, M], Text or Sound
  project: (params, state) -> (module, variables) whose output is z [B, K], what the loss compares; or None
  """
  init: Callable
  views: Callable
  loss: Callable
  encoder: Callable
  reads: tuple = ("image",)
  epoch: Callable | None = None
  show: Callable | None = None
  project: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Text:
  """Lines of text, as `show` gives them to the report."""
  lines: list


@dataclasses.dataclass(frozen=True)
class Sound:
  """Sounds [B, T], floats in [-1, 1], at `rate` Hz, as `show` gives them to the report."""
  samples: Any
  rate: int


class Network(nn.Module):
  """An encoder with a head on it: x [B, H, W, C] -> [B, K]."""
  encoder: nn.Module
  head: nn.Module

  def __call__(self, x, train=False):
    return self.head(self.encoder(x, train), train)


def init(net, rng, x):
  """(params, stats) of a Flax module for arrays like x [B, ...], in JAX's default float type; int32 are tokens."""
  variables = jax.jit(net.init)(rng, jnp.zeros((1, *x.shape[1:]), jnp.int32 if x.dtype == jnp.int32 else float))
  wide = jax.tree.map(lambda v: v.astype(float) if jnp.issubdtype(v.dtype, jnp.floating) else v, variables)
  return wide.pop("params"), wide


def forward(net, params, stats, *x, rng=None):
  """A training pass: (output, new stats). rng feeds dropout and the like."""
  rngs = None if rng is None else {"dropout": rng}
  return net.apply({"params": params, **stats}, *x, train=True, mutable=list(stats), rngs=rngs)


def encode(net, params, stats, views, *, rng=None):
  """A training pass of every view, one size at a time: a tuple of [B, V, h, w, C] -> (z [V, B, K], new stats)."""
  out = []
  for x in views:
    z, stats = forward(net, params, stats, x.reshape(-1, *x.shape[2:]), rng=rng)
    out.append(z.reshape(*x.shape[:2], *z.shape[1:]))
  return jnp.concatenate(out, 1).swapaxes(0, 1), stats


def predict(head, params, stats, z, *, rng=None):
  """A training pass of z [V, B, K] through a head on top: (p [V, B, P], new stats)."""
  p, stats = forward(head, params, stats, z.reshape(-1, z.shape[-1]), rng=rng)
  return p.reshape(*z.shape[:-1], -1), stats


def part(name, params, stats):
  """The variables of one submodule."""
  return {"params": params[name], **{k: v[name] for k, v in stats.items() if name in v}}


def kept(network, params, stats, tower="image"):
  """What `encoder` gives where the encoder sits in a Network."""
  return {tower: part("encoder", params[network], stats[network])}


def pairs(views, large=2):
  """Index pairs i < j of `views` views that are compared: all with at least one of the `large` views in them."""
  return [(i, j) for i in range(min(large, views)) for j in range(i + 1, views)]


def mean(terms):
  """The mean of a sequence of numbers."""
  terms = list(terms)
  return sum(terms) / len(terms)


def target(params, stats):
  """A copy of a network, to be its EMA target; a copy because the training state is donated."""
  return jax.tree.map(jnp.copy, {"params": params, "stats": stats})


def moved(old, online, momentum):
  """An EMA target's params: `momentum` of the old ones, the rest of the online ones, without gradient."""
  return jax.tree.map(lambda t, o: momentum * t + (1 - momentum) * o, old, jax.lax.stop_gradient(online))


def frozen(params, name, when):
  """The params, without gradient while `when` is true where `name` is in their path."""
  def one(path, w):
    return jnp.where(when, jax.lax.stop_gradient(w), w) if name in jax.tree_util.keystr(path) else w
  return jax.tree_util.tree_map_with_path(one, params)


def follow(net, old, online, views, momentum):
  """The target `old` moves towards the params `online` and sees the views: (z [V, B, K] without gradient, target).

  momentum: share of the old target that is kept. Batch statistics are the target's own; it drops nothing out.
  """
  params = moved(old["params"], online, momentum)
  z, stats = encode(net, params, old["stats"], views)
  return jax.lax.stop_gradient(z), {"params": params, "stats": stats}


def cosine(start, end, progress):
  """From start to end along half a cosine (Grill et al., 2020, for the momentum)."""
  return end - (end - start) * (1 + jnp.cos(jnp.pi * progress)) / 2


def climb(start, end, progress, share):
  """Linear from start to end in the first `share` of the run, then constant."""
  return start + (end - start) * (jnp.minimum(progress / share, 1) if share else 1)


def new_queue(rng, size, width):
  """`size` random unit vectors [Q, K], to stand in until examples have filled the queue."""
  return losses.unit(jax.random.normal(rng, (size, width), float))


def push(queue, new):
  """The queue [Q, K] with new rows [B, K] in front, the oldest gone."""
  return jnp.concatenate([new.astype(queue.dtype), queue])[:len(queue)]


def neighbours(z, queue, number=1):
  """The `number` rows of the queue [Q, K] most similar to each row of z [B, K], the nearest first: [B, number, K]."""
  return queue[jax.lax.top_k(losses.unit(z) @ losses.unit(queue).T, number)[1]]


def found(query, positive, negatives, *, itself=None, most=256):
  """{"top1", "top5"}: how often the positive is among the 1 or 5 candidates most similar to the query.

  query, positive: [B, K]; negatives: [M, K], the positive may be among them; itself: [B], the row of the negatives that
  is the query and does not count. Judged by the first `most` queries, so that memory stays small.
  """
  q, k = losses.unit(query[:most]), losses.unit(positive[:most])
  s = jax.lax.stop_gradient(q @ losses.unit(negatives).T)                                # [b, M]
  if itself is not None:
    s = jnp.where(itself[:most, None] == jnp.arange(len(negatives)), -2, s)
  above = jnp.sum(s > jax.lax.stop_gradient(jnp.sum(q * k, -1, keepdims=True)) + 1e-6, -1)
  return {f"top{n}": jnp.mean((above < n).astype(float)) for n in (1, 5)}


def shown(views):
  """The first two views of each image, and the first of each smaller size, as `show` gives them to the report."""
  large, *rest = views["image"]
  return ({f"view {i + 1}": large[:, i] for i in range(min(2, large.shape[1]))}
          | {f"small view{f' {i}' if i > 1 else ''}": x[:, 0] for i, x in enumerate(rest, 1)})


def augmented(aug, reads=("image",), number=2):
  """`views` of a method that augments images: {"image": a tuple of [B, V, h, w, C], what else it reads: as it is}."""
  def views(rng, batch):
    return {k: recipes.views(aug, rng, batch[k], number=number) if k == "image" else batch[k] for k in reads}
  return views


def joint(net, aug, objective, *, reads=("image",), number=2, affinity=False):
  """A method with one network: objective(z [V, B, K], views, rng, progress) -> (loss, metrics) is all it adds.

  number: of views. affinity: whether the report shows the cosines between all views of a batch.
  """
  def init_(rng, batch):
    params, stats = init(net, rng, batch["image"])
    return {"net": params}, {"net": stats}

  def loss(params, state, views, rng, progress):
    rng, rng_net = jax.random.split(rng)
    z, stats = encode(net, params["net"], state["net"], views["image"], rng=rng_net)
    value, metrics = objective(z, views, rng, progress)
    return value, ({"net": stats}, metrics | {"z_std": losses.feature_std(z[0])})

  def show(params, state, views):
    if not affinity:
      return shown(views)
    z = losses.unit(jnp.concatenate(encode(net, params["net"], state["net"], views["image"])[0][:2]))
    return shown(views) | {"affinity": z @ z.T}

  return Method(init_, augmented(aug, reads, number), loss, lambda params, state: kept("net", params, state),
                reads=reads, show=show, project=lambda params, state: (net, {"params": params["net"], **state["net"]}))


def siamese(net, aug, objective, *, predictor=None, momentum=None, queue=0, symmetric=True):
  """A method whose views predict a target: objective(p, t, pairs, queue, progress) -> (loss, metrics) is all it adds.

  Args:
    net: encoder and projector, a Network.
    aug: (key, image) -> views.
    objective: p [P, B, K] are the predictions, with gradient; t [T, B, K] the targets, without; pairs the indices (of
      t, of p) that belong together; queue [Q, K] the targets of earlier steps, or None; progress the share of the run.
    predictor: head on the projection, or None.
    momentum: progress -> share of the old target network that is kept; None: the target is the network itself.
    queue: number of earlier targets that are remembered; those of the first view.
    symmetric: whether all large views are targets and all views predict, or the others predict the first.
  """
  def init_(rng, batch):
    r_net, r_predictor, r_queue = jax.random.split(rng, 3)
    params, stats = init(net, r_net, batch["image"])
    shape = jax.eval_shape(lambda: net.apply({"params": params, **stats}, jnp.zeros((1, *batch["image"].shape[1:]))))
    params, state = {"net": params}, {"net": stats}
    if predictor is not None:
      params["predictor"], state["predictor"] = init(predictor, r_predictor, shape)
    if momentum is not None:
      state["target"] = target(params["net"], stats)
    if queue:
      state["queue"] = new_queue(r_queue, queue, shape.shape[-1])
    return params, state

  def loss(params, state, views, rng, progress):
    r_net, r_predictor = jax.random.split(rng)
    first, *rest = views["image"]
    large, state = first if symmetric else first[:, :1], dict(state)
    seen = views["image"] if symmetric else (first[:, 1:], *rest)
    p, state["net"] = encode(net, params["net"], state["net"], seen, rng=r_net)
    if momentum is None:
      t = jax.lax.stop_gradient(p[:large.shape[1]])
    else:
      t, state["target"] = follow(net, state["target"], params["net"], (large,), momentum(progress))
    z_std = losses.feature_std(p[0])
    if predictor is not None:
      p, state["predictor"] = predict(predictor, params["predictor"], state["predictor"], p, rng=r_predictor)
    pairs_ = [(i, j) for i in range(len(t)) for j in range(len(p)) if i != j or not symmetric]
    value, metrics = objective(p, t, pairs_, state.get("queue"), progress)
    if queue:
      state["queue"] = push(state["queue"], losses.unit(t[0]))
    return value, (state, metrics | {"z_std": z_std})

  return Method(init_, augmented(aug), loss, lambda params, state: kept("net", params, state),
                show=lambda params, state, views: shown(views),
                project=lambda params, state: (net, {"params": params["net"], **state["net"]}))
