"""config.optim -> optax: schedules on the global step, decay masks, clipping, LARS as self-supervision uses it."""

import jax
import jax.numpy as jnp
import optax

from sslx import errors

SCHEDULES = ("cosine", "linear", "constant")


def peak(c, batch_size):
  """The effective peak rate: lr at the reference batch scaled to `batch_size`, linearly or by the square root."""
  ratio = batch_size / c.reference_batch
  scales = {"none": 1.0, "linear": ratio, "sqrt": ratio ** 0.5}
  if c.scale not in scales:
    raise errors.unknown("optim.scale", c.scale, scales)
  return c.lr * scales[c.scale]


def schedule(c, total_steps, batch_size):
  """step -> learning rate: a linear climb over `warmup` (a share of the run), then the named decay to final * peak."""
  top = peak(c, batch_size)
  climb = round(c.warmup * total_steps)
  rest = max(1, total_steps - climb)
  after = {"cosine": lambda: optax.cosine_decay_schedule(top, rest, c.final),
           "linear": lambda: optax.linear_schedule(top, top * c.final, rest),
           "constant": lambda: optax.constant_schedule(top)}
  if c.schedule not in after:
    raise errors.unknown("optim.schedule", c.schedule, after)
  return optax.join_schedules([optax.linear_schedule(0.0, top, max(1, climb)), after[c.schedule]()], [climb])


def kernels(params):
  """True for parameters of two or more dimensions; biases, norms and other 1-D parameters are never decayed.

  The first axis of what lies in "blocks", the stacked parameters of scanned layers, does not count.
  """
  stacked = lambda path: any(getattr(k, "key", None) == "blocks" for k in path)
  return jax.tree_util.tree_map_with_path(lambda path, p: p.ndim - stacked(path) > 1, params)


def scale_by_trust_ratio(coefficient=0.001, rate=None):
  """LARS (You et al., 2017) as in self-supervision: kernels move by coefficient * |p| / |update|, 1-D as is.

  The update holds the weight decay already. With `rate`, step -> learning rate, the ratio is clipped so that a kernel
  never moves faster than plain SGD would at that rate (LARC): min(ratio / rate, 1), which the rate then multiplies.
  """
  def update(updates, count, params):
    def one(u, p, kernel):
      if not kernel:
        return u
      p_norm, u_norm = jnp.linalg.norm(p), jnp.linalg.norm(u)
      ratio = jnp.where((p_norm > 0) & (u_norm > 0), coefficient * p_norm / jnp.where(u_norm > 0, u_norm, 1), 1)
      return u * (ratio if rate is None else jnp.minimum(ratio / jnp.maximum(rate(count), 1e-12), 1))
    return jax.tree.map(one, updates, params, kernels(params)), count + 1
  return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def decayed_weights(c, total_steps):
  """Adds weight_decay * kernel to the update; with `decay_final` the share goes there along half a cosine."""
  if c.decay_final is None:
    return optax.add_decayed_weights(c.weight_decay, kernels)
  def update(updates, count, params):
    done = (1 - jnp.cos(jnp.pi * jnp.minimum(count / total_steps, 1))) / 2
    share = c.weight_decay + (c.decay_final - c.weight_decay) * done
    add = lambda u, p, kernel: u + share.astype(p.dtype) * p if kernel else u
    return jax.tree.map(add, updates, params, kernels(params)), count + 1
  return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def _named(c, rate, total_steps):
  """The optimizer by name, its learning rate a schedule."""
  decay = lambda: decayed_weights(c, total_steps)
  step = lambda: optax.scale_by_learning_rate(rate)
  makers = {
      "sgd": lambda: optax.chain(decay(), optax.trace(c.momentum), step()),
      "adamw": lambda: optax.chain(optax.scale_by_adam(b2=c.b2), decay(), step()),
      "lars": lambda: optax.chain(decay(), scale_by_trust_ratio(rate=rate if c.trust_clip else None), step(),
                                  optax.trace(c.momentum)),
      "lamb": lambda: optax.chain(optax.scale_by_adam(b2=c.b2, eps=1e-6), decay(),
                                  scale_by_trust_ratio(coefficient=1.0), step())}
  if c.name not in makers:
    raise errors.unknown("optimizer", c.name, makers)
  return makers[c.name]()


def make(c, total_steps, batch_size):
  """The optax transformation of config.optim. Groups "critic" and "probe", if there are any, are moved on their own.

  A critic by the same optimizer at `critic_rate` times the rate, its gradients clipped apart; a probe by Adam.
  """
  rate = schedule(c, total_steps, batch_size)

  def one(rate):
    clip = [optax.clip_by_global_norm(c.clip)] if c.clip else []
    return optax.chain(*clip, _named(c, rate, total_steps))
  label = lambda params: {name: name if name in ("critic", "probe") else "method" for name in params}
  groups = {"method": one(rate), "critic": one(lambda step: c.critic_rate * rate(step)), "probe": optax.adam(1e-3)}
  return optax.partition(groups, label)
