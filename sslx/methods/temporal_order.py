"""Shuffle and learn (Misra et al., 2016): are three frames in order? And the arrow of time (Wei et al., 2018)."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import errors, heads
from sslx.augment import recipes, video
from sslx.methods import base, clips, pretext

CITE = """@inproceedings{misra2016shuffle,
  title={Shuffle and Learn: Unsupervised Learning Using Temporal Order Verification},
  author={Misra, Ishan and Zitnick, C. Lawrence and Hebert, Martial},
  booktitle={ECCV}, year={2016}}"""


class Timed(nn.Module):
  """What an encoder of video gives of each time, side by side: x [B, T, H, W, C] -> [B, t D]."""
  encoder: nn.Module

  def __call__(self, x, train=False):
    z = self.encoder.features(x, train)["frames"]                                       # [B, t, D]
    return z.reshape(len(z), -1)


def make(encoder, *, task="order", frames=3, widths=(512,), norm=True, aug=recipes.mae()):
  """The order of frames, on an encoder of video.

  Args:
    task: "order", whether three frames are in order, one way or the other; or "arrow", which way they run.
    frames: that are judged, with "arrow".
    widths: of the head's hidden layers; it reads all times side by side. norm: batch norm in them.
    aug: (key, image) -> view, drawn once a clip; its first view is judged.
  """
  clips.needs_video(encoder, "temporal_order")
  if task not in ("order", "arrow"):
    raise errors.unknown("task", task, ("order", "arrow"))
  draw = video.random_order if task == "order" else lambda key, x: video.random_arrow(key, x, frames=frames)

  def views(rng, batch):
    r_draw, r_aug = jax.random.split(rng)
    x, right = draw(r_draw, batch["image"])                                             # [B, t, H, W, C], [B]
    return {"image": (pretext.first_view(video.alike(aug), r_aug, x)[:, None],), "right": right}

  def objective(out, views):                                                            # out [B, 2]
    value, accuracy = pretext.chosen(out, views["right"])
    return value, {f"{task}_accuracy": accuracy}

  def show(out, views):
    x = views["image"][0][:, 0]
    only = lambda chosen: jnp.where(chosen[:, None, None, None, None] == 1, x, 0.5)
    name = "in order" if task == "order" else "forwards"
    return {"frames": x, name: only(views["right"]), f"{name} as predicted": only(out.argmax(-1))}

  method = pretext.puzzle(Timed(encoder), heads.MLP((*widths, 2), norm), views, pretext.each, objective, show)
  kept = lambda params, state: {"image": base.part("encoder", params["encoder"], state["encoder"])}
  return clips.reading(dataclasses.replace(method, encoder=kept))
