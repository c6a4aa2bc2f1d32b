"""SimMIM (Xie et al., 2022): mask tokens in the place of large patches, and one linear layer to their pixels."""

import jax
import jax.numpy as jnp

from sslx import errors, heads, losses
from sslx.augment import mask, recipes
from sslx.methods import base, masked, pretext

CITE = """@inproceedings{xie2022simmim,
  title={{SimMIM}: A Simple Framework for Masked Image Modeling},
  author={Xie, Zhenda and Zhang, Zheng and Cao, Yue and Lin, Yutong and Bao, Jianmin and Yao, Zhuliang and Dai, Qi
    and Hu, Han},
  booktitle={CVPR}, year={2022}}"""


def make(encoder, *, ratio=0.6, unit=2, normalise=False, aug=recipes.mae(scale=(0.67, 1.0))):
  """SimMIM on an encoder whose `features` takes a mask, such as a ViT.

  Args:
    ratio: share of the image that is hidden.
    unit: side of what is hidden at once, in the encoder's patches; the paper's 32 pixels are 2 patches of 16.
    normalise: predict pixels by each patch's own mean and deviation.
    aug: (key, image) -> view, before it is masked.
  """
  masked.needs_patches(encoder, "simmim")
  pretext.needs_grid(encoder, "simmim")
  number = masked.counted(ratio)
  net = masked.Masked(encoder)
  head = lambda x: heads.MLP((encoder.patch**2 * x.shape[-1],))

  def draw(key, shape):
    *batch, h, w = shape
    if h % unit or w % unit:
      raise errors.UsageError(f"a grid of {h}x{w} patches does not divide into units of {unit}: choose method.unit so "
                              "that it does")
    coarse = h // unit, w // unit
    hide = mask.random_patches(key, (*batch, *coarse), count=number(*coarse))
    return jnp.repeat(jnp.repeat(hide, unit, -2), unit, -1)

  views = masked.views(encoder, aug, draw)

  def init(rng, batch):
    r_views, r_net, r_head = jax.random.split(rng, 3)
    x = jax.eval_shape(views, r_views, batch)["image"]
    params, stats = base.init(net, r_net, x)
    return {"net": params, "head": base.init(head(x), r_head, jnp.zeros((1, encoder.width)))[0]}, {"net": stats}

  def predicted(params, state, views, rng=None):
    x, hide = views["image"], views["mask"]
    found, stats = base.forward(net, params["net"], state["net"], x, hide, rng=rng)
    out = head(x).apply({"params": params["head"]}, found["grid"])                      # [B, h, w, P]
    return out.reshape(len(x), -1, out.shape[-1]), {"net": stats}

  def loss(params, state, views, rng, progress):
    out, state = predicted(params, state, views, rng)
    weight = views["mask"].reshape(out.shape[:2])
    target = masked.pixels(encoder, views["image"], normalise)
    value = losses.weighted_l1(out, target, weight)
    average = jnp.mean(target, (0, 1), where=weight[..., None], keepdims=True)
    plain = losses.weighted_l1(jnp.broadcast_to(average, target.shape), target, weight)
    return value, (state, {"l1_of_mean": plain})

  def show(params, state, views):
    return masked.pictures(encoder, views["image"], views["mask"], predicted(params, state, views)[0], normalise)

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state), show=show)
