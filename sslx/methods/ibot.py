"""iBOT (Zhou et al., 2022): DINO on the class token, and on the patches that are hidden from the student."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors, heads, losses
from sslx.augment import mask, recipes
from sslx.methods import base, embedding, masked

CITE = """@inproceedings{zhou2022ibot,
  title={Image BERT Pre-Training with Online Tokenizer},
  author={Zhou, Jinghao and Wei, Chen and Wang, Huiyu and Shen, Wei and Xie, Cihang and Yuille, Alan and Kong, Tao},
  booktitle={ICLR}, year={2022}}"""

GROUP = 8                                                  # images, at most, that share out the sizes of masks


class Network(nn.Module):
  """A ViT with a head on its class token and one on patches: x [N, H, W, C] -> z [N, K].

  Given places [G, M] of patches, counted through groups of N / G images: (z, the pooled h [N, D], patches [G M, K]).
  mask [N, h, w]: where the patches are hidden. patch_head: None for the class token's own.
  """
  encoder: nn.Module
  head: nn.Module
  patch_head: nn.Module | None = None

  @nn.compact
  def __call__(self, x, mask=None, places=None, train=False):
    out = masked.Masked(self.encoder, name="masked")(x, mask, train)
    z = self.head(out["pooled"], train)
    if places is None and not self.is_initializing():
      return z
    places = jnp.zeros((len(x), 1), int) if places is None else places
    patches = out["grid"].reshape(len(places), -1, out["grid"].shape[-1])
    patches = jnp.take_along_axis(patches, places[..., None], 1).reshape(-1, patches.shape[-1])
    return z, out["pooled"], (self.patch_head or self.head)(patches, train)


def make(encoder, *, student_temp=0.1, teacher_temp=0.07, warm_temp=0.04, warm=0.3, momentum=0.996, centering="mean",
         center=0.9, prototypes=8192, patch_prototypes=0, freeze=0.01, widths=(2048, 2048, 256), norm=False,
         share=0.5, ratio=(0.1, 0.5), patch_weight=1.0, koleo=0.0, aug=recipes.dino()):
  """iBOT on `encoder`, a ViT with a class token; the teacher's encoder is what is kept.

  Args:
    student_temp, teacher_temp: of the distributions over the prototypes, the class token's and the patches'.
    warm_temp, warm: the teacher's temperature at the start, and the share of the run in which it goes to its own.
    momentum: of the teacher at the start; it climbs to 1 along half a cosine.
    centering: of the teacher: "mean", a moving one is subtracted, or "sinkhorn", 3 iterations over the batch (Ruan et
      al., 2023).
    center: share of the old center that is kept.
    prototypes, patch_prototypes: width K of the output; 0: patches have the class token's head.
    freeze: share of the run in which the last layer stays as it is.
    widths: of the head's layers (GELU between), the last a bottleneck of unit vectors; norm: batch norm between them,
      of class tokens and patches apart.
    share: of the large views that the student sees masked, by blocks; every few images the same number, so that shapes
      are fixed.
    ratio: range of the share of patches that is hidden in those.
    patch_weight: of the patches' loss, the mean over masked views of the mean over hidden patches; the class token's
      has 1. (The authors divide by all views: that is patch_weight = share.)
    koleo: weight of KoLeo on the class tokens of each large view (DINOv2).
    aug: (key, image) -> views; the teacher sees the large ones, whole.
  """
  masked.needs_patches(encoder, "ibot")
  if encoder.pool != "token":
    raise errors.UsageError("ibot compares class tokens: set encoder.pool to token")
  if centering not in ("mean", "sinkhorn"):
    raise errors.unknown("centering", centering, ("mean", "sinkhorn"))
  if not 0 < share <= 1 or not 0 < ratio[0] <= ratio[1] < 1:
    raise errors.UsageError(f"share is {share:g} and ratio {ratio}: the one must lie above 0 and not above 1, the "
                            "others between 0 and 1, the smaller first")
  head = lambda number: heads.Chain((heads.MLP(widths, norm, activation="gelu"), heads.Prototypes(number)))
  net = Network(encoder, head(prototypes), head(patch_prototypes) if patch_prototypes else None)

  def counts(batch, views, patches):                                                    # of hidden patches, by image
    rows = math.gcd(batch, GROUP) * views
    number = max(1, round(share * rows))
    middles = ratio[0] + (ratio[1] - ratio[0]) * (np.arange(number) + 0.5) / number
    return np.append(np.maximum(1, np.round(middles * patches)), np.zeros(rows - number)).astype(int)

  def views(rng, batch):
    r_aug, r_counts, r_mask = jax.random.split(rng, 3)
    x = recipes.views(aug, r_aug, batch["image"])
    (B, V), (h, w) = x[0].shape[:2], masked.grid(encoder, x[0])
    each = mask.share_out(r_counts, counts(B, V, h * w), B * V).reshape(B, V)
    return {"image": x, "mask": mask.random_blocks(r_mask, (B, V, h, w), count=each, smallest=(min(h, w) // 3) ** 2)}

  def init(rng, batch):
    r_views, r_net = jax.random.split(rng)
    x = jax.eval_shape(views, r_views, batch)["image"][0]
    params, stats = base.init(net, r_net, jax.ShapeDtypeStruct((1, *x.shape[2:]), x.dtype))
    state = {"net": stats, "target": base.target(params, stats)}
    if centering == "mean":
      state["center"] = {"z": jnp.zeros(prototypes, float), "patch": jnp.zeros(patch_prototypes or prototypes, float)}
    return {"net": params}, state

  def loss(params, state, views, rng, progress):
    (large, *small), hidden, state = views["image"], views["mask"], dict(state)
    B, V, h, w = hidden.shape
    x, hidden, size = large.reshape(-1, *large.shape[2:]), hidden.reshape(-1, h, w), counts(B, V, h * w)
    grouped = lambda v: v.reshape(-1, len(size) * h * w)
    places = mask.split(grouped(hidden)[:, None], size.sum())[1]                        # [G, M]
    weight = hidden / jnp.maximum(hidden.sum((1, 2), keepdims=True), 1)
    weight = jnp.take_along_axis(grouped(weight), places, 1).reshape(-1)

    moved = base.moved(state["target"]["params"], params["net"], base.cosine(momentum, 1.0, progress))
    (t, _, t_patch), stats = base.forward(net, moved, state["target"]["stats"], x, None, places)
    state["target"] = {"params": moved, "stats": stats}
    student = base.frozen(params["net"], "prototypes", progress < freeze)
    (s, pooled, s_patch), stats = base.forward(net, student, state["net"], x, hidden, places, rng=rng)
    by_view = lambda v: v.reshape(B, V, -1).swapaxes(0, 1)                              # [V, B, K]
    s, t, pooled = by_view(s), by_view(t), by_view(pooled)
    if small:
      more, stats = base.encode(net, student, stats, small, rng=rng)
      s = jnp.concatenate([s, more])
    state["net"] = stats

    temp, middle = base.climb(warm_temp, teacher_temp, progress, warm), state.get("center", {})
    if centering == "mean":
      state["center"] = {k: center * middle[k] + (1 - center) * v.reshape(-1, v.shape[-1]).mean(0)
                         for k, v in (("z", t), ("patch", t_patch))}
    else:
      balanced = lambda v: losses.sinkhorn(v.reshape(-1, v.shape[-1]), epsilon=temp).reshape(v.shape)
      t, t_patch = balanced(t), balanced(t_patch)
    temps = {"student_temp": student_temp, "teacher_temp": temp}
    metrics = {"class": losses.dino(s, t, middle.get("z"), **temps),
               "patch": losses.ibot(s_patch, t_patch, middle.get("patch"), weight, **temps)}
    value = metrics["class"] + patch_weight * metrics["patch"]
    if koleo:
      metrics["koleo"] = base.mean(map(losses.koleo, pooled))
      value += koleo * V * metrics["koleo"]
    return value, (state, metrics | {"z_std": losses.feature_std(s[0])})

  def encode(params, state):
    return {"image": base.part("encoder", state["target"]["params"], state["target"]["stats"])}

  def show(params, state, views):
    first = views["image"][0][:, 0]
    return (embedding.shown(views) | {"masked": masked.covered(first, views["mask"][:, 0], encoder.patch)}
            | masked.attention(encoder, encode(params, state)["image"], first))

  return base.Method(init, views, loss, encode, show=show,
                     project=lambda params, state: (net, {"params": state["target"]["params"],
                                                          **state["target"]["stats"]}))
