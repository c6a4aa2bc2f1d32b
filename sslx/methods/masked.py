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


def normalised(x, eps=1e-6, axis=-1):
  """x [..., D], each vector less its mean and over its deviation, or along another axis; not below float32."""
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  x = x - x.mean(axis, keepdims=True)
  return x / jnp.sqrt(jnp.mean(x**2, axis, keepdims=True) + eps)


def pixels(encoder, image, normalise=True):
  """Targets [B, T, P] of images [B, H, W, C]: the pixels of each patch as the encoder sees them, not below float32.

  normalise: by each patch's own mean and deviation too (He et al., 2022).
  """
  wide = image.astype(jnp.promote_types(image.dtype, jnp.float32))
  x = patchify(augment.normalize(wide, encoder.mean, encoder.std), encoder.patch)
  return normalised(x) if normalise else x


def painted(encoder, image, mask, out, normalise=True):
  """Images [B, H, W, C] with what is predicted for `pixels`, out [B, T, P], where mask [B, h, w] is True.

  Where targets were normalised, mean and deviation of a patch are those of the image: they were not predicted.
  """
  if normalise:
    x = pixels(encoder, image, False)
    out = out * jnp.sqrt(x.var(-1, keepdims=True) + 1e-6) + x.mean(-1, keepdims=True)
  out = unpatchify(out, encoder.patch, mask.shape[-2:])
  zero, one = (augment.normalize(jnp.full_like(out, v), encoder.mean, encoder.std) for v in (0.0, 1.0))
  return covered(image, mask, encoder.patch, ((out - zero) / (one - zero)).clip(0, 1))


def colored(features, *others):
  """Features [B, h, w, D] as colours: their places along their own three principal directions, from least to most.

  A list: those of `features`, and of others of that shape along the same directions; places outside are clipped.
  """
  flat = features.reshape(-1, features.shape[-1])
  mean, directions = flat.mean(0), jnp.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:3]
  places = [(f - mean) @ directions.T for f in (features, *others)]
  low, high = places[0].min((0, 1, 2)), places[0].max((0, 1, 2))
  return [((p - low) / jnp.maximum(high - low, 1e-6)).clip(0, 1) for p in places]


def grid(encoder, image):
  """(h, w), the encoder's patches along the sides of images [..., H, W, C]."""
  return tuple(n // encoder.patch for n in image.shape[-3:-1])


def needs_patches(encoder, method, argument="mask"):
  """A UsageError for an encoder whose `features` does not take `argument`, "mask" or "keep": one without patches."""
  if argument not in inspect.signature(getattr(encoder, "features", len)).parameters:
    raise errors.UsageError(f"{method} hides patches from the encoder, and {type(encoder).__name__} has none: set "
                            "encoder.name to a ViT, such as vit_ti")


def counted(ratio):
  """(h, w) -> how many of as many patches are hidden: this share of them, at least one and never all."""
  if not 0 < ratio < 1:
    raise errors.UsageError(f"ratio is {ratio:g}: the share that is hidden must lie between 0 and 1")
  return lambda h, w: min(max(1, round(ratio * h * w)), h * w - 1)


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


def covered(image, mask, patch, by=0.5):
  """Images [B, H, W, C] covered `by` a grey or other images in the patches where mask [B, h, w] is True."""
  return jnp.where(jnp.repeat(jnp.repeat(mask, patch, -2), patch, -1)[..., None], by, image)


def pictures(encoder, image, mask, out, normalise=True):
  """What `show` gives of a method that predicts `pixels`: the original, what is seen of it, and that with `painted`."""
  return {"original": image, "input": covered(image, mask, encoder.patch),
          "output": painted(encoder, image, mask, out, normalise)}


def attention(encoder, variables, image):
  """{"attention"}: images [B, H, W, C] lit where a ViT's class token looks, the mean of its last block's heads.

  Nothing for encoders without one.
  """
  if not isinstance(encoder, vit.ViT) or encoder.pool != "token":
    return {}
  seen = vit.attention(encoder, variables, image).mean(1)                                 # [B, h, w]
  seen = seen / seen.max((1, 2), keepdims=True)
  return {"attention": image * augment.resize(seen[..., None], image.shape[1:3]).clip(0, 1)}
