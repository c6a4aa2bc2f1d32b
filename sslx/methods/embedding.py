"""Methods that compare embeddings of views: of one network, or of a network and the target that it predicts."""

import jax
import jax.numpy as jnp

from sslx import losses
from sslx.augment import recipes
from sslx.methods import base


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
  def init(rng, batch):
    params, stats = base.init(net, rng, batch["image"])
    return {"net": params}, {"net": stats}

  def loss(params, state, views, rng, progress):
    rng, rng_net = jax.random.split(rng)
    z, stats = base.encode(net, params["net"], state["net"], views["image"], rng=rng_net)
    value, metrics = objective(z, views, rng, progress)
    return value, ({"net": stats}, metrics | {"z_std": losses.feature_std(z[0])})

  def show(params, state, views):
    if not affinity:
      return shown(views)
    z = losses.unit(jnp.concatenate(base.encode(net, params["net"], state["net"], views["image"])[0][:2]))
    return shown(views) | {"affinity": z @ z.T}

  return base.Method(init, augmented(aug, reads, number), loss, lambda params, state: base.kept("net", params, state),
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
  def init(rng, batch):
    r_net, r_predictor, r_queue = jax.random.split(rng, 3)
    params, stats = base.init(net, r_net, batch["image"])
    shape = jax.eval_shape(lambda: net.apply({"params": params, **stats}, jnp.zeros((1, *batch["image"].shape[1:]))))
    params, state = {"net": params}, {"net": stats}
    if predictor is not None:
      params["predictor"], state["predictor"] = base.init(predictor, r_predictor, shape)
    if momentum is not None:
      state["target"] = base.target(params["net"], stats)
    if queue:
      state["queue"] = base.new_queue(r_queue, queue, shape.shape[-1])
    return params, state

  def loss(params, state, views, rng, progress):
    r_net, r_predictor = jax.random.split(rng)
    first, *rest = views["image"]
    large, state = first if symmetric else first[:, :1], dict(state)
    seen = views["image"] if symmetric else (first[:, 1:], *rest)
    p, state["net"] = base.encode(net, params["net"], state["net"], seen, rng=r_net)
    if momentum is None:
      t = jax.lax.stop_gradient(p[:large.shape[1]])
    else:
      t, state["target"] = base.follow(net, state["target"], params["net"], (large,), momentum(progress))
    z_std = losses.feature_std(p[0])
    if predictor is not None:
      p, state["predictor"] = base.predict(predictor, params["predictor"], state["predictor"], p, rng=r_predictor)
    pairs_ = [(i, j) for i in range(len(t)) for j in range(len(p)) if i != j or not symmetric]
    value, metrics = objective(p, t, pairs_, state.get("queue"), progress)
    if queue:
      state["queue"] = base.push(state["queue"], losses.unit(t[0]))
    return value, (state, metrics | {"z_std": z_std})

  return base.Method(init, augmented(aug), loss, lambda params, state: base.kept("net", params, state),
                show=lambda params, state, views: shown(views),
                project=lambda params, state: (net, {"params": params["net"], **state["net"]}))
