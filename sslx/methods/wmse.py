"""W-MSE (Ermolov et al., 2021): views agree after the batch has been whitened."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base

CITE = """@inproceedings{ermolov2021whitening,
  title={Whitening for Self-Supervised Representation Learning},
  author={Ermolov, Aleksandr and Siarohin, Aliaksandr and Sangineto, Enver and Sebe, Nicu},
  booktitle={ICML}, year={2021}}"""


def make(encoder, *, size=128, iterations=1, eps=0.0, widths=(1024, 64), aug=recipes.simclr()):
  """W-MSE on `encoder`.

  Args:
    size: examples that are whitened together, more than K; the batch is cut at random into such parts.
    iterations: how often the batch is cut anew.
    eps: added to the covariance, as a share of the identity.
    widths: of the projector's layers, with batch norm after the hidden ones.
    aug: (key, image) -> view.
  """
  def objective(z, views, rng, progress):                                               # z [V, B, K]
    return losses.wmse(rng, z, size=size, iterations=iterations, eps=eps), {}

  return base.joint(base.Network(encoder, heads.MLP(widths, norm=True)), aug, objective)
