"""A downstream task as a Method: a pretrained encoder under a new head, of which a strategy says what moves.

What moves is in `params`, all else in `state`: frozen stages, so that no optimizer can touch them, and the average of
the weights. The pretrained encoder is read by `init` alone: afterwards a run's checkpoints hold all there is.
"""


import jax
import jax.numpy as jnp

from sslx import checkpoint, errors
from sslx.methods import base
from sslx.transfer import stages


def make(net, views, objective, *, source, weights, strategy, ema=0.0, reads=("image", "label"), show=None):
  """The Method of a task: objective(output, views) -> (loss, metrics) of net's output is what the task adds.

  Args:
    net: a Flax module whose part "encoder" is the encoder, called (x, train).
    views: (rng, batch) -> {what the encoder reads, "image": [B, H, W, C] or another: its array, ...}.
    source: the run, or the folder of an encoder or checkpoint, that the pretrained weights are of.
    weights: checkpoint.digest of what is found there, or "" for whatever it is.
    strategy: one of stages.STRATEGIES but auto.
    ema: share of the old average of the weights that is kept a step, less in the first steps; 0 for no average.
    reads: the batch keys it needs, what the encoder reads first.
    show: (output of net, views) -> {name: images} for the report, or None.
  """
  (kind, _), key = stages.parse(strategy), reads[0]
  if kind == "auto":
    raise errors.UsageError("strategy auto is for sslx transfer to resolve: give linear, freeze=K, finetune, copy=K or "
                            "copy_freeze=K")
  still, copied = stages.frozen(strategy), stages.copied(strategy)

  def init(rng, batch):
    params, stats = base.init(net, rng, batch[key])
    stages.check(params["encoder"], strategy)
    if kind != "scratch":
      found = pretrained(source, weights)
      merge = lambda own, theirs: {k: theirs[k] if copied(k) else v for k, v in own.items()}
      fits(params["encoder"], found["params"], source)
      params = params | {"encoder": merge(params["encoder"], found["params"])}
      stats = {c: v | {"encoder": merge(v["encoder"], found[c])} if "encoder" in v else v for c, v in stats.items()}
    moving, fixed = stages.divided(params, still)
    parts = {c: stages.divided(v, still) for c, v in stats.items()}
    state = {"stats": {c: v for c, (v, _) in parts.items() if v},
             "frozen": {c: v for c, (_, v) in (parts | {"params": (moving, fixed)}).items() if v}}
    if ema:
      state |= {"average": base.target(moving, state["stats"]), "count": jnp.zeros((), jnp.int32)}
    return {"net": moving}, state

  def whole(moving, stats, frozen):
    """All variables of net, {"params", "batch_stats", ...}, from those that move and those that do not."""
    out = {"params": moving, **stats}
    return {c: stages.joined(out.get(c, {}), frozen.get(c)) for c in out | frozen}

  def loss(params, state, views, rng, progress):
    state = dict(state)
    if ema:
      share = jnp.minimum(ema, (1 + state["count"]) / (10 + state["count"]))
      state["average"] = base.moved(state["average"], {"params": params["net"], "stats": state["stats"]}, share)
      state["count"] += 1
    stats = whole(params["net"], state["stats"], state["frozen"])
    with stages.standing(still):
      out, stats = base.forward(net, stats.pop("params"), stats, views[key], rng=rng)
    parts = {c: stages.divided(v, still)[0] for c, v in stats.items()}
    state["stats"] = {c: v for c, v in parts.items() if v}
    value, metrics = objective(out, views)
    return value, (state, metrics)

  def kept(params, state):
    moving, stats = state["average"].values() if ema else (params["net"], state["stats"])
    return whole(moving, stats, state["frozen"])

  def encoder(params, state):
    return {key: {c: v["encoder"] for c, v in kept(params, state).items() if "encoder" in v}}

  pictures = show and (lambda params, state, views: show(net.apply(kept(params, state), views[key]), views))
  return base.Method(init, views, loss, encoder, reads=reads, show=pictures,
                     project=lambda params, state: (net, kept(params, state)))


def pretrained(source, weights=""):
  """The variables of the encoder at `source`, which must be those of the digest `weights`, if given."""
  if not source:
    raise errors.UsageError("no pretrained encoder was named: give --from RUN, or method.source")
  found = checkpoint.load_encoder(source).variables
  if weights and checkpoint.digest(found) != weights:
    raise errors.UsageError(f"the encoder in {source} is not the one that this run began with: give a new --workdir")
  return jax.device_get(found)


def fits(own, theirs, source):
  """A UsageError where a pretrained encoder's parameters are not those of this one; learned positions are resized."""
  shapes = lambda tree: {jax.tree_util.keystr(k): v.shape for k, v in jax.tree_util.tree_leaves_with_path(tree)}
  own, theirs = shapes(own), shapes(theirs)
  apart = sorted(k for k in own | theirs if own.get(k) != theirs.get(k) and k != "['positions']")
  if apart:
    k = apart[0]
    raise errors.UsageError(f"the encoder in {source} does not fit: {k} is {theirs.get(k, 'not there')}, this one has "
                            f"{own.get(k, 'none')} ({len(apart)} parameters differ); do config.encoder and the "
                            "channels of the images agree with it?")
