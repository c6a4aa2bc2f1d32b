"""Supervised training (cross-entropy on the same views): the reference row of every table."""

import jax
import optax

from sslx import heads
from sslx.augment import recipes
from sslx.methods import base, embedding


def make(encoder, *, num_classes=0, smoothing=0.0, aug=recipes.simclr()):
  """A linear classifier on `encoder`, for labelled sets.

  Args:
    num_classes: of the set; a run fills it in.
    smoothing: of the labels.
    aug: (key, image) -> view; each image is seen once a step.
  """
  def objective(z, views, rng, progress):                                               # z [1, B, classes]
    target = optax.smooth_labels(jax.nn.one_hot(views["label"], num_classes, dtype=z.dtype), smoothing)
    loss = base.mean(optax.softmax_cross_entropy(x, target).mean() for x in z)
    return loss, {"accuracy": (z[0].argmax(-1) == views["label"]).mean(dtype=z.dtype)}

  net = base.Network(encoder, heads.MLP((num_classes,)))
  return embedding.joint(net, aug, objective, reads=("image", "label"), number=1)
