"""Relative patch position (Doersch et al., 2015): on which of eight sides of the first patch is the second?"""

import jax
import jax.numpy as jnp

from sslx import errors, heads
from sslx.augment import recipes, tiles
from sslx.methods import pretext

CITE = """@inproceedings{doersch2015context,
  title={Unsupervised Visual Representation Learning by Context Prediction},
  author={Doersch, Carl and Gupta, Abhinav and Efros, Alexei A.},
  booktitle={ICCV}, year={2015}}"""


def layout(n, patch, gap, jitter):
  """(patch, step from one to the next, jitter, room left) in pixels, of three patches in a row of n."""
  def fit(p):
    step, move = p + round(gap * p), round(jitter * p)
    return p, step, move, n - p - 2 * step - 2 * move
  fits = [fit(p) for p in ([patch] if patch else range(n, 0, -1)) if fit(p)[-1] >= 0]
  if not fits:
    raise errors.UsageError(f"three patches of {patch or 1} pixels, gaps of {gap} and jitter of {jitter} patches are "
                            f"more than {n} pixels: make method.side larger, or method.patch or method.gap smaller")
  return fits[0]


def make(encoder, *, patch=0, gap=0.5, jitter=0.07, color="drop", standardize=False, side=0, tile=0, widths=(512,),
         norm=True, aug=recipes.mae()):
  """Relative patch position on `encoder`, which sees the two patches one by one.

  Args:
    patch: side of a patch in pixels; 0 for the largest that fits three times.
    gap: between patches, as a share of a patch; without it, edges that go on give the answer away.
    jitter: largest move of each patch, as a share of it.
    color: "drop" keeps one channel of each patch, so that the lens's aberration does not tell; or "keep".
    standardize: whether each patch is brought to one mean and contrast.
    side: of the view in pixels before patches are cut; 0 for its own.
    tile: side in pixels that patches are resized to; 0 for their own.
    widths: of the head's hidden layers. norm: batch norm in them.
    aug: (key, image) -> view; its first view is cut.
  """
  if color not in ("drop", "keep"):
    raise errors.unknown("color", color, ("drop", "keep"))
  if gap < 0 or jitter < 0:
    raise errors.UsageError(f"gap is {gap:g} and jitter {jitter:g}, as shares of a patch: neither may be negative")
  offsets = jnp.array([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x])        # [8, 2]

  def views(rng, batch):
    r_aug, r_position, r_place, r_jitter, r_color = jax.random.split(rng, 5)
    x = pretext.first_view(aug, r_aug, batch["image"], side)                            # [B, h, w, C]
    p, step, move, _ = layout(min(x.shape[1:3]), patch, gap, jitter)
    position = jax.random.randint(r_position, (len(x),), 0, 8)
    room = jnp.array([n - p - 2 * step - 2 * move + 1 for n in x.shape[1:3]])
    first = jax.random.randint(r_place, (len(x), 2), 0, room) + step + move             # of the middle, [B, 2]
    at = jnp.stack([first, first + step * offsets[position]], 1)                        # [B, 2, 2]
    at = at + jax.random.randint(r_jitter, at.shape, -move, move + 1)
    cut = tiles.cut(x, at[..., 0], at[..., 1], p, size=tile)
    cut = tiles.standardize(cut) if standardize else cut
    cut = tiles.drop_colors(r_color, cut) if color == "drop" else cut
    return {"image": (cut,), "position": position}

  def objective(out, views):                                                            # out [B, 8]
    value, accuracy = pretext.chosen(out, views["position"])
    return value, {"position_accuracy": accuracy}

  def show(out, views):
    pair = views["image"][0][:, :, None]                                                # [B, 2, 1, h, w, C]
    def placed(position):
      cell = jnp.arange(9) == (position + (position >= 4))[:, None]                     # the middle one is the first's
      rest = jnp.where((jnp.arange(9) == 4)[:, None, None, None], pair[:, 0], 0.5)
      return tiles.mosaic(jnp.where(cell[..., None, None, None], pair[:, 1], rest))
    return {"pair": placed(views["position"]), "as predicted": placed(out.argmax(-1))}

  return pretext.puzzle(encoder, heads.MLP((*widths, 8), norm), views, pretext.together, objective, show)
