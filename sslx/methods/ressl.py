"""ReSSL (Zheng et al., 2021): a strong view has the same relations to earlier examples as a weak view has."""

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{zheng2021ressl,
  title={ReSSL: Relational Self-Supervised Learning with Weak Augmentation},
  author={Zheng, Mingkai and You, Shan and Wang, Fei and Qian, Chen and Zhang, Changshui and Wang, Xiaogang and Xu,
    Chang},
  booktitle={NeurIPS}, year={2021}}"""


def make(encoder, *, student_temp=0.1, teacher_temp=0.04, momentum=0.999, queue=131072, widths=(4096, 512), norm=True,
         aug=recipes.weak_strong()):
  """ReSSL on `encoder`.

  Args:
    student_temp, teacher_temp: of the two distributions over the queue.
    momentum: of the teacher, which sees the first view, the weak one.
    queue: the teacher's projections that are remembered.
    widths, norm: of the projector's layers, and whether its hidden ones have batch norm.
    aug: (key, image) -> views, the weak one first.
  """
  def objective(p, t, pairs, queue, progress):
    value = base.mean(losses.ressl(p[j], t[i], queue, student_temp=student_temp, teacher_temp=teacher_temp)
                      for i, j in pairs)
    return value, base.found(p[0], t[0], queue)

  return embedding.siamese(base.Network(encoder, heads.MLP(widths, norm)), aug, objective, queue=queue,
                      momentum=lambda s: momentum, symmetric=False)
