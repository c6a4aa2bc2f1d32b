"""DINOv2 (Oquab et al., 2023): DINO and iBOT with heads of their own, Sinkhorn's balance and KoLeo."""

from sslx.augment import recipes
from sslx.methods import ibot

CITE = r"""@article{oquab2023dinov2,
  title={{DINOv2}: Learning Robust Visual Features without Supervision},
  author={Oquab, Maxime and Darcet, Timoth{\'e}e and Moutakanni, Th{\'e}o and Vo, Huy and Szafraniec, Marc and
    Khalidov, Vasil and Fernandez, Pierre and Haziza, Daniel and Massa, Francisco and El-Nouby, Alaaeldin and others},
  journal={arXiv:2304.07193}, year={2023}}"""


def make(encoder, *, student_temp=0.1, teacher_temp=0.07, warm_temp=0.04, warm=0.3, momentum=0.994,
         centering="sinkhorn", center=0.9, prototypes=131072, patch_prototypes=131072, freeze=0.01,
         widths=(2048, 2048, 384), norm=False, share=0.5, ratio=(0.1, 0.5), patch_weight=0.5, koleo=0.1,
         aug=recipes.dino(scale=(0.32, 1.0), small_scale=(0.05, 0.32))):
  """DINOv2 on `encoder`: iBOT's arguments with other defaults; see `ibot.make`."""
  return ibot.make(encoder, student_temp=student_temp, teacher_temp=teacher_temp, warm_temp=warm_temp, warm=warm,
                   momentum=momentum, centering=centering, center=center, prototypes=prototypes,
                   patch_prototypes=patch_prototypes, freeze=freeze, widths=widths, norm=norm, share=share,
                   ratio=ratio, patch_weight=patch_weight, koleo=koleo, aug=aug)
