"""What a self-supervised method is, and the few pieces that methods share."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import errors, losses


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
  reads:   the batch keys it needs: image, text, mask, audio, video, depth, voxels, points, label, index
  epoch:   (params, state, rng, features [N, D]) -> (params, state, names of reset groups), or None; between epochs
  show:    (params, state, views) -> {name: what the report shows}, or None: images [B, H, W, C], clips [B, T, H, W, C],
           a matrix [M, M], Text, Sound or Captioned
  project: (params, state) -> (module, variables) whose output is z [B, K], what the loss compares; or None
  spaces:  (params, state) -> {tower: (module, variables)} of methods that compare towers, each as `project`; or None
  caption: (params, state, images [B, H, W, C]) -> ids [B, T] of a text for each, 0 behind its end; or None; with it
           `captions` of evaluate judges what a method says, as the other protocols judge what its encoder gives
  """
  init: Callable
  views: Callable
  loss: Callable
  encoder: Callable
  reads: tuple = ("image",)
  epoch: Callable | None = None
  show: Callable | None = None
  project: Callable | None = None
  spaces: Callable | None = None
  caption: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Text:
  """Lines of text, as `show` gives them to the report."""
  lines: list


@dataclasses.dataclass(frozen=True)
class Captioned:
  """Images [B, H, W, C] in [0, 1] and what stands below each, a list of lines, as `show` gives them to the report."""
  images: Any
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


def ranges(*, most=None, **values):
  """A UsageError for ranges, name=(low, high), that are none, or not within 0 and `most`; () is allowed."""
  for name, value in values.items():
    if len(value) and not (len(value) == 2 and value[0] <= value[1]):
      raise errors.UsageError(f"{name} is {tuple(value)}: a range takes two numbers, the lower one first")
    if most is not None and len(value) and not 0 <= value[0] <= value[1] <= most:
      raise errors.UsageError(f"{name} is {tuple(value)}: it must lie between 0 and {most:g}")


def init(net, rng, x):
  """(params, stats) of a Flax module for arrays like x [B, ...], in JAX's default float type; int32 are tokens."""
  variables = jax.jit(net.init)(rng, jnp.zeros((1, *x.shape[1:]), jnp.int32 if x.dtype == jnp.int32 else float))
  wide = jax.tree.map(lambda v: v.astype(float) if jnp.issubdtype(v.dtype, jnp.floating) else v, variables)
  return wide.pop("params"), wide


SLICES = contextvars.ContextVar("slices", default=1)


@contextlib.contextmanager
def sliced(number):
  """A context in which `forward` takes the batch in so many slices (GradCache: Gao et al., 2021)."""
  before = SLICES.set(number)
  try:
    yield
  finally:
    SLICES.reset(before)


def forward(net, params, stats, *x, rng=None, method=None):
  """A training pass: (output, new stats), x and output with the batch in front. rng feeds dropout and the like.

  Under `sliced(n)` n slices go one after the other, and their activations are computed again when gradients are: the
  memory is that of one slice, the loss sees all of the output. Gradients are the same but where an example's output
  hangs on others in the batch: batch norm is of each slice by itself, its running statistics move once, by their mean.
  (On CPU a convolution's gradient is some 30 times slower in such a loop; dense layers are not.)
  """
  def run(params, x, rng):
    rngs = None if rng is None else {"dropout": rng}
    return net.apply({"params": params, **stats}, *x, train=True, mutable=list(stats), rngs=rngs, method=method)

  if (n := SLICES.get()) == 1:
    return run(params, x, rng)
  B = min(map(len, jax.tree.leaves(x)))                      # what has more rows has several for each of these (ibot)
  if B % n:
    raise errors.UsageError(f"a network's batch of {B} does not divide into slices={n}")
  each = lambda a, *order: a.reshape(*order, -1, *a.shape[1:]).swapaxes(0, 1)
  cut = lambda a: each(a, B // n, n).reshape(n, len(a) // n, *a.shape[1:])       # every n-th: a spread batch stays put
  join = lambda a: each(a.reshape(-1, *a.shape[2:]), n, B // n).reshape(-1, *a.shape[2:])
  keys = None if rng is None else jax.random.split(rng, n)
  again = jax.checkpoint(run)
  _, (out, found) = jax.lax.scan(lambda _, one: (None, again(params, *one)), None, (jax.tree.map(cut, x), keys))
  return jax.tree.map(join, out), jax.tree.map(lambda s: s.mean(0), found)


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
