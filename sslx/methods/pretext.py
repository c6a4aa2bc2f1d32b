"""What pretext tasks have in common: puzzles, whose head answers what was done to the views, painters and critics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from sslx import augment, errors, losses
from sslx.augment import recipes
from sslx.methods import base


def each(z):
  """z [V, B, D] with an answer to every view: [V B, D]."""
  return z.reshape(-1, z.shape[-1])


def together(z):
  """z [V, B, D] with one answer to all views of an image, which lie side by side: [B, V D]."""
  return z.swapaxes(0, 1).reshape(z.shape[1], -1)


def chosen(logits, label):
  """(cross-entropy, accuracy) of logits [..., K] for classes [...]."""
  value = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
  return value, (logits.argmax(-1) == label).mean(dtype=logits.dtype)


def puzzle(encoder, head, views, arrange, objective, show=None):
  """A method whose head answers for what the views hold besides images.

  Args:
    views: (rng, batch) -> {"image": a tuple of [B, V, h, w, C], the answers}.
    arrange: z [V, B, D] -> what the head reads, `each` or `together`.
    objective: (out, views) -> (loss, metrics); out is the head's.
    show: (out, views) -> {name: images}, or None.
  """
  def init(rng, batch):
    r_views, r_encoder, r_head = jax.random.split(rng, 3)
    made = jax.eval_shape(views, r_views, batch)["image"]
    params, stats = base.init(encoder, r_encoder, jax.ShapeDtypeStruct((1, *made[0].shape[2:]), made[0].dtype))
    blank = tuple(jnp.zeros((1, *x.shape[1:])) for x in made)
    z = jax.eval_shape(lambda: arrange(base.encode(encoder, params, stats, blank)[0]))
    head_params, head_stats = base.init(head, r_head, z)
    return {"encoder": params, "head": head_params}, {"encoder": stats, "head": head_stats}

  def answer(params, state, views, rng=None):
    r_encoder, r_head = (None, None) if rng is None else jax.random.split(rng)
    z, stats = base.encode(encoder, params["encoder"], state["encoder"], views["image"], rng=r_encoder)
    out, head_stats = base.forward(head, params["head"], state["head"], arrange(z), rng=r_head)
    return out, {"encoder": stats, "head": head_stats}

  def loss(params, state, views, rng, progress):
    out, state = answer(params, state, views, rng)
    value, metrics = objective(out, views)
    return value, (state, metrics)

  kept = lambda params, state: {"image": {"params": params["encoder"], **state["encoder"]}}
  return base.Method(init, views, loss, kept, show=show and (
      lambda params, state, views: show(answer(params, state, views)[0], views)))


def first_view(aug, rng, images, side=0):
  """The first view of each image, at `side` pixels, 0 for its own: [B, h, w, C]."""
  x = recipes.views(aug, rng, images, number=1)[0][:, 0]
  return augment.resize(x, (side, side)) if side else x


class Painter(nn.Module):
  """An encoder's grid and a decoder on it: x [B, H, W, C] -> what the decoder gives, [B, h, w, K]."""
  encoder: nn.Module
  decoder: nn.Module

  def __call__(self, x, train=False):
    return self.decoder(self.encoder.features(x, train)["grid"], train)


def needs_grid(encoder, method):
  """A UsageError for a transformer that is kept for its class token, which a task on the grid would never train."""
  if getattr(encoder, "pool", "mean") == "token":
    raise errors.UsageError(f"{method} trains the grid of the encoder, not its class token: set encoder.pool to mean")


def rivals(critic, params, stats, real, fake):
  """(generator's loss, critic's loss, new stats, metrics) of images [B, H, W, C].

  Of the generator's loss the critic has no gradient, of the critic's the generator has none.
  """
  stop = jax.lax.stop_gradient
  verdict = base.forward(critic, stop(params), stats, fake)[0]
  on_real, stats = base.forward(critic, params, stats, real)
  on_fake, stats = base.forward(critic, params, stats, stop(fake))
  generator, critics = losses.gan_generator(verdict), losses.gan_critic(on_real, on_fake)
  right = (jnp.mean(on_real > 0, dtype=critics.dtype) + jnp.mean(on_fake < 0, dtype=critics.dtype)) / 2
  return generator, critics, stats, {"generator": generator, "critic": critics, "critic_accuracy": right}
