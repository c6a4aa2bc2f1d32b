"""Barlow Twins (Zbontar et al., 2021): the cross-correlation of two views is driven to the identity."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = r"""@inproceedings{zbontar2021barlow,
  title={Barlow Twins: Self-Supervised Learning via Redundancy Reduction},
  author={Zbontar, Jure and Jing, Li and Misra, Ishan and LeCun, Yann and Deny, St{\'e}phane},
  booktitle={ICML}, year={2021}}"""


def make(encoder, *, lambd=5e-3, scale=1.0, widths=(8192, 8192, 8192), aug=recipes.barlow()):
  """Barlow Twins on `encoder`.

  Args:
    lambd: weight of the redundancy, the entries off the diagonal.
    scale: of the whole loss (the authors' LARS recipe has 0.024).
    widths: of the projector's layers, with batch norm after the hidden ones.
    aug: (key, image) -> view.
  """
  def objective(z, views, rng, progress):                                               # z [V, B, K]
    return scale * base.mean(losses.barlow_twins(z[i], z[j], lambd=lambd) for i, j in base.pairs(len(z))), {}

  return embedding.joint(base.Network(encoder, heads.MLP(widths, norm=True)), aug, objective)
