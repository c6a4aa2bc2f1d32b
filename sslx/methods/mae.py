"""MAE (He et al., 2022): the encoder sees a quarter of the patches, a light decoder gives the pixels of the rest."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import heads
from sslx.augment import mask, recipes
from sslx.methods import base, masked

CITE = r"""@inproceedings{he2022mae,
  title={Masked Autoencoders Are Scalable Vision Learners},
  author={He, Kaiming and Chen, Xinlei and Xie, Saining and Li, Yanghao and Doll{\'a}r, Piotr and Girshick, Ross},
  booktitle={CVPR}, year={2022}}"""


class Coder(nn.Module):
  """Encoder and decoder: x [B, ...], mask [B, .., w] with `count` hidden -> (out [B, count, P], their places).

  grid: (h, w), or (t, h, w) of a clip, whose mask is [B, t h, w]. P: numbers in a patch.
  """
  encoder: nn.Module
  decoder: tuple
  count: int
  grid: tuple
  P: int

  @nn.compact
  def __call__(self, x, hide=None, train=False):
    if hide is None:
      hide = jnp.arange(math.prod(self.grid)).reshape(-1, self.grid[-1]) < self.count
      hide = jnp.broadcast_to(hide, (len(x), *hide.shape))
    seen, hidden, _ = mask.split(hide, self.count)
    tokens = self.encoder.features(x, train, keep=seen)["tokens"]                       # [B, F + T - count, D]
    width, depth, heads_ = self.decoder
    decoder = heads.TokenDecoder(self.P, width, depth, heads_, self.encoder.dtype, self.encoder.base, name="decoder")
    return decoder(tokens, seen, hidden, self.grid, train), hidden


def make(encoder, *, ratio=0.75, normalise=True, width=512, depth=8, heads=16, aug=recipes.mae()):
  """MAE on a ViT.

  Args:
    ratio: share of the patches that is hidden.
    normalise: predict pixels by each patch's own mean and deviation.
    width, depth, heads: of the decoder's blocks.
    aug: (key, image) -> view, before it is masked.
  """
  masked.needs_patches(encoder, "mae", "keep")
  number = masked.counted(ratio)
  net = lambda x: Coder(encoder, (width, depth, heads), number(*masked.grid(encoder, x)), masked.grid(encoder, x),
                        encoder.patch**2 * x.shape[-1])
  views = masked.views(encoder, aug, lambda key, shape: mask.random_patches(key, shape, count=number(*shape[1:])))

  def init(rng, batch):
    x = jax.eval_shape(views, rng, batch)["image"]
    params, stats = base.init(net(x), rng, x)
    return {"net": params}, {"net": stats}

  def loss(params, state, views, rng, progress):
    x = views["image"]
    (out, hidden), stats = base.forward(net(x), params["net"], state["net"], x, views["mask"], rng=rng)
    target = jnp.take_along_axis(masked.pixels(encoder, x, normalise), hidden[..., None], 1)
    value = jnp.mean((out - target) ** 2)
    return value, ({"net": stats}, {"r2": 1 - value / jnp.mean((target - target.mean((0, 1))) ** 2)})

  def show(params, state, views):
    x, hide = views["image"], views["mask"]
    (out, hidden), _ = base.forward(net(x), params["net"], state["net"], x, hide)
    seen, _, restore = mask.split(hide, hidden.shape[1])
    full = jnp.concatenate([jnp.zeros((*seen.shape, out.shape[-1]), out.dtype), out], 1)
    return masked.pictures(encoder, x, hide, jnp.take_along_axis(full, restore[..., None], 1), normalise)

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state), show=show)
