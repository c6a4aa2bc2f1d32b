"""NNCLR (Dwibedi et al., 2021): the positive is the nearest neighbour of the other view among earlier examples."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{dwibedi2021nnclr,
  title={With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations},
  author={Dwibedi, Debidatta and Aytar, Yusuf and Tompson, Jonathan and Sermanet, Pierre and Zisserman, Andrew},
  booktitle={ICCV}, year={2021}}"""


def make(encoder, *, temperature=0.1, queue=98304, widths=(2048, 2048, 256), predictor=(4096, 256),
         aug=recipes.simclr()):
  """NNCLR on `encoder`.

  Args:
    temperature: of the cosine similarities.
    queue: projections that are remembered (the paper's support set).
    widths: of the projector's layers, with batch norm after all of them.
    predictor: of the predictor's layers, with batch norm after the hidden one.
    aug: (key, image) -> view.
  """
  def objective(p, t, pairs, queue, progress):
    near = [base.neighbours(x, queue)[:, 0] for x in t]                                 # T times [B, K]
    value = base.mean(losses.info_nce(near[i], p[j], temperature=temperature) for i, j in pairs)
    return value, base.found(near[0], p[1], p[1])

  return embedding.siamese(base.Network(encoder, heads.MLP(widths, norm=True, last_norm=True)), aug, objective,
                      predictor=heads.MLP(predictor, norm=True), queue=queue)
