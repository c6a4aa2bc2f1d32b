"""NNSiam: SimSiam (Chen and He, 2021) whose target is a nearest neighbour, as in NNCLR (Dwibedi et al., 2021)."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{dwibedi2021nnclr,
  title={With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations},
  author={Dwibedi, Debidatta and Aytar, Yusuf and Tompson, Jonathan and Sermanet, Pierre and Zisserman, Andrew},
  booktitle={ICCV}, year={2021}}"""


def make(encoder, *, queue=65536, widths=(2048, 2048, 2048), predictor=(512, 2048), aug=recipes.simsiam()):
  """NNSiam on `encoder`.

  Args:
    queue: projections that are remembered, among which the neighbour is looked for.
    widths: of the projector's layers, with batch norm after all of them.
    predictor: of the predictor's layers, a bottleneck, with batch norm after the hidden one.
    aug: (key, image) -> view.
  """
  def objective(p, t, pairs, queue, progress):
    near = [base.neighbours(x, queue)[:, 0] for x in t]                                 # T times [B, K]
    return base.mean(losses.negative_cosine(p[j], near[i]) for i, j in pairs), {}

  return embedding.siamese(base.Network(encoder, heads.MLP(widths, norm=True, last_norm=True)), aug, objective,
                      predictor=heads.MLP(predictor, norm=True), queue=queue)
