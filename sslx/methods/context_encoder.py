"""Context encoder (Pathak et al., 2016): what is missing from the image, from what is around it."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import errors, heads, losses
from sslx.augment import boxes, mask, recipes
from sslx.methods import base, pretext

CITE = r"""@inproceedings{pathak2016context,
  title={Context Encoders: Feature Learning by Inpainting},
  author={Pathak, Deepak and Kr{\"a}henb{\"u}hl, Philipp and Donahue, Jeff and Darrell, Trevor and Efros, Alexei A.},
  booktitle={CVPR}, year={2016}}"""


def around(hidden, overlap):
  """The places seen at most `overlap` pixels from a hidden one: [N, H, W] -> [N, H, W]."""
  side = 2 * overlap + 1
  near = nn.max_pool(hidden[..., None].astype(float), (side, side), padding="SAME")[..., 0] > 0
  return near & ~hidden


def make(encoder, *, region="center", share=0.25, overlap=2, overlap_weight=10.0, objective="joint", lambda_rec=0.999,
         lambda_adv=0.001, fill=0.5, width=32, critic_width=32, aug=recipes.mae()):
  """A context encoder on `encoder`.

  Args:
    region: what is hidden: the "center", a square, or "random" regions of any form.
    share: of the pixels that is hidden.
    overlap, overlap_weight: pixels around the region that are seen and yet to be painted, and what they weigh.
    objective: "l2"; "adversarial", a critic judges; "joint", both.
    lambda_rec, lambda_adv: of the squared error and the critic's verdict in "joint".
    fill: grey in the hidden region, in [0, 1].
    width, critic_width: channels of the decoder at full size, and of the critic's first layer.
    aug: (key, image) -> view, before it is hidden.

  The critic sees the painted square and its margin, or the whole image where regions are random.
  """
  for name, given, known in (("region", region, ("center", "random")),
                             ("objective", objective, ("l2", "adversarial", "joint"))):
    if given not in known:
      raise errors.unknown(name, given, known)
  weight = {"l2": (1.0, 0.0), "adversarial": (0.0, 1.0), "joint": (lambda_rec, lambda_adv)}[objective]
  critic = None if objective == "l2" else heads.Critic(critic_width)
  pretext.needs_grid(encoder, "context_encoder")
  if not 0 < share < 1 or overlap < 0:
    raise errors.UsageError(f"share is {share:g} and overlap {overlap}: the one must lie between 0 and 1, the other "
                            "not be negative")
  painter = lambda size: pretext.Painter(encoder, heads.Decoder(size, width, spread=True))

  def square(h, w):                                                                     # top, left, height, width
    a, b = (max(1, round(math.sqrt(share) * n)) for n in (h, w))
    return (h - a) // 2, (w - b) // 2, a, b

  def views(rng, batch):
    r_aug, r_mask = jax.random.split(rng)
    x = recipes.views(aug, r_aug, batch["image"], number=1)[0]                          # [B, V, h, w, C]
    *several, h, w = shape = x.shape[:-1]
    if region == "center":
      hidden = jnp.broadcast_to(boxes.inside(square(h, w), (h, w)), shape)
    else:
      hidden = mask.random_regions(r_mask, shape, count=round(share * h * w), grain=max(2, min(h, w) // 4))
    return {"image": (x,), "hidden": hidden}

  def init(rng, batch):
    r_views, r_net, r_critic = jax.random.split(rng, 3)
    x = jax.eval_shape(views, r_views, batch)["image"][0]
    x = jax.ShapeDtypeStruct((1, *x.shape[2:]), x.dtype)
    params, stats = base.init(painter(x.shape[1:]), r_net, x)
    params, state = {"net": params}, {"net": stats}
    if critic:
      params["critic"], state["critic"] = base.init(critic, r_critic, jax.eval_shape(judged, x))
    return params, state

  def judged(x):                                                                        # what the critic sees
    if region == "random":
      return x
    top, left, h, w = square(*x.shape[1:3])
    return x[:, max(0, top - overlap):top + h + overlap, max(0, left - overlap):left + w + overlap]

  def paint(params, state, views, rng=None):
    x, hidden = (v.reshape(-1, *v.shape[2:]) for v in (views["image"][0], views["hidden"]))
    seen = jnp.where(hidden[..., None], fill, x)
    out, stats = base.forward(painter(x.shape[1:]), params["net"], state["net"], seen, rng=rng)
    return x, hidden, seen, jax.nn.sigmoid(out), {**state, "net": stats}

  def loss(params, state, views, rng, progress):
    x, hidden, _, out, state = paint(params, state, views, rng)
    margin = around(hidden, overlap) if overlap else jnp.zeros_like(hidden)
    value = weight[0] * losses.weighted_l2(out, x, hidden + overlap_weight * margin)
    average = jnp.mean(x, (1, 2), where=~hidden[..., None], keepdims=True)
    metrics = {"l2": losses.weighted_l2(out, x, hidden.astype(float)),
               "l2_of_mean_color": losses.weighted_l2(jnp.broadcast_to(average, x.shape), x, hidden.astype(float))}
    if critic:
      fake = judged(jnp.where((hidden | margin)[..., None], out, x))
      generator, critics, stats, found = pretext.rivals(critic, params["critic"], state["critic"], judged(x), fake)
      value, state = value + weight[1] * generator + critics, state | {"critic": stats}
      metrics |= found
    return value, (state, metrics)

  def show(params, state, views):
    x, hidden, seen, out, _ = paint(params, state, views)
    number = views["image"][0].shape[1]
    pictures = {"original": x, "input": seen, "output": jnp.where(hidden[..., None], out, seen)}
    return {k: v[::number] for k, v in pictures.items()}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state), show=show)
