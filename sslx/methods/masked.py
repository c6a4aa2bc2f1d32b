"""What masked image methods have in common: patches, what is hidden of them, the teacher's targets, pictures."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import augment, errors
from sslx.encoders import vit
from sslx.methods import base, pretext


def patchify(image, patch):
  """Images [..., H, W, C] as patches [..., T, patch * patch * C], all in reading order; patch must divide H and W."""
  *batch, H, W, C = image.shape
  x = image.reshape(*batch, H // patch, patch, W // patch, patch, C)
  return jnp.swapaxes(x, -4, -3).reshape(*batch, (H // patch) * (W // patch), patch * patch * C)


def unpatchify(patches, patch, grid):
  """The images [..., H, W, C] that `patchify` took apart; grid = (h, w) = (H / patch, W / patch)."""
  (*batch, _, P), (h, w) = patches.shape, grid
  C = P // patch**2
  x = patches.reshape(*batch, h, w, patch, patch, C)
  return jnp.swapaxes(x, -4, -3).reshape(*batch, h * patch, w * patch, C)


def normalised(x, eps=1e-6):
  """x [..., D], each vector less its mean and over its deviation; layer norm without parameters, not below float32."""
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  x = x - x.mean(-1, keepdims=True)
  return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + eps)


def grid(encoder, image):
  """(h, w), the encoder's patches along the sides of images [..., H, W, C]."""
  return tuple(n // encoder.patch for n in image.shape[-3:-1])


def needs_patches(encoder, method, argument="mask"):
  """A UsageError for an encoder whose `features` does not take `argument`, "mask" or "keep": one without patches."""
  if argument not in inspect.signature(getattr(encoder, "features", len)).parameters:
    raise errors.UsageError(f"{method} hides patches from the encoder, and {type(encoder).__name__} has none: set "
                            "encoder.name to a ViT, such as vit_ti")


class Masked(nn.Module):
  """An encoder that sees a learnt vector, "fill", where a patch is hidden: all that its `features` gives.

  x [B, H, W, C]; mask [B, h, w], True where hidden, or None.
  """
  encoder: nn.Module

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    fill = self.param("fill", nn.initializers.normal(0.02), (self.encoder.width,), jnp.result_type(float))
    return self.encoder.features(x, train, mask=mask, fill=fill)


def views(encoder, aug, draw):
  """`views` of a method with one view of each image: {"image": [B, H, W, C], "mask": [B, h, w], True where hidden}.

  draw: (key, shape [B, h, w]) -> mask, of the same count in each image.
  """
  def views_(rng, batch):
    r_aug, r_mask = jax.random.split(rng)
    x = pretext.first_view(aug, r_aug, batch["image"])
    return {"image": x, "mask": draw(r_mask, (len(x), *grid(encoder, x)))}
  return views_


def taught(encoder, old, online, image, momentum):
  """An EMA teacher moves and looks at whole images: (its features, without gradient; its params).

  old, online: the params of the teacher's and the student's encoder; momentum: share of the old that is kept. The
  teacher drops nothing out.
  """
  params = base.moved(old, online, momentum)
  return jax.lax.stop_gradient(encoder.apply({"params": params}, image, method="features")), params


def covered(image, mask, patch, grey=0.5):
  """Images [B, H, W, C], grey in the patches where mask [B, h, w] is True."""
  return jnp.where(jnp.repeat(jnp.repeat(mask, patch, -2), patch, -1)[..., None], grey, image)


def attention(encoder, variables, image):
  """{"attention"}: images [B, H, W, C] lit where a ViT's class token looks, the mean of its last block's heads.

  Nothing for encoders without one.
  """
  if not isinstance(encoder, vit.ViT) or encoder.pool != "token":
    return {}
  seen = vit.attention(encoder, variables, image).mean(1)                                 # [B, h, w]
  seen = seen / seen.max((1, 2), keepdims=True)
  return {"attention": image * augment.resize(seen[..., None], image.shape[1:3]).clip(0, 1)}
