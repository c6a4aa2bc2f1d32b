"""Triplets (Schroff et al., 2015, FaceNet): an anchor is nearer to its positive than to its negative, by a margin."""

import jax.numpy as jnp

from sslx import errors, heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{schroff2015facenet,
  title={FaceNet: A Unified Embedding for Face Recognition and Clustering},
  author={Schroff, Florian and Kalenichenko, Dmitry and Philbin, James},
  booktitle={CVPR}, year={2015}}"""

MINING = {"none": None, "hard": losses.triplet_hard, "semihard": losses.triplet_semihard}


def make(encoder, *, margin=0.2, mining="semihard", labels=False, widths=(128, 128), norm=True, aug=recipes.simclr()):
  """A triplet network on `encoder`; embeddings have length 1.

  Args:
    margin: by which the positive is nearer, in Euclidean distance.
    mining: of negatives in the batch: "semihard", "hard", or "none" (another image of the batch).
    labels: whether positives share a class rather than being views of one image.
    widths, norm: of the projector's layers, and whether its hidden ones have batch norm.
    aug: (key, image) -> view.
  """
  if mining not in MINING:
    raise errors.unknown("mining", mining, MINING)

  def objective(z, views, rng, progress):                                               # z [V, B, K]
    x, y = losses.unit(z[0]), losses.unit(z[1])
    label = views["label"] if labels else jnp.arange(len(x))
    if mining == "none":
      other = jnp.roll(y, 1, 0)
      value = losses.triplet(x, y, other, margin=margin)
    else:
      value = MINING[mining](jnp.concatenate([x, y]), jnp.tile(label, 2), margin=margin)
    return value, base.found(x, y, jnp.concatenate([x, y]), itself=jnp.arange(len(x)))

  net = base.Network(encoder, heads.MLP(widths, norm))
  return embedding.joint(net, aug, objective, reads=("image", "label") if labels else ("image",), affinity=True)
