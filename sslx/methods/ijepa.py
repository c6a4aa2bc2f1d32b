"""I-JEPA (Assran et al., 2023): from a part of the image, what a moving average of the encoder makes of other parts."""

import jax
import jax.numpy as jnp

from sslx import errors, losses
from sslx.augment import mask, recipes
from sslx.heads import TokenDecoder
from sslx.methods import base, masked, pretext

CITE = """@inproceedings{assran2023ijepa,
  title={Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture},
  author={Assran, Mahmoud and Duval, Quentin and Misra, Ishan and Bojanowski, Piotr and Vincent, Pascal and
    Rabbat, Michael and LeCun, Yann and Ballas, Nicolas},
  booktitle={CVPR}, year={2023}}"""

OBJECTIVES = {"smooth_l1": losses.smooth_l1, "l2": losses.weighted_l2}
NORMALISED = {"layer": -1, "batch": 0}                     # over this axis of [B, h, w, D]


def make(encoder, *, targets=4, share=0.175, ratio=(0.75, 1.5), context=0.0, scale=(0.85, 1.0), width=384, depth=12,
         heads=12, momentum=0.996, normalise="layer", objective="smooth_l1", aug=recipes.ijepa()):
  """I-JEPA on `encoder`, a ViT whose patch tokens are its representation; the target encoder is what is kept.

  Args:
    targets, share, ratio: blocks that are predicted, each by itself; the share of the patches in each; the range of
      their height / width.
    context, scale: share of the patches that are seen, 0 for those left where targets do not overlap; the range of the
      size of the block they are drawn from. See `augment.mask.random_targets`.
    width, depth, heads: of the predictor, a narrow ViT.
    momentum: of the target encoder at the start; it climbs to 1 linearly.
    normalise: the targets by "layer", each patch's vector, as in the paper; or by "batch", each channel at each place
      over the images: what all have in common is no target then, and short runs on small images do not collapse to it.
    objective: "smooth_l1", as in the authors' code, or "l2", as in the paper.
    aug: (key, image) -> view.
  """
  masked.needs_patches(encoder, "ijepa", "keep")
  if encoder.pool != "mean":
    raise errors.UsageError("ijepa trains patch tokens, no class token: set encoder.pool to mean")
  for name, given, known in (("objective", objective, OBJECTIVES), ("normalise", normalise, NORMALISED)):
    if given not in known:
      raise errors.unknown(name, given, known)
  predictor = TokenDecoder(encoder.width, width, depth, heads, encoder.dtype, encoder.base)

  def counts(h, w):                                                                     # patches predicted, and seen
    count = round(share * h * w)
    seen = round(context * h * w) or h * w - targets * count
    if count < 1 or not 0 < seen <= h * w - targets * count:
      raise errors.UsageError(f"ijepa: of {h}x{w} patches, {targets} targets of {count} leave too few for a context: "
                              "choose smaller method.targets, method.share or method.context, or smaller patches")
    return count, seen

  def views(rng, batch):
    r_aug, r_mask = jax.random.split(rng)
    x = pretext.first_view(aug, r_aug, batch["image"])
    h, w = masked.grid(encoder, x)
    count, seen = counts(h, w)
    seen, asked = mask.random_targets(r_mask, (len(x), h, w), targets=targets, count=count, context=seen, ratio=ratio,
                                      scale=scale)
    return {"image": x, "context": seen, "targets": asked}                              # [B, h, w], [B, V, h, w]

  def init(rng, batch):
    r_views, r_encoder, r_predictor = jax.random.split(rng, 3)
    x = jax.eval_shape(views, r_views, batch)["image"]
    params, _ = base.init(encoder, r_encoder, x)
    tokens, place = jnp.zeros((1, 1, encoder.width)), jnp.zeros((1, 1), int)
    start = jax.jit(predictor.init, static_argnums=4)(r_predictor, tokens, place, place, masked.grid(encoder, x))
    return {"encoder": params, "predictor": start["params"]}, {"target": jax.tree.map(jnp.copy, params)}

  def loss(params, state, views, rng, progress):
    x, asked = views["image"], views["targets"]
    (B, V, h, w), (count, number) = asked.shape, counts(*asked.shape[2:])
    out, target = masked.taught(encoder, state["target"], params["encoder"], x, base.climb(momentum, 1.0, progress, 1))
    asked = mask.split(asked, count)[1]                                                 # [B, V, M]
    latent = masked.normalised(out["grid"], axis=NORMALISED[normalise]).reshape(B, 1, h * w, -1)
    latent = jnp.take_along_axis(latent, asked[..., None], 2).reshape(B * V, count, -1)
    seen = mask.split(views["context"], number)[1]                                      # [B, K]
    tokens, _ = base.forward(encoder, params["encoder"], {}, x, seen, rng=rng,
                             method=lambda net, x, seen, train: net.features(x, train, seen)["tokens"])
    each = lambda v: jnp.repeat(v, V, 0)                                                # the context, for each target
    predicted, _ = base.forward(predictor, params["predictor"], {}, each(tokens), each(seen),
                                asked.reshape(B * V, count), method=lambda net, *x, train: net(*x, (h, w)))
    value = OBJECTIVES[objective](predicted, latent, jnp.ones(latent.shape[:2]))
    return value, ({"target": target}, {"z_std": losses.feature_std(out["pooled"])})

  def show(params, state, views):
    x, asked = views["image"], views["targets"]
    only = lambda places: masked.covered(x, ~places, encoder.patch)
    return {"view": x, "context": only(views["context"])} | {
        f"target {v + 1}": only(asked[:, v]) for v in range(asked.shape[1])}

  return base.Method(init, views, loss, lambda params, state: {"image": {"params": state["target"]}}, show=show)
