"""Colour jitter: four adjustments in random order. Images are floats [..., H, W, C] in [0, 1]."""

import jax
import jax.numpy as jnp

from sslx.augment import color
from sslx.augment.apart import apart
from sslx.augment.exact import uniform


def color_jitter(key, image, *, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=1.0):
  """Brightness, contrast, saturation and hue by random amounts and in random order, each image its own.

  With strength s each factor is uniform in [max(0, 1 - s), 1 + s], hue in [-hue, hue]; an image stays as it is with
  probability 1 - p. Images without three channels keep saturation and hue.

  The order is exact. The blends (all but hue) fill as many slots before the hue as there are blends, and as many after
  it; unused slots are the identity, so that hue is computed once. Contrast needs the mean grey at its own place: a
  first pass runs what comes before it, the second everything, and each is a single loop over the pixels.
  """
  strengths = brightness, contrast, saturation, hue
  run = apart(lambda key, image, p: color.joined(_jitter(key, image, strengths, p), image))
  pixels = image.shape[-3] * image.shape[-2]
  if pixels % 64 or pixels < 256:                  # then CPUs are slow at such a long loop that also joins the planes
    apiece = apart(lambda key, image, p: _jitter(key, image, strengths, p))
    run = lambda key, image, p: color.joined(apiece(key, image, p), image)
  return run(key, image, jnp.asarray(p))


def _jitter(key, image, strengths, p):
  """The planes of color_jitter; strengths: of brightness, contrast, saturation and hue."""
  shape, rgb = image.shape[:-3], image.shape[-1] == 3
  *strengths, hue = (s if rgb or i < 2 else 0 for i, s in enumerate(strengths))
  blends = [op for op, s in zip(("brightness", "contrast", "saturation"), strengths, strict=True) if s]
  keys, turns = jax.random.split(key, 6), bool(hue)
  draw = lambda k, low, high: uniform(keys[k], shape, image.dtype, low, high)
  if not blends and not turns:
    return color.planes(image)
  factors = [draw(i, max(0.0, 1.0 - s), 1.0 + s) for i, s in enumerate(strengths) if s]
  factors = jnp.stack(factors, -1) if blends else jnp.ones((*shape, 0), image.dtype)    # [..., blends]
  delta = draw(3, -hue, hue) if turns else None
  place = _ranks(jax.random.uniform(keys[4], (*shape, len(blends) + turns)))            # [..., blends + hue]
  old, mean = color.planes(image), None
  if "contrast" in blends:
    before = place < place[..., blends.index("contrast")][..., None]
    early = jnp.where(before[..., -1], delta, 0) if turns else None
    grey = apart(lambda image, slots, early: color.grey(_run(color.planes(image), blends, slots, early)))
    mean = color.mean(grey(image, _slots(place, factors, before), early), image)
  new = _run(old, blends, _slots(place, factors, True), delta, mean)
  on = jax.random.bernoulli(keys[5], p, shape)[..., None]
  return [jnp.where(on, a, b) for a, b in zip(new, old, strict=True)]


def _ranks(draws):
  """The rank of each number along the last axis, from 0; equal ones by position."""
  i = jnp.arange(draws.shape[-1])
  mine, other = draws[..., :, None], draws[..., None, :]
  return jnp.sum((other < mine) | ((other == mine) & (i < i[:, None])), -1, dtype=jnp.int32)


def _slots(place, factors, use):
  """(kind, factor), each [..., slots]: the number of the blend in each slot, counted from 1, or 0, and its factor.

  place: of the blends and, last, of the hue where there is one; use: which of them are to be run.
  """
  count = factors.shape[-1]
  slot, place_, use = jnp.arange(count), place[..., None, :count], jnp.broadcast_to(use, place.shape)[..., None, :count]
  here = place_ == slot[:, None]                                                        # [..., slots, blends]
  if place.shape[-1] > count:
    late = place_ > place[..., None, count:]
    here = jnp.concatenate([here & ~late, (place_ == slot[:, None] + 1) & late], -2)
  here = here & use
  kind = jnp.sum(jnp.where(here, slot + 1, 0), -1)
  return kind, jnp.sum(jnp.where(here, factors[..., None, :], 0), -1)


def _run(planes, blends, slots, delta, mean=None):
  """Planes through the blends in their slots, with the hue, where delta is given, in the middle."""
  kinds, factors = slots
  wide = lambda v: v[..., None]
  for i in range(kinds.shape[-1] if blends else 1):
    if delta is not None and i == len(blends):
      planes = color.turned(planes, wide(delta))
    if not blends:
      continue
    kind, other = wide(kinds[..., i]), 0
    if "contrast" in blends and mean is not None:
      other = jnp.where(kind == blends.index("contrast") + 1, mean, other)
    if "saturation" in blends:
      other = jnp.where(kind == blends.index("saturation") + 1, color.grey(planes), other)
    factor = jnp.where(kind == 0, 1, wide(factors[..., i]))
    planes = [color.mixed(x, other, factor) for x in planes]
  return planes
