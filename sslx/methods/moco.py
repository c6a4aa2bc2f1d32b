"""MoCo v2 (He et al., 2020; Chen et al., 2020): a queue of earlier keys serves as negatives."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@article{chen2020mocov2,
  title={Improved Baselines with Momentum Contrastive Learning},
  author={Chen, Xinlei and Fan, Haoqi and Girshick, Ross and He, Kaiming},
  journal={arXiv:2003.04297}, year={2020}}"""


def make(encoder, *, temperature=0.2, momentum=0.999, queue=65536, widths=(2048, 128), norm=False,
         aug=recipes.moco_v2()):
  """MoCo v2 on `encoder`.

  Args:
    temperature: of the cosine similarities.
    momentum: of the key network, which sees the first view.
    queue: keys that are remembered.
    widths, norm: of the projector's layers, and whether its hidden ones have batch norm.
    aug: (key, image) -> view.

  Batch statistics are those of the whole batch, so there is nothing for the paper's shuffling to hide.
  """
  def objective(p, t, pairs, queue, progress):
    value = base.mean(losses.info_nce(p[j], t[i], queue, temperature=temperature) for i, j in pairs)
    return value, base.found(p[0], t[0], queue)

  return embedding.siamese(base.Network(encoder, heads.MLP(widths, norm)), aug, objective, queue=queue,
                      momentum=lambda s: momentum, symmetric=False)
