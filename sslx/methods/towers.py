"""Methods that compare what belongs together: a tower, an encoder and a linear map, for each of two modalities."""

import math

import jax
import jax.numpy as jnp

from sslx import encoders, errors, heads, losses, tokens
from sslx.encoders import video_frames
from sslx.methods import base

MOST = 100.0                                               # of CLIP's scale, as in the paper


def built(kind, options, tokenizer="bytes"):
  """A tower's encoder from {"name": ..., options}, one of text for the tokenizer's ids; a Flax module as it is."""
  if not hasattr(options, "get"):
    return options
  options = dict(options)
  name = options.pop("name", "")
  if not name:
    raise errors.UsageError(f"method.{kind} has no name: set method.{kind}.name to an encoder of {kind}")
  if options.get("vocab") == 0:
    options["vocab"] = tokens.coder(tokenizer).vocab
  return encoders.make(name, **options)


def options(config, tower):
  """The name and options of the encoder of a tower beside a config's first: the method's, or that of each frame."""
  return config["method"].get(tower) or video_frames.of_frame(config["encoder"])


def there(x):
  """Which examples x [B, ...] are there: those that are not all zeros: [B]."""
  return jnp.any(x != 0, axis=range(1, x.ndim))


def drawn(key, texts):
  """One of the texts [B, n, T] of each example: [B, T]."""
  if texts.ndim == 2:
    return texts
  at = jax.random.randint(key, (len(texts), 1, 1), 0, texts.shape[1])
  return jnp.take_along_axis(texts, at, 1)[:, 0]


def numbers(**start):
  """rng -> {name: number}, to be learnt from there."""
  return lambda rng: {k: jnp.asarray(v, float) for k, v in start.items()}


def contrast(towers, views, objective, *, width, learnt, locked=(), show=None, compared=True):
  """A method with two towers, which its loss compares.

  Args:
    towers: {modality: encoder}, the first one that of the config.
    views: (rng, batch) -> {modality: [B, ...], "whole": [B], where both are there}.
    objective: (za [B, K], zb [B, K], whole, the parameters of `learnt`) -> (loss, metrics).
    width: K of the linear maps.
    learnt: rng -> the parameters of the objective, such as `numbers`.
    locked: towers whose encoder stays as it is, its statistics too (LiT: Zhai et al., 2022).
    show: views -> what the report shows besides the matrix of similarities.
    compared: whether the loss is about the cosines of za and zb, so that the one finds the other.
  """
  (a, b), parts = towers, {}
  nets = {t: base.Network(encoder, heads.MLP((width,))) for t, encoder in towers.items()}
  for t in locked:
    parts[t] = heads.MLP((width,))

  def init(rng, batch):
    made = jax.eval_shape(views, rng, batch)
    params, state = {"objective": learnt(jax.random.fold_in(rng, 2))}, {}
    for t, key in zip(towers, jax.random.split(rng), strict=True):
      own, stats = base.init(nets[t], key, made[t])
      if t in locked:
        params[t], state[t] = {"head": own["head"]}, {"encoder": base.part("encoder", own, stats)}
      else:
        params[t], state[t] = own, stats
    return params, state

  def embedded(t, params, state, x, rng=None):
    """(z [B, K], the tower's new state)."""
    if t in locked:
      h = jax.lax.stop_gradient(towers[t].apply(state[t]["encoder"], x, train=False))
      return parts[t].apply({"params": params[t]["head"]}, h), state[t]
    return base.forward(nets[t], params[t], state[t], x, rng=rng)

  def loss(params, state, views, rng, progress):
    z, new = {}, {}
    for t, key in zip(towers, jax.random.split(rng), strict=True):
      z[t], new[t] = embedded(t, params, state, views[t], key)
    value, metrics = objective(z[a], z[b], views["whole"], params["objective"])
    return value, (new, metrics | {"z_std": losses.feature_std(z[a])})

  def encode(params, state):
    return {t: state[t]["encoder"] if t in locked else base.part("encoder", params[t], state[t]) for t in towers}

  def spaces(params, state):
    """{modality: (module, variables)} whose outputs are compared."""
    found = encode(params, state)
    return {t: (nets[t], {"params": {"encoder": found[t]["params"], "head": params[t]["head"]}, **{
        k: {"encoder": v} for k, v in found[t].items() if k != "params"}}) for t in towers}

  def pictures(params, state, views):
    z = {t: losses.unit(net.apply(v, views[t])) for t, (net, v) in spaces(params, state).items()}
    return {**(show(views) if show else {}), **({"affinity": z[a] @ z[b].T} if compared else {})}

  return base.Method(init, views, loss, encode, reads=tuple(towers), show=pictures,
                     project=lambda params, state: spaces(params, state)[a], spaces=spaces if compared else None)


def top1(za, zb, whole):
  """{"top1": how often the b [B, K] that is most similar to an a is its own}, of those that are whole."""
  found = jax.lax.stop_gradient(losses.unit(za) @ jnp.where(whole[:, None], losses.unit(zb), 0).T)
  right = jnp.sum((found.argmax(1) == jnp.arange(len(found))) & whole) / jnp.maximum(whole.sum(), 1)
  return {"top1": right.astype(za.dtype)}


def symmetric(temperature):
  """(objective, learnt) of `contrast`: each a finds its b among all, and each b its a; the scale is learnt (CLIP)."""
  def objective(za, zb, whole, learnt):
    scale = jnp.minimum(jnp.exp(learnt["scale"]), MOST)
    return losses.clip(za, zb, scale=scale, whole=whole), top1(za, zb, whole)
  return objective, numbers(scale=math.log(1 / temperature))
