"""Autoencoder (Vincent et al., 2008): an image from a short code, its own or a corrupted copy's."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import augment, errors, heads, losses
from sslx.augment import mask, recipes
from sslx.methods import base

CITE = """@inproceedings{vincent2008denoising,
  title={Extracting and Composing Robust Features with Denoising Autoencoders},
  author={Vincent, Pascal and Larochelle, Hugo and Bengio, Yoshua and Manzagol, Pierre-Antoine},
  booktitle={ICML}, year={2008}}"""

CORRUPTIONS = {
    "none": lambda key, x, amount: x,
    "noise": lambda key, x, amount: augment.gaussian_noise(key, x, std=amount),
    "mask": lambda key, x, amount: masked(key, x, amount),
    "salt_and_pepper": lambda key, x, amount: augment.salt_and_pepper(key, x, amount=amount)}


def masked(key, image, amount):
  """A share `amount` of the pixels [..., H, W, C] black, as many in every image."""
  shape = image.shape[:-1]
  return jnp.where(mask.random_patches(key, shape, count=round(amount * shape[-2] * shape[-1]))[..., None], 0, image)


class Coder(nn.Module):
  """An encoder and the dense layer to the code: x [B, H, W, C] -> [B, K]."""
  encoder: nn.Module
  head: nn.Module
  read: str

  def __call__(self, x, train=False):
    h = self.encoder.features(x, train)[self.read]
    return self.head(h.reshape(len(h), -1), train)


def make(encoder, *, corruption="none", amount=0.25, code=128, read="pooled", width=32, aug=recipes.mae()):
  """An autoencoder of `encoder`; what is compared in evaluations of z is the code.

  Args:
    corruption: of what the encoder sees: "none", "noise", "mask" (pixels to black) or "salt_and_pepper".
    amount: standard deviation of the noise, or the share of the pixels that are hidden.
    code: width K of the bottleneck.
    read: what the code is computed from: "pooled", which is what is kept, or "grid", all places of the last map.
    width: channels of the decoder at full size.
    aug: (key, image) -> view; the view is what comes back.
  """
  if corruption not in CORRUPTIONS:
    raise errors.unknown("corruption", corruption, CORRUPTIONS)
  if read not in ("pooled", "grid"):
    raise errors.unknown("read", read, ("pooled", "grid"))
  if amount < 0 or (amount > 1 and corruption != "noise"):
    raise errors.UsageError(f"amount is {amount:g}: it must be a share from 0 to 1; a deviation of 0 or more for noise")
  net = Coder(encoder, heads.MLP((code,)), read)

  def views(rng, batch):
    r_aug, r_corrupt = jax.random.split(rng)
    clean = recipes.views(aug, r_aug, batch["image"], number=1)[0]                      # [B, V, h, w, C]
    return {"image": (clean,), "input": CORRUPTIONS[corruption](r_corrupt, clean, amount)}

  def init(rng, batch):
    r_views, r_net, r_decoder = jax.random.split(rng, 3)
    size = jax.eval_shape(views, r_views, batch)["input"].shape[2:]
    params, stats = base.init(net, r_net, jax.ShapeDtypeStruct((1, *size), float))
    decoder, decoded = base.init(heads.Decoder(size, width), r_decoder, jnp.zeros((1, code)))
    return {"net": params, "decoder": decoder}, {"net": stats, "decoder": decoded}

  def output(params, state, views, rng=None):
    x = views["input"]
    decoder = heads.Decoder(x.shape[2:], width)
    z, stats = base.forward(net, params["net"], state["net"], x.reshape(-1, *x.shape[2:]), rng=rng)      # [B V, K]
    out, decoded = base.forward(decoder, params["decoder"], state["decoder"], z)
    return jax.nn.sigmoid(out).reshape(x.shape), {"net": stats, "decoder": decoded}

  def loss(params, state, views, rng, progress):
    out, state = output(params, state, views, rng)
    clean = views["image"][0]
    value = jnp.mean((out - clean) ** 2)
    return value, (state, {"l2": value, "psnr": losses.psnr(*(x.reshape(-1, *x.shape[2:]) for x in (out, clean)))})

  def show(params, state, views):
    pictures = {"original": views["image"][0], "input": views["input"], "output": output(params, state, views)[0]}
    return {k: x[:, 0] for k, x in pictures.items() if k != "input" or corruption != "none"}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state), show=show,
                     project=lambda params, state: (net, {"params": params["net"], **state["net"]}))
