"""VIbCReg (Lee and Aune, 2021): VICReg with the covariance normalised to a correlation."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@article{lee2021vibcreg,
  title={VIbCReg: Variance-Invariance-better-Covariance Regularization for Self-Supervised Learning on Time Series},
  author={Lee, Daesoo and Aune, Erlend},
  journal={arXiv:2109.00783}, year={2021}}"""


def make(encoder, *, sim=25.0, var=25.0, cov=200.0, widths=(2048, 2048, 2048), aug=recipes.simclr()):
  """VIbCReg on `encoder`.

  Args:
    sim, var, cov: weights of invariance, variance and normalised covariance.
    widths: of the expander's layers, with batch norm after all of them (the paper whitens the last iteratively).
    aug: (key, image) -> view.
  """
  def objective(z, views, rng, progress):                                               # z [V, B, K]
    return base.mean(losses.vibcreg(z[i], z[j], sim=sim, var=var, cov=cov) for i, j in base.pairs(len(z))), {}

  return embedding.joint(base.Network(encoder, heads.MLP(widths, norm=True, last_norm=True)), aug, objective)
