"""VICReg (Bardes et al., 2022): views agree, every dimension varies, no two dimensions repeat each other."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{bardes2022vicreg,
  title={VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning},
  author={Bardes, Adrien and Ponce, Jean and LeCun, Yann},
  booktitle={ICLR}, year={2022}}"""


def make(encoder, *, sim=25.0, var=25.0, cov=1.0, widths=(8192, 8192, 8192), aug=recipes.simclr()):
  """VICReg on `encoder`.

  Args:
    sim, var, cov: weights of invariance, variance and covariance (the paper's lambda, mu and nu).
    widths: of the expander's layers, with batch norm after the hidden ones.
    aug: (key, image) -> view.
  """
  def objective(z, views, rng, progress):                                               # z [V, B, K]
    return base.mean(losses.vicreg(z[i], z[j], sim=sim, var=var, cov=cov) for i, j in base.pairs(len(z))), {}

  return embedding.joint(base.Network(encoder, heads.MLP(widths, norm=True)), aug, objective)
