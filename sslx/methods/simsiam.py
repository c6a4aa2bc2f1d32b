"""SimSiam (Chen and He, 2021): one view predicts the other, with no negatives and no momentum."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{chen2021simsiam,
  title={Exploring Simple Siamese Representation Learning},
  author={Chen, Xinlei and He, Kaiming},
  booktitle={CVPR}, year={2021}}"""


def make(encoder, *, widths=(2048, 2048, 2048), predictor=(512, 2048), aug=recipes.simsiam()):
  """SimSiam on `encoder`.

  Args:
    widths: of the projector's layers, with batch norm after all of them.
    predictor: of the predictor's layers, a bottleneck, with batch norm after the hidden one.
    aug: (key, image) -> view.
  """
  def objective(p, t, pairs, queue, progress):
    return base.mean(losses.negative_cosine(p[j], t[i]) for i, j in pairs), {}

  return embedding.siamese(base.Network(encoder, heads.MLP(widths, norm=True, last_norm=True)), aug, objective,
                      predictor=heads.MLP(predictor, norm=True))
