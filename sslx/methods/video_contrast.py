"""CVRL (Qian et al., 2021): two cuts of one video attract, all others repel; each is augmented alike in all frames."""

import jax
import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes, video
from sslx.methods import base, clips, embedding

CITE = """@inproceedings{qian2021cvrl,
  title={Spatiotemporal Contrastive Video Representation Learning},
  author={Qian, Rui and Meng, Tianjian and Gong, Boqing and Yang, Ming-Hsuan and Wang, Huisheng and Belongie, Serge
    and Cui, Yin},
  booktitle={CVPR}, year={2021}}"""


def make(encoder, *, frames=0, temperature=0.1, widths=(2048, 128), norm=False, aug=recipes.simclr()):
  """CVRL on an encoder of video.

  Args:
    frames: of each cut; 0 for half of the clip's.
    temperature: of NT-Xent.
    widths: of the projector's layers. norm: batch norm in the hidden ones.
    aug: (key, image) -> view, of one kind; drawn once a cut.
  """
  clips.needs_video(encoder, "video_contrast")
  one = video.alike(aug)

  def cuts(key, clip):                                                                  # [B, T, ...] -> [B, 2, t, ...]
    r_cut, *keys = jax.random.split(key, 3)
    pair = video.random_pair(r_cut, clip, frames=frames or max(1, clip.shape[1] // 2))
    return (jnp.stack([one(k, pair[:, i]) for i, k in enumerate(keys)], 1),)

  def objective(z, views, rng, progress):                                               # z [2, B, K]
    return losses.ntxent(*z, temperature=temperature), base.found(*z, jnp.concatenate(z),
                                                                  itself=jnp.arange(z.shape[1]))

  net = base.Network(encoder, heads.MLP(widths, norm))
  return clips.reading(embedding.joint(net, cuts, objective, affinity=True))
