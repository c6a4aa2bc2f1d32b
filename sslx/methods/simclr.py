"""SimCLR (Chen et al., 2020): two views of an image attract, all others repel."""

import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{chen2020simclr,
  title={A Simple Framework for Contrastive Learning of Visual Representations},
  author={Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey},
  booktitle={ICML}, year={2020}}"""


def make(encoder, *, temperature=0.5, widths=(2048, 128), norm=False, last_norm=False, aug=recipes.simclr()):
  """SimCLR on `encoder`.

  Args:
    temperature: of NT-Xent.
    widths: of the projector's layers; the last is the dimension K that is contrasted.
    norm, last_norm: batch norm in the projector's hidden layers, and on its output; the paper's text has neither, small
      models on small images learn faster with both.
    aug: (key, image) -> view.
  """
  def objective(z, views, rng, progress):                                               # z [V, B, K]
    value = base.mean(losses.ntxent(z[i], z[j], temperature=temperature) for i, j in base.pairs(len(z)))
    return value, base.found(z[0], z[1], jnp.concatenate(z[:2]), itself=jnp.arange(z.shape[1]))

  net = base.Network(encoder, heads.MLP(widths, norm, last_norm))
  return embedding.joint(net, aug, objective, affinity=True)
