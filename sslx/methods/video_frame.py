"""A frame and the clip around it: the frame's embedding finds its clip's among all (temporal consistency).

In Feichtenhofer et al. (2021) two clips of one video attract; here one of the two is a single frame.
"""

import dataclasses

import jax
import jax.numpy as jnp

from sslx import errors, heads, losses
from sslx.augment import recipes, video
from sslx.methods import base, clips, embedding

CITE = """@inproceedings{feichtenhofer2021large,
  title={A Large-Scale Study on Unsupervised Spatiotemporal Representation Learning},
  author={Feichtenhofer, Christoph and Fan, Haoqi and Xiong, Bo and Girshick, Ross and He, Kaiming},
  booktitle={CVPR}, year={2021}}"""


def make(encoder, *, frames=0, temperature=0.1, widths=(2048, 128), norm=False, aug=recipes.simclr()):
  """Frame and clip on an encoder of video that has an image encoder for each frame; both are kept, each a tower.

  Args:
    frames: of the clip around the frame; 0 for half of the video's.
    temperature: of the cosines of frames and clips, each of which finds the other among all.
    widths: of the projector's layers. norm: batch norm in the hidden ones.
    aug: (key, image) -> view; the clip is augmented alike in all frames, the frame by itself.
  """
  if not hasattr(encoder, "image"):
    raise errors.UsageError(f"video_frame needs an image encoder on every frame, which {type(encoder).__name__} does "
                            "not have: set encoder.name to frames_resnet18 or the like")
  one = video.alike(aug)

  def cuts(key, clip):                                       # [B, T, ...] -> [B, 1, 1, ...] and [B, 1, t, ...]
    r_at, r_frame, r_clip, r_which = jax.random.split(key, 4)
    B, T = clip.shape[:2]
    t = frames or max(1, T // 2)
    if not 1 <= t < T:
      raise errors.UsageError(f"method.frames is {t}: clips of {T} frames have 1 to {T - 1} around one")
    start = jax.random.randint(r_at, (B,), 0, T - t)                                    # of t + 1 frames
    which = jax.random.randint(r_which, (B,), 0, t + 1)                                 # the one that stands alone
    others = jnp.arange(t) + (jnp.arange(t) >= which[:, None])
    frame, around = (video.taken(clip, start[:, None] + i) for i in (which[:, None], others))
    return one(r_frame, frame)[:, None], one(r_clip, around)[:, None]

  def objective(z, views, rng, progress):                                               # z [2, B, K]
    return losses.clip(*z, scale=1 / temperature), base.found(*z, z[1], itself=None)

  net = base.Network(encoder, heads.MLP(widths, norm))
  inner = clips.reading(embedding.joint(net, cuts, objective, affinity=True))

  def towers(params, state):
    whole = inner.encoder(params, state)["video"]
    return {"video": whole, "image": {k: v["image"] for k, v in whole.items() if "image" in v}}
  return dataclasses.replace(inner, encoder=towers)
