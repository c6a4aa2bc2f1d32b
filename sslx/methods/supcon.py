"""SupCon (Khosla et al., 2020): all views of all images of a class attract, the rest repel."""

import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{khosla2020supcon,
  title={Supervised Contrastive Learning},
  author={Khosla, Prannay and Teterwak, Piotr and Wang, Chen and Sarna, Aaron and Tian, Yonglong and Isola, Phillip
    and Maschinot, Aaron and Liu, Ce and Krishnan, Dilip},
  booktitle={NeurIPS}, year={2020}}"""


def make(encoder, *, temperature=0.1, widths=(2048, 128), norm=False, aug=recipes.simclr()):
  """SupCon on `encoder`, for labelled sets.

  Args:
    temperature: of the cosine similarities.
    widths, norm: of the projector's layers, and whether its hidden ones have batch norm.
    aug: (key, image) -> view.
  """
  def objective(z, views, rng, progress):                                               # z [V, B, K]
    labels = views["label"][None].repeat(len(z), 0).ravel()                             # [V * B]
    found = base.found(z[0], z[1], jnp.concatenate(z[:2]), itself=jnp.arange(z.shape[1]))
    return losses.supcon(z.reshape(-1, z.shape[-1]), labels, temperature=temperature), found

  net = base.Network(encoder, heads.MLP(widths, norm))
  return embedding.joint(net, aug, objective, reads=("image", "label"), affinity=True)
