"""data2vec (Baevski et al., 2022): from a masked image, what a slow teacher's top blocks say of the whole one."""

import jax
import jax.numpy as jnp

from sslx import errors, heads, losses
from sslx.augment import mask, recipes
from sslx.methods import base, masked, pretext

CITE = r"""@inproceedings{baevski2022data2vec,
  title={data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language},
  author={Baevski, Alexei and Hsu, Wei-Ning and Xu, Qiantong and Babu, Arun and Gu, Jiatao and Auli, Michael},
  booktitle={ICML}, year={2022}}"""


def make(encoder, *, ratio=0.6, smallest=16, top=6, beta=2.0, momentum=0.9998, momentum_end=0.9998, climb=0.0,
         aug=recipes.mae()):
  """data2vec's image form on an encoder whose `features` takes a mask, such as a ViT.

  Args:
    ratio: share of the patches that is hidden, in blocks of `smallest` patches or more (Bao et al., 2022).
    top: the targets are the mean of the last `top` blocks' outputs, each normalised.
    beta: error from which the loss is linear.
    momentum, momentum_end, climb: of the teacher at the start, and after a linear climb in this share of the run.
    aug: (key, image) -> view, which the teacher sees whole and the student masked.
  """
  masked.needs_patches(encoder, "data2vec")
  pretext.needs_grid(encoder, "data2vec")
  if not (0 < top <= encoder.depth and beta > 0):
    raise errors.UsageError(f"top is {top} and beta {beta:g}: the one must lie between 1 and the {encoder.depth} "
                            "blocks of the encoder, the other above 0")
  number = masked.counted(ratio)
  net, head = masked.Masked(encoder), heads.MLP((encoder.width,))
  views = masked.views(encoder, aug, lambda key, shape: mask.random_blocks(key, shape, count=number(*shape[1:]),
                                                                           smallest=smallest))

  def init(rng, batch):
    r_views, r_net, r_head = jax.random.split(rng, 3)
    params, stats = base.init(net, r_net, jax.eval_shape(views, r_views, batch)["image"])
    teacher = jax.tree.map(jnp.copy, params["encoder"])
    return ({"net": params, "head": base.init(head, r_head, jnp.zeros((1, encoder.width)))[0]},
            {"net": stats, "teacher": teacher})

  def both(params, state, views, kept, rng=None):
    x, hide = views["image"], views["mask"]
    seen, teacher = masked.taught(encoder, state["teacher"], params["net"]["encoder"], x, kept)
    target = base.mean(masked.normalised(seen[f"stage{i}"]) for i in range(encoder.depth - top + 1, encoder.depth + 1))
    found, stats = base.forward(net, params["net"], state["net"], x, hide, rng=rng)
    return head.apply({"params": params["head"]}, found["grid"]), target, {"net": stats, "teacher": teacher}

  def loss(params, state, views, rng, progress):
    kept = base.climb(momentum, momentum_end, progress, climb)
    out, target, state = both(params, state, views, kept, rng)                          # [B, h, w, D]
    value = losses.smooth_l1(out, target, views["mask"], beta=beta)
    spread = lambda x: jnp.sqrt(x.astype(target.dtype).var((0, 1, 2))).mean()           # over all places
    return value, (state, {"target_std": spread(target), "output_std": spread(out)})

  def show(params, state, views):
    x, hide = views["image"], views["mask"]
    out, target, _ = both(params, state, views, 1.0)
    colors = masked.colored(target, jnp.where(hide[..., None], out, target))
    return {"original": x, "input": masked.covered(x, hide, encoder.patch),
            **dict(zip(("target", "output"), colors, strict=True))}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state), show=show)
