"""Methods that compare what belongs together: a tower, an encoder and a linear map, for each of two modalities."""

import jax
import jax.numpy as jnp

from sslx import encoders, errors, heads, losses, tokens
from sslx.methods import base


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


def there(x):
  """Which examples x [B, ...] are there: those that are not all zeros: [B]."""
  return jnp.any(x != 0, axis=range(1, x.ndim))


def drawn(key, texts):
  """One of the texts [B, n, T] of each example: [B, T]."""
  if texts.ndim == 2:
    return texts
  at = jax.random.randint(key, (len(texts), 1, 1), 0, texts.shape[1])
  return jnp.take_along_axis(texts, at, 1)[:, 0]


def contrast(towers, views, objective, *, width, scalars, locked=(), show=None):
  """A method that compares two towers.

  Args:
    towers: {modality: encoder}, the first one that of the config.
    views: (rng, batch) -> {modality: [B, ...], "whole": [B], where both are there}.
    objective: (za [B, K], zb [B, K], whole, scalars) -> loss.
    width: K of the linear maps.
    scalars: {name: start} of what is learnt beside the towers.
    locked: towers whose encoder stays as it is, its statistics too (LiT: Zhai et al., 2022).
    show: (z of each tower, views) -> what the report shows besides the matrix of similarities.
  """
  (a, b), parts = towers, {}
  nets = {t: base.Network(encoder, heads.MLP((width,))) for t, encoder in towers.items()}
  for t in locked:
    parts[t] = heads.MLP((width,))

  def init(rng, batch):
    made = jax.eval_shape(views, rng, batch)
    params, state = {"scalars": {k: jnp.asarray(v, float) for k, v in scalars.items()}}, {}
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
    value = objective(z[a], z[b], views["whole"], params["scalars"])
    found = jax.lax.stop_gradient(losses.unit(z[a]) @ jnp.where(views["whole"][:, None], losses.unit(z[b]), 0).T)
    right = jnp.sum((found.argmax(1) == jnp.arange(len(found))) & views["whole"]) / jnp.maximum(views["whole"].sum(), 1)
    return value, (new, {"top1": right.astype(value.dtype), "z_std": losses.feature_std(z[a])})

  def encode(params, state):
    return {t: state[t]["encoder"] if t in locked else base.part("encoder", params[t], state[t]) for t in towers}

  def spaces(params, state):
    """{modality: (module, variables)} whose outputs are compared."""
    found = encode(params, state)
    return {t: (nets[t], {"params": {"encoder": found[t]["params"], "head": params[t]["head"]}, **{
        k: {"encoder": v} for k, v in found[t].items() if k != "params"}}) for t in towers}

  def pictures(params, state, views):
    z = {t: losses.unit(net.apply(v, views[t])) for t, (net, v) in spaces(params, state).items()}
    return {**(show(views) if show else {}), "affinity": z[a] @ z[b].T}

  return base.Method(init, views, loss, encode, reads=tuple(towers), show=pictures,
                     project=lambda params, state: spaces(params, state)[a], spaces=spaces)
