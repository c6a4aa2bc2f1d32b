"""Jigsaw (Noroozi and Favaro, 2016): in which order do nine shuffled tiles make an image?"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors, heads
from sslx.augment import recipes, tiles
from sslx.methods import pretext

CITE = """@inproceedings{noroozi2016jigsaw,
  title={Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles},
  author={Noroozi, Mehdi and Favaro, Paolo},
  booktitle={ECCV}, year={2016}}"""


@functools.cache
def permutations(number, tiles=9):
  """[number, tiles]: each is as far in Hamming distance from the nearest of those before it as any permutation is.

  Among equals the one that is farthest from all of them together; the first is the order itself.
  """
  every = np.array(list(itertools.permutations(range(tiles))), np.uint8)                # [tiles!, tiles]
  if not 2 <= number <= len(every):
    raise errors.UsageError(f"there are {len(every)} permutations of {tiles} tiles: number must be 2 or more, at most "
                            f"that, not {number}")
  columns, chosen = np.ascontiguousarray(every.T), [0]
  nearest, total = np.full(len(every), tiles + 1, np.int32), np.zeros(len(every), np.int32)
  while len(chosen) < number:
    distance = sum((column != column[chosen[-1]]).astype(np.int32) for column in columns)
    nearest, total = np.minimum(nearest, distance), total + distance
    chosen.append(int(np.argmax(nearest * (tiles * number + 1) + total)))
  found = every[chosen].astype(np.int32)
  found.flags.writeable = False                              # it is kept for later calls
  return found


def make(encoder, *, target="permutation", number=100, inset=64 / 75, standardize=True, side=0, tile=0, widths=(512,),
         norm=True, aug=recipes.mae()):
  """Jigsaw puzzles on `encoder`, which sees the tiles one by one.

  Args:
    target: "permutation", which one of a set; or "positions", the places of all nine tiles in any order at all.
    number: of permutations in the set, which are as far from each other as can be.
    inset: side of a tile as a share of its cell, in which it lies anywhere, so that edges do not give the answer away.
    standardize: whether each tile is brought to one mean and contrast.
    side: of the view in pixels before tiles are cut; 0 for its own.
    tile: side in pixels that tiles are resized to; 0 for their own.
    widths: of the head's hidden layers. norm: batch norm in them.
    aug: (key, image) -> view; its first view is cut.
  """
  if target not in ("permutation", "positions"):
    raise errors.unknown("target", target, ("permutation", "positions"))
  if not 0 < inset <= 1:
    raise errors.UsageError(f"inset is {inset:g}: a tile's side as a share of its cell is above 0 and at most 1")
  known = permutations(number) if target == "permutation" else None
  head = heads.MLP((*widths, number if target == "permutation" else 81), norm)

  def views(rng, batch):
    r_aug, r_order, r_place = jax.random.split(rng, 3)
    x = pretext.first_view(aug, r_aug, batch["image"], side)                            # [B, h, w, C]
    if min(x.shape[1:3]) < 3:
      raise errors.UsageError(f"views of {x.shape[1]}x{x.shape[2]} pixels have no nine tiles: make method.side larger")
    cells = jnp.array([n // 3 for n in x.shape[1:3]])
    p = max(1, int(inset * (min(x.shape[1:3]) // 3)))
    if known is None:
      index = jnp.zeros(len(x), jnp.int32)
      order = jnp.argsort(jax.random.uniform(r_order, (len(x), 9)), -1)                 # slot -> cell, [B, 9]
    else:
      index = jax.random.randint(r_order, (len(x),), 0, number)
      order = jnp.asarray(known)[index]
    corner = jnp.stack([order // 3, order % 3], -1) * cells                             # [B, 9, 2]
    at = corner + jax.random.randint(r_place, corner.shape, 0, cells - p + 1)
    cut = tiles.cut(x, at[..., 0], at[..., 1], p, size=tile)
    return {"image": (tiles.standardize(cut) if standardize else cut,), "order": order, "index": index}

  def objective(out, views):
    if target == "permutation":                                                         # out [B, number]
      value, accuracy = pretext.chosen(out, views["index"])
      return value, {"permutation_accuracy": accuracy}
    value, accuracy = pretext.chosen(out.reshape(-1, 9, 9), views["order"])             # [B, slot, cell]
    return value, {"position_accuracy": accuracy}

  def show(out, views):
    x = views["image"][0]
    if target == "permutation":
      slot = jnp.argsort(jnp.asarray(known)[out.argmax(-1)], -1)                        # cell -> slot, [B, 9]
    else:
      slot = out.reshape(-1, 9, 9).argmax(1)
    return {"puzzle": tiles.mosaic(x),
            "as predicted": tiles.mosaic(jnp.take_along_axis(x, slot[..., None, None, None], 1))}

  return pretext.puzzle(encoder, head, views, pretext.together, objective, show)
