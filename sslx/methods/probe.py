"""The online linear probe: a wrapper that lets a classifier learn beside any method without touching it."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from sslx.augment import to_float
from sslx.heads import MLP


def online(method, encoder, num_classes, tower="image"):
  """`method` with a group "probe" of parameters: a linear classifier of the representation of the clean example.

  The representation is that of evaluation (running statistics), standardised, and no gradient reaches the encoder. The
  loss reported is the method's own; "online_accuracy" is added to the metrics.
  """
  head = MLP((num_classes,))
  clean = lambda x: x if tower == "text" else to_float(x)

  def represent(params, state, x):
    h = encoder.apply(method.encoder(params, state)[tower], x, train=False)
    h = jax.lax.stop_gradient(h.astype(jnp.promote_types(h.dtype, jnp.float32)))
    return jax.nn.standardize(h, axis=-1)

  def init(rng, batch):
    params, state = method.init(rng, batch)
    shape = jax.eval_shape(lambda: represent(params, state, clean(batch[tower][:1])))
    probe = head.init(jax.random.fold_in(rng, 1), jnp.zeros(shape.shape, float))["params"]
    return {**params, "probe": jax.tree.map(lambda v: v.astype(float), probe)}, state

  def views(rng, batch):
    return {"method": method.views(rng, batch), "probe": (clean(batch[tower]), batch["label"])}

  def loss(params, state, views, rng, progress):
    inner = {k: v for k, v in params.items() if k != "probe"}
    value, (new_state, metrics) = method.loss(inner, state, views["method"], rng, progress)
    x, label = views["probe"]
    logits = head.apply({"params": params["probe"]}, represent(inner, state, x))     # [B, classes]
    cross_entropy = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, label))
    accuracy = jnp.mean((jnp.argmax(logits, -1) == label).astype(logits.dtype))
    # adds the probe's gradient, not its value: the loss that is logged stays the method's
    value = value + cross_entropy - jax.lax.stop_gradient(cross_entropy)
    return value, (new_state, {**metrics, "online_accuracy": accuracy})

  show = method.show and (lambda params, state, views: method.show(params, state, views["method"]))
  reads = tuple(dict.fromkeys((*method.reads, tower, "label")))
  return dataclasses.replace(method, init=init, views=views, loss=loss, show=show, reads=reads)
