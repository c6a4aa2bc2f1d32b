"""Image and depth: each finds the other (CMC: Tian et al., 2020), or the depth is told from the image (Eigen et al.,
2014)."""

import jax
import jax.numpy as jnp

from sslx import augment, encoders, errors, heads, losses
from sslx.augment import recipes
from sslx.encoders.depth_resnet import LARGEST
from sslx.methods import base, pretext, towers, words

CITE = """@inproceedings{tian2020cmc,
  title={Contrastive Multiview Coding},
  author={Tian, Yonglong and Krishnan, Dilip and Isola, Phillip},
  booktitle={ECCV}, year={2020}}"""


def make(encoder, *, depth=encoders.options("depth_resnet18"), target="contrast", width=128, temperature=0.07, far=0.0,
         share=0.5, reduce=2, decoder=32, aug=recipes.mae(scale=(0.5, 1.0), interpolation="bilinear")):
  """Image and depth on an image encoder. Examples without the one or the other do not count.

  Args:
    depth: of contrast, the encoder of depth maps: its name and options. It is kept, too.
    target: "contrast": an image finds its depth among all of the batch, and a depth its image; or "depth": a decoder on
      the encoder's grid draws the logarithm of the depth.
    width, temperature: of contrast, as in audio_visual.
    far: from here on numbers of the map are no measurements, 0 for no such limit; 0 never is one.
    share, reduce, decoder: of depth: what the loss forgives of an error of scale, 0 to 1; how many times smaller than
      the view the drawn map is; channels of the decoder at full size.
    aug: (key, image) -> view, of forms alone: image and depth go through it as one.
  """
  if target not in ("contrast", "depth"):
    raise errors.unknown("target", target, ("contrast", "depth"))

  def views(rng, batch):
    image, depth = augment.to_float(batch["image"]), batch["depth"]
    known = (depth > 0) & (depth < far) if far else depth > 0
    log = jnp.where(known, jnp.log(jnp.maximum(depth.astype(float), 1)) / jnp.log(float(LARGEST)), 0)
    x = jnp.concatenate([image, augment.to_float(depth), log, known.astype(float)], -1)
    x = pretext.first_view(aug, rng, x)
    image, depth, log, known = jnp.split(x, [x.shape[-1] - 3, x.shape[-1] - 2, x.shape[-1] - 1], -1)
    whole = towers.there(batch["image"]) & towers.there(batch["depth"])
    return {"image": image, "depth": depth, "log": log, "known": known * whole[:, None, None, None], "whole": whole}

  if target == "depth":
    return told(encoder, views, share, reduce, decoder)
  objective, learnt = towers.symmetric(temperature)
  show = lambda views: {"view": views["image"], "depth": views["depth"] / jnp.max(views["depth"])}
  return towers.contrast({"image": encoder, "depth": towers.built("depth", depth)}, views, objective, width=width,
                         learnt=learnt, show=show)


def size(x, reduce):
  """(h, w) of the map that is drawn of images [B, H, W, C]."""
  return -(-x.shape[1] // reduce), -(-x.shape[2] // reduce)


def truth(views, reduce):
  """(log depth [B, h, w, 1], 1.0 where it is known), at the size of the drawn map."""
  small = lambda x: augment.resize(x, size(x, reduce))
  known = small(views["known"])                              # the logarithm is 0 where it is not: a mean by weight
  log = small(views["log"]) / jnp.maximum(known, 1e-3) * jnp.log(float(LARGEST))
  return log, (known > 0.5).astype(log.dtype)


def told(encoder, views, share, reduce, decoder):
  """The method that draws the logarithm of depth, less its mean so far, on the encoder's grid."""
  pretext.needs_grid(encoder, "image_depth")
  if reduce < 1:
    raise errors.UsageError(f"reduce is {reduce}: it must be 1 or more")

  def net(x):
    return pretext.Painter(encoder, heads.Decoder((*size(x, reduce), 1), decoder))

  def init(rng, batch):
    x = jax.eval_shape(views, rng, batch)["image"]
    params, stats = base.init(net(x), rng, x)
    return {"net": params}, {"net": stats, "mean": jnp.zeros((), float), "count": jnp.zeros((), float)}

  def drawn(params, state, views, rng=None):
    out, stats = base.forward(net(views["image"]), params["net"], state["net"], views["image"], rng=rng)
    log, known = truth(views, reduce)
    count = state["count"] + jnp.any(known > 0)
    mean = words.share(log, known) - state["mean"]
    mean = state["mean"] + jnp.where(known.sum() > 0, mean, 0) / jnp.maximum(count, 1)  # over all batches so far
    state = {"net": stats, "mean": mean.astype(state["mean"].dtype), "count": count}
    return out + mean, log, known, state

  def loss(params, state, views, rng, progress):
    out, log, known, state = drawn(params, state, views, rng)
    metrics = {}
    for name, guess in (("", jax.lax.stop_gradient(out)), ("_of_mean", jnp.broadcast_to(state["mean"], log.shape))):
      metrics |= {f"rmse_log{name}": jnp.sqrt(words.share((guess - log) ** 2, known)),
                  f"abs_rel{name}": words.share(jnp.abs(jnp.exp(guess - log) - 1), known),
                  f"scale_invariant{name}": losses.scale_invariant(guess, log, known, share=1.0)}
    return losses.scale_invariant(out, log, known, share=share), (state, metrics)

  def show(params, state, views):
    out, log, known, _ = drawn(params, state, views)
    low = jnp.min(jnp.where(known > 0, log, jnp.inf))
    high = jnp.max(jnp.where(known > 0, log, -jnp.inf))
    scaled = lambda x: (jnp.clip(1 - (x - low) / jnp.maximum(high - low, 1e-6), 0, 1))   # near is light
    return {"image": views["image"], "depth": scaled(log) * known, "predicted": scaled(out)}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state),
                     reads=("image", "depth"), show=show)
