"""BYOL (Grill et al., 2020): one view predicts what a slowly following target says of another."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = r"""@inproceedings{grill2020byol,
  title={Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning},
  author={Grill, Jean-Bastien and Strub, Florian and Altch{\'e}, Florent and Tallec, Corentin and Richemond, Pierre H.
    and others},
  booktitle={NeurIPS}, year={2020}}"""


def make(encoder, *, momentum=0.996, widths=(4096, 256), predictor=(4096, 256), last_norm=False, aug=recipes.byol()):
  """BYOL on `encoder`.

  Args:
    momentum: of the target at the start; it climbs to 1 along half a cosine.
    widths, predictor: of the projector's and the predictor's layers, with batch norm after the hidden ones.
    last_norm: batch norm after the projector's last layer too, as in SimSiam; short runs need it.
    aug: (key, image) -> views.

  The loss is the mean of the two directions, of which the paper takes the sum.
  """
  def objective(p, t, pairs, queue, progress):
    return base.mean(2 + 2 * losses.negative_cosine(p[j], t[i]) for i, j in pairs), {}

  return embedding.siamese(base.Network(encoder, heads.MLP(widths, norm=True, last_norm=last_norm)), aug, objective,
                      predictor=heads.MLP(predictor, norm=True), momentum=lambda s: base.cosine(momentum, 1.0, s))
