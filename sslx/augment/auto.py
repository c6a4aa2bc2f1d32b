"""Operations and amounts drawn for each image: RandAugment, TrivialAugment. Images are floats [..., H, W, C] in [0, 1].

The operations and amounts are torchvision's, so are shears about the upper left corner and moves by whole pixels; but
geometry is bilinear and black outside, and posterize and solarize take floats as they are.

Each image has an operation of its own, so all operations run on the whole batch and the drawn one is kept, under vmap
or not: the five of geometry are one affine, most others are maps of single values. `equalize` is the dearest by far;
`operations` leaves it out, and one that stands there twice is drawn twice as often. Saturation leaves images that are
not RGB as they are.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors
from sslx.augment import blur, color, geometry, tone
from sslx.augment.exact import rounded

GEOMETRY = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
BLENDS = {"brightness": color.adjust_brightness, "saturation": color.adjust_saturation,
          "contrast": color.adjust_contrast, "sharpness": blur.adjust_sharpness}
TONES = {"posterize": tone.posterize, "solarize": tone.solarize,
         "autocontrast": lambda image, _: tone.autocontrast(image),
         "equalize": lambda image, _: tone.equalize(jnp.clip(image, 0, 1))}
OPERATIONS = ("identity", *GEOMETRY, *BLENDS, *TONES)
BINS = 31


def _amounts(*, shear, translate, rotate, blend, bits):
  """The amounts [operation, bin] up to these largest ones; translate = (right, down) in pixels, bits: that go."""
  level = np.arange(BINS) / (BINS - 1)
  moves = [np.floor(n * level + 1e-6) for n in translate]                               # whole pixels
  table = [0 * level, shear * level, shear * level, *moves, rotate * level, *[blend * level] * len(BLENDS),
           8 - np.round(bits * level), 1 - level, 0 * level, 0 * level]
  return np.stack(table)


def _affine(image, drawn, amount):
  """The five of geometry at once; drawn(name): where that one was drawn [...]."""
  H, W = image.shape[-3:-1]
  of = lambda name, value: jnp.where(drawn(name), value, 0)
  slant = jnp.rad2deg(jnp.arctan(amount))
  right = of("translate_x", amount) - of("shear_x", rounded(amount * (H / 2)))          # shears leave the corner there
  down = of("translate_y", amount) - of("shear_y", rounded(amount * (W / 2)))
  return geometry.affine(image, -of("rotate", amount), (right, down), 1.0, (of("shear_x", slant), of("shear_y", slant)))


def _draw_and_apply(key, image, amounts, bin, operations):
  """One operation an image; amounts [operation, bin], bin: a number or None for any."""
  unknown = [name for name in operations if name not in OPERATIONS]
  if unknown or not operations:
    raise errors.UsageError(f"operations of an augmentation are {operations!r}; it takes some of {OPERATIONS}")
  shape, keys = image.shape[:-3], jax.random.split(key, 3)
  places = np.array([OPERATIONS.index(name) for name in operations])
  op = jnp.asarray(places)[jax.random.randint(keys[0], shape, 0, len(places))]
  bin = jax.random.randint(keys[1], shape, 0, BINS) if bin is None else bin
  exact = jnp.promote_types(image.dtype, jnp.float32)
  amount = jnp.asarray(amounts, exact)[op, bin]
  signed = (op > 0) & (op <= len(GEOMETRY) + len(BLENDS)) & jax.random.bernoulli(keys[2], 0.5, shape)
  amount = jnp.where(signed, -amount, amount)
  drawn = lambda *names: sum(op == OPERATIONS.index(name) for name in names) > 0
  out = image

  def keep(where, changed):
    return jnp.where(where[..., None, None, None], changed, out)
  if set(GEOMETRY) & set(operations):
    out = keep(drawn(*GEOMETRY), _affine(image, drawn, amount))
  for name in BLENDS:
    if name in operations:
      out = keep(drawn(name), BLENDS[name](image, 1 + amount))
  for name in TONES:
    if name in operations:
      out = keep(drawn(name), TONES[name](image, amount))
  return out


def rand_augment(key, image, *, num=2, magnitude=9, operations=OPERATIONS):
  """RandAugment (Cubuk et al., 2020): `num` operations one after the other, all at one of the magnitudes 0 to 30.

  A magnitude of None is drawn for each image and operation, any as likely.

  Each is drawn from `operations`; geometry, brightness, saturation, contrast and sharpness go either way. At 30 they
  are shears of 0.3, moves of 150/331 of the side, turns of 30 degrees, factors of 1 +- 0.9, 4 bits.
  """
  if magnitude is not None and magnitude not in range(BINS):
    raise errors.UsageError(f"magnitude of an augmentation is {magnitude!r}; it is a whole number from 0 to {BINS - 1}")
  bin = None if magnitude is None else int(magnitude)
  H, W = image.shape[-3:-1]
  amounts = _amounts(shear=0.3, translate=(150 / 331 * W, 150 / 331 * H), rotate=30.0, blend=0.9, bits=4)
  for i in range(num):
    image = _draw_and_apply(jax.random.fold_in(key, i), image, amounts, bin, operations)
  return image


def trivial_augment(key, image, *, operations=OPERATIONS):
  """TrivialAugment, wide (Mueller & Hutter, 2021): one operation at one of the magnitudes 0 to 30, any as likely.

  As rand_augment, but up to shears of 0.99, moves of 32 pixels, turns of 135 degrees, factors of 1 +- 0.99, 2 bits.
  """
  amounts = _amounts(shear=0.99, translate=(32, 32), rotate=135.0, blend=0.99, bits=6)
  return _draw_and_apply(key, image, amounts, None, operations)
