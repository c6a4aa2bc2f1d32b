"""NNBYOL: BYOL (Grill et al., 2020) whose target is a nearest neighbour, as in NNCLR (Dwibedi et al., 2021)."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{dwibedi2021nnclr,
  title={With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations},
  author={Dwibedi, Debidatta and Aytar, Yusuf and Tompson, Jonathan and Sermanet, Pierre and Zisserman, Andrew},
  booktitle={ICCV}, year={2021}}"""


def make(encoder, *, momentum=0.99, queue=65536, widths=(4096, 256), predictor=(4096, 256), last_norm=False,
         aug=recipes.byol()):
  """NNBYOL on `encoder`.

  Args:
    momentum: of the target at the start; it climbs to 1 along half a cosine.
    queue: targets that are remembered, among which the neighbour is looked for.
    widths, predictor: of the projector's and the predictor's layers, with batch norm after the hidden ones.
    last_norm: batch norm after the projector's last layer too, as in SimSiam; short runs need it.
    aug: (key, image) -> views.
  """
  def objective(p, t, pairs, queue, progress):
    near = [base.neighbours(x, queue)[:, 0] for x in t]                                 # T times [B, K]
    return base.mean(2 + 2 * losses.negative_cosine(p[j], near[i]) for i, j in pairs), {}

  net = base.Network(encoder, heads.MLP(widths, norm=True, last_norm=last_norm))
  return embedding.siamese(net, aug, objective, queue=queue, predictor=heads.MLP(predictor, norm=True),
                      momentum=lambda s: base.cosine(momentum, 1.0, s))
