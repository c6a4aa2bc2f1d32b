"""MoCo v3 (Chen et al., 2021): the keys of the batch are the negatives, and a predictor sits on the query."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{chen2021mocov3,
  title={An Empirical Study of Training Self-Supervised Vision Transformers},
  author={Chen, Xinlei and Xie, Saining and He, Kaiming},
  booktitle={ICCV}, year={2021}}"""


def make(encoder, *, temperature=1.0, momentum=0.99, widths=(4096, 256), predictor=(4096, 256),
         aug=recipes.moco_v3()):
  """MoCo v3 on `encoder`.

  Args:
    temperature: of the cosine similarities; the loss is multiplied by it.
    momentum: of the key network at the start; it climbs to 1 along half a cosine.
    widths, predictor: of the projector's and the predictor's layers, with batch norm after all (ViT: three and two).
    aug: (key, image) -> views.
  """
  def objective(p, t, pairs, queue, progress):
    value = base.mean(2 * temperature * losses.info_nce(p[j], t[i], temperature=temperature) for i, j in pairs)
    return value, base.found(p[1], t[0], t[0])

  return embedding.siamese(base.Network(encoder, heads.MLP(widths, norm=True, last_norm=True)), aug, objective,
                      predictor=heads.MLP(predictor, norm=True, last_norm=True),
                      momentum=lambda s: base.cosine(momentum, 1.0, s))
