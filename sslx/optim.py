"""config.optim -> optax: schedules on the global step, decay masks, clipping, LARS as self-supervision uses it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
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


def schedule(c, total_steps, batch_size, top=None):
  """step -> learning rate: a linear climb over `warmup` (a share of the run), then the named decay to final * peak.

  top: the peak, which may be traced, in place of `peak` of the config.
  """
  top = peak(c, batch_size) if top is None else top
  climb = round(c.warmup * total_steps)
  rest = max(1, total_steps - climb)
  after = {"cosine": lambda: optax.cosine_decay_schedule(top, rest, c.final),
           "linear": lambda: optax.linear_schedule(top, top * c.final, rest),
           "constant": lambda: optax.constant_schedule(top)}
  if c.schedule not in after:
    raise errors.unknown("optim.schedule", c.schedule, after)
  return optax.join_schedules([optax.linear_schedule(0.0, top, max(1, climb)), after[c.schedule]()], [climb])


def stacked(path):
  """Whether a parameter is of scanned layers, whose axis is its first one: it lies in "blocks"."""
  return any(getattr(k, "key", None) == "blocks" for k in path)


def kernels(params):
  """True for parameters of two or more dimensions; biases, norms and other 1-D parameters are never decayed.

  The first axis of scanned layers does not count.
  """
  return jax.tree_util.tree_map_with_path(lambda path, p: p.ndim - stacked(path) > 1, params)


def scale_by_trust_ratio(coefficient=0.001, rate=None):
  """LARS (You et al., 2017) as in self-supervision: kernels move by coefficient * |p| / |update|, 1-D as is.

  The update holds the weight decay already. With `rate`, step -> learning rate, the ratio is clipped so that a kernel
  never moves faster than plain SGD would at that rate (LARC): min(ratio / rate, 1), which the rate then multiplies.
  """
  def update(updates, count, params):
    def one(path, u, p, kernel):
      if not kernel:
        return u
      axes = tuple(range(stacked(path), p.ndim))             # each of the scanned layers by itself
      p_norm, u_norm = (jnp.sqrt(jnp.sum(jnp.square(v), axes, keepdims=True)) for v in (p, u))
      ratio = jnp.where((p_norm > 0) & (u_norm > 0), coefficient * p_norm / jnp.where(u_norm > 0, u_norm, 1), 1)
      return u * (ratio if rate is None else jnp.minimum(ratio / jnp.maximum(rate(count), 1e-12), 1))
    return jax.tree_util.tree_map_with_path(one, updates, params, kernels(params)), count + 1
  return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def orthogonal(x):
  """x [..., A, B] with its singular values brought to about 1 (0.7 to 1.2), by five Newton-Schulz iterations."""
  tall = x.shape[-2] > x.shape[-1]
  x = jnp.swapaxes(x, -1, -2) if tall else x
  x = x / jnp.maximum(jnp.linalg.norm(x, axis=(-2, -1), keepdims=True), 1e-12)
  for _ in range(5):
    a = x @ jnp.swapaxes(x, -1, -2)
    x = 3.4445 * x + (2.0315 * a @ a - 4.775 * a) @ x
  return jnp.swapaxes(x, -1, -2) if tall else x


def scale_by_muon(momentum=0.95):
  """Muon (Jordan et al., 2024): updates [.., A, B] are `orthogonal` of Nesterov's momentum by sqrt(max(1, B / A))."""
  def update(updates, trace, params=None):
    trace = jax.tree.map(lambda m, u: momentum * m + u, trace, updates)
    one = lambda m, u: orthogonal(u + momentum * m) * max(1, u.shape[-1] / u.shape[-2]) ** 0.5
    return jax.tree.map(one, trace, updates), trace
  return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


def matrices(params):
  """"matrix" for parameters of two dimensions, the first axis of scanned layers apart, else "other"."""
  return jax.tree_util.tree_map_with_path(
      lambda path, p: "matrix" if p.ndim - stacked(path) == 2 else "other", params)


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


PLACE = re.compile(r"(?:stage(\d+)_?)?(?:(?:block|conv|norm)(\d+))?")              # in the names of all encoders' parts


def place(name):
  """(stage, block) that the name of an encoder's part gives, 0 where it gives none."""
  return tuple(int(n or 0) for n in PLACE.match(name).groups())


def layers(params):
  """(layer of each parameter, their number): 0 reads the image, the last is what comes after the encoder's blocks.

  Blocks are those of the module "encoder", in the order of their stages. Scanned ones have an array, a layer each.
  """
  last = (float("inf"), 0)
  def part(path):
    names = [getattr(k, "key", "") for k in path]
    return names[names.index("encoder") + 1] if "encoder" in names else None
  def place_of(path):
    name = part(path) or "norm"
    return last if name == "norm" else (0, 1) if name == "blocks" else place(name)
  found = jax.tree_util.tree_leaves_with_path(params)
  order = {p: i for i, p in enumerate(sorted({(0, 0), last} | {place_of(path) for path, _ in found}))}
  more = max((len(p) - 1 for path, p in found if stacked(path)), default=0)
  if any(part(path) for path, _ in found) and len(order) + more < 3:                    # none: all of it is frozen
    raise errors.UsageError("optim.layer_decay needs an encoder whose parts are named stage1, block1 and so on")
  def layer(path, p):
    if stacked(path):
      return 1 + np.arange(len(p)).reshape(-1, *[1] * (p.ndim - 1))
    return order[place_of(path)] + (more if place_of(path) == last else 0)
  return jax.tree_util.tree_map_with_path(layer, params), len(order) + more


def decayed_layers(share):
  """Scales the update of each layer by `share` to the power of how many layers come after it (Clark et al., 2020)."""
  def update(updates, state, params):
    layer, number = layers(params)
    return jax.tree.map(lambda u, i: u * np.asarray(share ** (number - 1.0 - i), u.dtype), updates, layer), state
  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


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
                                  scale_by_trust_ratio(coefficient=1.0), step()),
      "muon": lambda: optax.chain(optax.partition(
          {"matrix": scale_by_muon(), "other": optax.scale_by_adam(b2=c.b2)}, matrices), decay(), step())}
  if c.name not in makers:
    raise errors.unknown("optimizer", c.name, makers)
  return makers[c.name]()


def held(tx, places, *, steps=0, rate=1.0):
  """`tx` that moves what lies below the paths `places` at `rate` times its rate, and in the first `steps` steps not at
  all, when it gathers no moments of it either; in as many steps after them the rate climbs."""
  def scaled(count, tree, rate):
    keys = lambda path: tuple(getattr(k, "key", None) for k in path)
    inside = lambda path: any(keys(path)[:len(place)] == place for place in places)
    one = lambda path, u: jnp.where(count < steps, 0, rate * u) if inside(path) else u
    return jax.tree_util.tree_map_with_path(one, tree)

  def update(updates, state, params):
    count, inner = state
    updates, inner = tx.update(scaled(count, updates, 1), inner, params)
    climb = jnp.clip((count - steps + 1) / max(1, steps), 0, 1) if steps else 1
    return scaled(count, updates, rate * climb), (count + 1, inner)
  return optax.GradientTransformation(lambda params: (jnp.zeros((), jnp.int32), tx.init(params)), update)


def make(c, total_steps, batch_size, top=None):
  """The optax transformation of config.optim. Groups "critic" and "probe", if there are any, are moved on their own.

  A critic by the same optimizer at `critic_rate` times the rate, its gradients clipped apart; a probe by Adam. top: see
  `schedule`.
  """
  rate = schedule(c, total_steps, batch_size, top)

  def one(rate, deep=True):
    clip = [optax.clip_by_global_norm(c.clip)] if c.clip else []
    by_layer = [decayed_layers(c.layer_decay)] if deep and c.layer_decay != 1 else []
    return optax.chain(*clip, _named(c, rate, total_steps), *by_layer)
  label = lambda params: {name: name if name in ("critic", "probe") else "method" for name in params}
  critic = one(lambda step: c.critic_rate * rate(step), deep=False)
  groups = {"method": one(rate), "critic": critic, "probe": optax.adam(1e-3)}
  return optax.partition(groups, label)
