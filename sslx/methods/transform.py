"""AET (Zhang et al., 2019): by which affine map a view was made of another, told from the embeddings of both."""

import jax
import jax.numpy as jnp

from sslx import augment, errors, heads
from sslx.augment import recipes
from sslx.augment.exact import rounded, uniform
from sslx.augment.geometry import sample
from sslx.methods import pretext

CITE = """@inproceedings{zhang2019aet,
  title={{AET} vs. {AED}: Unsupervised Representation Learning by Auto-Encoding Transformations rather than Data},
  author={Zhang, Liheng and Qi, Guo-Jun and Wang, Liqiang and Luo, Jiebo},
  booktitle={CVPR}, year={2019}}"""

KINDS = ("none", "rotation", "translation", "scale", "shear", "flip")


def matrix(angle, move, scale, shear, flip):
  """[..., 2, 3] of a map, centre to centre and half a side long: where augment.affine and a mirror take each point.

  angle, shear [..., 2] in degrees; move [..., 2] in sides, right and down; flip: whether it is mirrored at last.
  """
  angle, sx, sy = (jnp.deg2rad(v) for v in (angle, shear[..., 0], shear[..., 1]))
  a, b = jnp.cos(angle - sy) / jnp.cos(sy), -jnp.cos(angle - sy) * jnp.tan(sx) / jnp.cos(sy) - jnp.sin(angle)
  c, d = jnp.sin(angle - sy) / jnp.cos(sy), -jnp.sin(angle - sy) * jnp.tan(sx) / jnp.cos(sy) + jnp.cos(angle)
  rows = jnp.stack([jnp.stack([scale * a, scale * b, 2 * move[..., 0]], -1),
                    jnp.stack([scale * c, scale * d, 2 * move[..., 1]], -1)], -2)
  sign = jnp.stack([jnp.where(flip, -1, 1), jnp.ones_like(flip, int)], -1)
  return rows * sign[..., None]


def warp(image, m):
  """The square image [B, H, H, C] under the maps m [B, 2, 3]; black outside."""
  half = image.shape[-2] / 2
  inverse = jnp.linalg.inv(m[..., :2] + 1e-6 * jnp.eye(2))
  y, x = (v / half for v in jnp.mgrid[:image.shape[-3], :image.shape[-2]] - half + 0.5)
  away = jnp.stack([x, y], -1) - m[..., None, None, :, 2]                                # [B, H, W, 2]
  x, y = jnp.moveaxis(jnp.einsum("bij,bhwj->bhwi", inverse, away), -1, 0) * half + half - 0.5
  return sample(image, x, y)


def make(encoder, *, target="parameters", degrees=180.0, quarters=False, translate=0.2, scale=(0.8, 1.2), shear=30.0,
         flip_p=0.0, apart=False, widths=(512,), norm=True, aug=recipes.mae()):
  """AET on `encoder`, which sees a view and a transformed one, by itself each.

  Args:
    target: "parameters", the map's 2x3 matrix; or "kind", one of six: none, rotation, translation, scale, shear,
      flip, each by more than half of its range; a crop is a scale and a translation.
    degrees, translate, shear: largest turn, move (share of the side) and shear (degrees). scale: range of sizes.
    quarters: whether any number of quarter turns comes on top, with "parameters", as in the paper's projective ones:
      the least that asks what an image shows, as black corners tell smaller turns.
    flip_p: how often the transformed view is mirrored at last, with "parameters".
    apart: whether the view that is transformed is drawn by `aug` anew, with a crop and colours of its own, so that the
      map is not told by the places of the same pixels; where `aug` mirrors, mirrors cannot be told. (The paper's is the
      first view itself.)
    widths: of the head's hidden layers. norm: batch norm in them.
    aug: (key, image) -> view; views must be square, and the first is transformed, or the second if they are `apart`.
  """
  if target not in ("parameters", "kind"):
    raise errors.unknown("target", target, ("parameters", "kind"))
  if apart and target == "kind":
    raise errors.UsageError("views apart differ by kinds already, such as a mirror: set method.apart=False")
  if not 0 < scale[0] <= 1 <= scale[1]:
    raise errors.UsageError(f"scale is {tuple(scale)}: from a size of at most 1, above 0, to one of at least 1")

  def views(rng, batch):
    r_aug, r_kind, r_flip, r_turn, *keys = jax.random.split(rng, 10)
    both = recipes.views(aug, r_aug, batch["image"], number=1 + apart)[0]               # [B, 1 or 2, h, w, C]
    if apart and both.shape[1] < 2:
      raise errors.UsageError("transform draws two views apart, and aug gives one: leave out method.apart")
    first, x = both[:, 0], both[:, int(apart)]
    if x.shape[1] != x.shape[2]:
      raise errors.UsageError(f"transform needs square views, not {x.shape[1:3]}: set method.aug.size or data.size")
    draw = [uniform(k, (len(x),), x.dtype, -1.0, 1.0) for k in keys]                    # six in [-1, 1)
    flip, kind = jax.random.bernoulli(r_flip, flip_p, (len(x),)), jnp.zeros(len(x), jnp.int32)
    if target == "kind":
      kind = jax.random.randint(r_kind, (len(x),), 0, len(KINDS))
      on = [kind == KINDS.index(k) for k in ("rotation", "translation", "translation", "scale", "shear", "shear")]
      draw = [jnp.where(o, jnp.where(v < 0, -0.5, 0.5) + 0.5 * v, 0) for o, v in zip(on, draw, strict=True)]
      flip = kind == KINDS.index("flip")
    angle, right, down, size, sx, sy = draw
    size = 1 + jnp.where(size < 0, rounded(size * (1 - scale[0])), rounded(size * (scale[1] - 1)))
    angle, right, down, sx, sy = degrees * angle, translate * right, translate * down, shear * sx, shear * sy
    angle = angle + 90 * jax.random.randint(r_turn, (len(x),), 0, 4) if quarters and target == "parameters" else angle
    n = x.shape[1]
    changed = augment.affine(x, angle, (n * right, n * down), size, (sx, sy))
    changed = jnp.where(flip[:, None, None, None], augment.flip_left_right(changed), changed)
    m = matrix(angle, jnp.stack([right, down], -1), size, jnp.stack([sx, sy], -1), flip)
    return {"image": (jnp.stack([first, changed], 1),), "matrix": m, "kind": kind}

  def objective(out, views):
    if target == "kind":                                                                # out [B, kinds]
      value, accuracy = pretext.chosen(out, views["kind"])
      return value, {"kind_accuracy": accuracy}
    wanted = views["matrix"].reshape(-1, 6)                                             # out [B, 6]
    square = lambda x: jnp.mean(jnp.sum(x**2, -1))
    value = square(out - wanted) / 2
    return value, {"r2": 1 - 2 * value / square(wanted - wanted.mean(0))}       # 0 for the mean of the batch

  def show(out, views):
    x = views["image"][0]
    pictures = {"view": x[:, 0], "transformed": x[:, 1]}
    if target == "parameters":
      pictures["as predicted"] = warp(x[:, 0], out.reshape(-1, 2, 3))
    return pictures

  head = heads.MLP((*widths, 6 if target == "parameters" else len(KINDS)), norm)
  return pretext.puzzle(encoder, head, views, pretext.together, objective, show)
