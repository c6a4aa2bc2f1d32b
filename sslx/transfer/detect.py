"""Detection on a pretrained encoder: FCOS (Tian et al., 2019), one stage and no anchors, on a pyramid of its stages."""

import importlib.util
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx import augment, errors
from sslx.augment import boxes as rectangles, crop
from sslx.data import parts
from sslx.evaluate.precision import precision
from sslx.transfer import boxes, downstream, pyramid, segment, stages

PRIOR = 0.01                 # of an object at a place, at the start (Lin et al., 2017)
REACH, CENTRE = 8, 1.5       # of a level, in its strides: the largest side distance, and how far from the centre
LEVELS = 3
PART = 64                    # images on the host at once
SHOWN = 0.3                  # score from which a box is drawn


class Detector(nn.Module):
  """x [B, H, W, C] -> [B, P, 4 + 1 + K]: at every place of every level a box in pixels, its centredness, K logits.

  The levels are the encoder's last stages of different strides, three at most, joined from coarse to fine (Lin et al.,
  2017); one head of `depth` convolutions is shared by them. still: the encoder runs as in evaluation.
  """
  encoder: Any
  classes: int
  width: int = 64
  depth: int = 2
  still: bool = False

  @nn.compact
  def __call__(self, x, train=False):
    wide = jnp.result_type(float)
    found = self.encoder.features(x, train and not self.still)
    conv = lambda n, name, size=3, **kw: nn.Conv(n, (size, size), param_dtype=wide, name=name, **kw)
    norm = lambda name: nn.GroupNorm(num_groups=math.gcd(8, self.width), param_dtype=wide, name=name)
    tower = {f"{kind}{i}": (conv(self.width, f"{kind}{i}"), norm(f"{kind}{i}_norm"))
             for kind in ("class", "box") for i in range(self.depth)}
    small = nn.initializers.normal(0.01)
    logits = conv(self.classes, "classes", kernel_init=small,
                  bias_init=nn.initializers.constant(-math.log((1 - PRIOR) / PRIOR)))
    sides, centre = conv(4, "sides", kernel_init=small), conv(1, "centre", kernel_init=small)
    maps = {name: found[name].astype(jnp.promote_types(found[name].dtype, jnp.float32))
            for name in levels({k: v.shape for k, v in found.items()})}
    out = []
    for name, h in pyramid.top_down(maps, lambda name, size: conv(self.width, name, size),
                                    lambda name, h: norm(f"norm_{name}")(h)).items():
      a = b = h
      for i in range(self.depth):
        a, b = (nn.relu(g(f(v))) for v, (f, g) in ((a, tower[f"class{i}"]), (b, tower[f"box{i}"])))
      rate = self.param(f"scale_{name}", nn.initializers.ones, (), wide)
      stride = x.shape[1] / h.shape[1]
      reach = stride * jnp.exp(jnp.clip(rate * sides(b), -8, 8))                          # left, top, right, bottom
      place = jnp.asarray(centres(h.shape[1:3], x.shape[1:3]), reach.dtype)
      corners = jnp.concatenate([place - reach[..., :2], place + reach[..., 2:]], -1)
      y = jnp.concatenate([corners, centre(b), logits(a)], -1)
      out.append(y.reshape(len(y), -1, y.shape[-1]))
    return jnp.concatenate(out, 1)


def levels(shapes):
  """The names of the stages that detection reads, from fine to coarse, of {name: shape [B, h, w, D]}."""
  last = {shapes[k][1:3]: k for k in sorted((k for k in shapes if k.startswith("stage")), key=lambda k: int(k[5:]))}
  if not last:
    raise errors.UsageError("this encoder's features have no stages to find objects on")
  return list(last.values())[-LEVELS:]


def centres(grid, size):
  """The middle (x, y) in pixels of each place of a grid (h, w) over an image of size (H, W): [h, w, 2]."""
  y, x = ((np.arange(n) + 0.5) * full / n for n, full in zip(grid, size, strict=True))
  return np.stack(np.meshgrid(x, y), -1).astype(np.float32)


def targets(grids, size, truth, classes):
  """What each place shall find (Tian et al., 2019, 3.1): (class [B, P], box [B, P, 4], centredness [B, P]).

  The class is -1 for nothing. A place is for the smallest box around it whose middle is within 1.5 strides and whose
  farthest side is in its level's range: up to 8 strides, more than 8 of the level below.
  grids: [(h, w)] from fine to coarse; truth: boxes [B, M, 4]; classes: [B, M].
  """
  place = np.concatenate([centres(g, size).reshape(-1, 2) for g in grids])                             # [P, 2]
  stride = np.concatenate([np.full(g[0] * g[1], size[0] / g[0], np.float32) for g in grids])
  ends = [REACH * size[0] / g[0] for g in grids]
  low, high = (np.concatenate([np.full(g[0] * g[1], v, np.float32) for g, v in zip(grids, e, strict=True)])
               for e in ([0, *ends[:-1]], [*ends[:-1], np.inf]))
  side = jnp.concatenate([place[:, None] - truth[:, None, :, :2], truth[:, None, :, 2:] - place[:, None]], -1)
  middle = (truth[..., :2] + truth[..., 2:])[:, None] / 2
  near = jnp.all(jnp.abs(place[:, None] - middle) < CENTRE * stride[:, None, None], -1)
  far = side.max(-1)                                                                                   # [B, P, M]
  fits = (side.min(-1) > 0) & near & (far > low[:, None]) & (far <= high[:, None]) & (classes >= 0)[:, None]
  best = jnp.argmin(jnp.where(fits, boxes.area(truth)[:, None], jnp.inf), -1)                          # [B, P]
  found = jnp.where(fits.any(-1), jnp.take_along_axis(classes, best, 1), -1)
  left, top, right, bottom = jnp.moveaxis(jnp.take_along_axis(side, best[..., None, None], 2)[:, :, 0], -1, 0)
  ratio = lambda a, b: jnp.minimum(a, b) / jnp.maximum(jnp.maximum(a, b), 1e-9)
  centred = jnp.sqrt(jnp.clip(ratio(left, right) * ratio(top, bottom), 0, 1))
  return found, jnp.take_along_axis(truth, best[..., None], 1), jnp.where(found >= 0, centred, 0)


def make(encoder, *, source="", weights="", strategy="finetune", num_classes=0, width=64, depth=2, scale=(0.4, 1.0),
         flip_p=0.5, jitter=0.4, ema=0.0):
  """A detector on `encoder`, trained with focal loss, generalized IoU and centredness.

  Args:
    source, weights, strategy, ema: see downstream.make.
    num_classes: of the set; sslx transfer fills it in.
    width, depth: see Detector.
    scale: share of the image's area that a crop covers, uniform in this range; it is resized to the image's size.
    flip_p: probability of a mirror image, left to right and top to bottom.
    jitter: strength of brightness, contrast and saturation, a quarter of it of hue.
  """
  net = Detector(encoder, num_classes, width, depth, stages.parse(strategy)[0] == "linear")

  def views(rng, batch):
    image, truth, classes = viewed(rng, augment.to_float(batch["image"]), batch["boxes"], batch["classes"], scale=scale,
                                   flip_p=flip_p, jitter=jitter)
    return {"image": image, "boxes": truth, "classes": classes}

  def objective(z, views):
    size = views["image"].shape[1:3]
    wanted, truth, centred = targets(grids(encoder, views["image"].shape), size, views["boxes"], views["classes"])
    there = (wanted >= 0).astype(z.dtype)                                                              # [B, P]
    corners, centre, logits = z[..., :4], z[..., 4], z[..., 5:]
    one_hot = jax.nn.one_hot(wanted, num_classes, dtype=z.dtype)                                       # 0 for none
    focal = optax.losses.sigmoid_focal_loss(logits, one_hot, alpha=0.25, gamma=2.0).sum() / jnp.maximum(there.sum(), 1)
    weight = centred.astype(z.dtype)
    box = (weight * (1 - boxes.giou(corners, truth.astype(z.dtype)))).sum() / jnp.maximum(weight.sum(), 1e-6)
    middle = (there * optax.sigmoid_binary_cross_entropy(centre, weight)).sum() / jnp.maximum(there.sum(), 1)
    iou = (there * boxes.overlap(corners, truth.astype(z.dtype))[0]).sum() / jnp.maximum(there.sum(), 1)
    return focal + box + middle, {"focal": focal, "box": box, "centre": middle, "iou": iou,
                                  "places": there.sum() / len(there)}

  def show(z, views):
    colours, (found, scores, classes) = segment.palette(num_classes), chosen(z)
    image = views["image"][..., :3]
    return {"view": boxes.painted(image, views["boxes"], views["classes"], colours),
            "prediction": boxes.painted(image, found, jnp.where(scores > SHOWN, classes, -1), colours)}

  return downstream.make(net, views, objective, source=source, weights=weights, strategy=strategy, ema=ema,
                         reads=("image", "boxes", "classes"), show=show)


def grids(encoder, shape):
  """[(h, w)] of the levels for images of a shape [B, H, W, C]."""
  x = jax.ShapeDtypeStruct((1, *shape[1:]), jnp.float32)
  found = jax.eval_shape(lambda key, x: encoder.init_with_output(key, x, method="features")[0], jax.random.key(0), x)
  return [found[k].shape[1:3] for k in levels({k: v.shape for k, v in found.items()})]


def viewed(rng, image, truth, classes, *, scale, flip_p, jitter):
  """Images [B, H, W, C] and their boxes [B, M, 4] cropped, resized and mirrored alike.

  A box of which the crop keeps less than a third is no object any more.
  """
  r_box, r_flip, r_color = jax.random.split(rng, 3)
  (B, H, W, _), size = image.shape, jnp.float32([*image.shape[2:0:-1]] * 2)
  box = rectangles.random_box(r_box, (B,), (H, W), scale=scale, ratio=(4 / 5, 5 / 4))
  top, left, high, wide = (v[:, None] for v in box)
  image = crop.crop_resize(image, box, (H, W))
  whole = (truth - jnp.stack([left, top, left, top], -1)) * jnp.stack([W / wide, H / high] * 2, -1)
  kept = jnp.clip(whole, 0, size)
  share = boxes.area(kept) / jnp.maximum(boxes.area(whole), 1e-9)
  classes = jnp.where(share >= 1 / 3, classes, -1)
  across, down = jax.random.bernoulli(r_flip, flip_p, (2, B))
  left, top, right, bottom = jnp.moveaxis(kept, -1, 0)
  left, right = (jnp.where(across[:, None], W - a, b) for a, b in ((right, left), (left, right)))
  top, bottom = (jnp.where(down[:, None], H - a, b) for a, b in ((bottom, top), (top, bottom)))
  turn = lambda x, when, axis: jnp.where(when[:, None, None, None], jnp.flip(x, axis), x)
  image = turn(turn(image, across, 2), down, 1)
  if jitter:
    hue = {"saturation": jitter, "hue": jitter / 4} if image.shape[-1] == 3 else {"saturation": 0.0, "hue": 0.0}
    image = augment.color_jitter(r_color, image, brightness=jitter, contrast=jitter, **hue)
  return image, jnp.stack([left, top, right, bottom], -1), classes


@jax.jit
def chosen(z):
  """(boxes [B, 100, 4], scores, classes) of the network's output [B, P, 5 + K]; the score is sqrt(class x centre)."""
  corners, centre, logits = z[..., :4], z[..., 4:5], z[..., 5:]
  scores = jnp.sqrt(jax.nn.sigmoid(logits) * jax.nn.sigmoid(centre))                                   # [B, P, K]
  B, P, K = scores.shape
  scores = jnp.where(scores > 0.05, scores, 0).reshape(B, P * K)
  spread = jnp.broadcast_to(corners[:, :, None], (B, P, K, 4)).reshape(B, P * K, 4)
  kinds = jnp.tile(jnp.arange(K), (B, P))
  return jax.vmap(boxes.nms)(spread, scores, kinds)


def prepare(config, train, test):
  """Fills in the number of classes; a UsageError where there are no boxes, or nothing to judge them with."""
  if importlib.util.find_spec("pycocotools") is None:        # before the training, not after it
    raise errors.UsageError("average precision needs pycocotools: pip install 'sslx[detect]'")
  for s in (train, test):
    if not {"boxes", "classes"} <= s.batch([0]).keys():
      raise errors.UsageError(f"the data {s.name} hold no boxes: detection reads boxes:PATH")
  config.method.num_classes = len(train.class_names)


def measure(predict, train, test, options):
  """{"ap50", "ap", "classes": {name: AP50}, "examples", "standard_error"} on a test Source, by COCO's rules.

  AP is the mean over overlaps from 0.5 to 0.95. The error is that of AP50 over which images were tested, by jackknife
  over tenths of them.
  """
  found, truth = [], []
  for part in parts(test, PART):
    found += zip(*(np.asarray(v) for v in chosen(predict(part["image"]))), strict=True)
    truth += zip(part["boxes"], part["classes"], strict=True)
  whole, fold = precision(found, truth, options.num_classes), np.arange(len(truth)) % 10
  rest = [precision(*([v for v, f in zip(x, fold, strict=True) if f != i] for x in (found, truth)),
                    options.num_classes)["ap50"] for i in np.unique(fold)] if len(truth) > 10 else []
  n = len(rest)
  error = float(np.sqrt((n - 1) / n * np.sum((np.array(rest) - np.mean(rest)) ** 2))) if n else 0.0
  names = test.class_names or range(options.num_classes)
  return {"ap50": whole["ap50"], "ap": whole["ap"], "examples": len(truth), "standard_error": error,
          "classes": {str(names[i]): v for i, v in whole["classes"].items()}}


def pictures(batch, outputs, options):
  """{column: images} for the report: the true boxes and those found, of {strategy: the network's output}."""
  image, colours = np.asarray(augment.to_float(batch["image"]))[..., :3], segment.palette(options["num_classes"])
  paint = lambda *found: np.asarray(boxes.painted(image, *found, colours))
  columns = {"boxes": paint(batch["boxes"], batch["classes"])}
  for strategy, z in outputs.items():
    found, scores, classes = chosen(z)
    columns[f"found by {strategy}"] = paint(found, jnp.where(scores > SHOWN, classes, -1))
  return columns
