"""Siamese pairs (Hadsell et al., 2006, DrLIM): like pairs attract, unlike ones repel up to a margin."""

import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{hadsell2006drlim,
  title={Dimensionality Reduction by Learning an Invariant Mapping},
  author={Hadsell, Raia and Chopra, Sumit and LeCun, Yann},
  booktitle={CVPR}, year={2006}}"""


def make(encoder, *, margin=10.0, labels=False, widths=(128, 128), norm=True, aug=recipes.simclr()):
  """A siamese network on `encoder`; each batch gives as many like pairs as unlike ones.

  Args:
    margin: Euclidean distance that unlike pairs are pushed to; below that of random embeddings nothing is learnt.
    labels: whether pairs are alike by their class rather than by being views of one image.
    widths, norm: of the projector's layers, and whether its hidden ones have batch norm.
    aug: (key, image) -> view.
  """
  def objective(z, views, rng, progress):                                               # z [V, B, K]
    x, y = z[0], z[1]
    other = jnp.roll(y, 1, 0)
    if labels:
      label = views["label"]
      like = jnp.concatenate([label == label, label == jnp.roll(label, 1)])
    else:
      like = jnp.repeat(jnp.asarray([True, False]), len(x))
    value = losses.pair(jnp.concatenate([x, x]), jnp.concatenate([y, other]), like, margin=margin)
    return value, base.found(x, y, jnp.concatenate(z[:2]), itself=jnp.arange(len(x)))

  net = base.Network(encoder, heads.MLP(widths, norm))
  return embedding.joint(net, aug, objective, reads=("image", "label") if labels else ("image",), affinity=True)
