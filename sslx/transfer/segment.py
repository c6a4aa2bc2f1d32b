"""Semantic segmentation on a pretrained encoder: a class for every pixel, by a linear head or ones on all stages."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx import augment, data, errors
from sslx.augment import boxes, crop
from sslx.data import masks
from sslx.transfer import downstream, pyramid, stages

IGNORED = 255                # marks pixels without a class where classes.json does not say
PART = 64                    # images on the host at once: their logits are large
HEADS = ("linear", "fcn", "upernet")
BOOTSTRAPS, SEED = 200, 0    # for the standard error of the mean IoU


class Segmenter(nn.Module):
  """x [B, H, W, C] -> logits [B, H, W, K]. still: the encoder runs as in evaluation, and its features are standardised.

  head: "linear", each place of the last grid by itself; "fcn" (Long et al., 2015): at most four stages, a 3x3
  convolution of `width` on each, their scores added from coarse to fine; or "upernet" (Xiao et al., 2018): a pyramid of
  `width` on these stages, the blocks of a ViT brought to four sizes first.
  """
  encoder: Any
  classes: int
  head: str = "linear"
  width: int = 32
  still: bool = False

  @nn.compact
  def __call__(self, x, train=False):
    wide, found = jnp.result_type(float), self.encoder.features(x, train and not self.still)

    def ready(h, name):
      h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
      return nn.BatchNorm(use_running_average=not train, momentum=0.9, use_scale=False, use_bias=False,
                          param_dtype=wide, name=f"norm_{name}")(h) if self.still else h
    score = lambda h, name: nn.Conv(self.classes, (1, 1), param_dtype=wide, name=f"score_{name}",
                                    kernel_init=nn.initializers.normal(0.01))(h)
    if self.head == "linear":
      y = score(ready(found["grid"], "grid"), "grid")
    elif self.head == "upernet":
      maps = pyramid.spread({name: ready(found[name], name) for name in chosen(found)})
      y = score(pyramid.Fused(self.width, name="pyramid")(maps), "pyramid")
    else:
      y = None
      for name in chosen(found)[::-1]:
        h = nn.relu(nn.Conv(self.width, (3, 3), param_dtype=wide, name=f"conv_{name}")(ready(found[name], name)))
        h = score(h, name)
        y = h if y is None else jax.image.resize(y, h.shape, "bilinear") + h
    return jax.image.resize(y, (*x.shape[:3], self.classes), "bilinear")


def chosen(features):
  """At most four of an encoder's stages, evenly spread, the last among them, in their order."""
  names = sorted((k for k in features if k.startswith("stage")), key=lambda k: int(k[5:]))
  if not names:
    raise errors.UsageError("this encoder's features have no stages for a head on several: use method.head=linear")
  return [names[i] for i in np.unique(np.linspace(-1, len(names) - 1, min(4, len(names)) + 1).round()[1:].astype(int))]


def make(encoder, *, source="", weights="", strategy="linear", head="linear", width=32, num_classes=0, ignore=-1,
         scale=(0.25, 1.0), flip_p=0.5, jitter=0.4, ema=0.0):
  """A segmenter on `encoder`, trained with the mean cross-entropy over pixels.

  Args:
    source, weights, strategy, ema: see downstream.make.
    head, width: see Segmenter.
    num_classes, ignore: of the set, and the number of pixels that do not count; sslx transfer fills them in.
    scale: share of the image's area that a crop covers, uniform in this range; it is resized to the image's size.
    flip_p: probability of a mirror image.
    jitter: strength of brightness, contrast and saturation, a quarter of it of hue.
  """
  if head not in HEADS:
    raise errors.unknown("head", head, HEADS)
  net = Segmenter(encoder, num_classes, head, width, stages.parse(strategy)[0] == "linear")

  def views(rng, batch):
    image = augment.to_float(batch["image"])
    image, mask = viewed(rng, image, batch["mask"], scale=scale, flip_p=flip_p, jitter=jitter)
    return {"image": image, "mask": mask}

  def objective(z, views):
    known = (views["mask"] != ignore).astype(z.dtype)
    number = jnp.maximum(known.sum(), 1)
    each = optax.softmax_cross_entropy_with_integer_labels(z, jnp.where(known > 0, views["mask"], 0))
    right = (z.argmax(-1) == views["mask"]).astype(z.dtype)
    return (known * each).sum() / number, {"pixel_accuracy": (known * right).sum() / number}

  def show(z, views):
    truth = painted(views["image"], views["mask"], num_classes)
    return {"view": views["image"], "mask": truth, "prediction": painted(views["image"], z.argmax(-1), num_classes)}

  return downstream.make(net, views, objective, source=source, weights=weights, strategy=strategy, ema=ema,
                         reads=("image", "mask"), show=show)


def viewed(rng, image, mask, *, scale, flip_p, jitter):
  """Images [B, H, W, C] and masks [B, H, W] cropped, resized and mirrored alike, masks by nearest pixels."""
  r_box, r_flip, r_color = jax.random.split(rng, 3)
  size, mask = image.shape[1:3], mask[..., None].astype(jnp.float32)                     # exact to 2^24
  box = boxes.random_box(r_box, image.shape[:1], size, scale=scale, ratio=(3 / 4, 4 / 3))
  image, mask = crop.crop_resize(image, box, size), crop.crop_resize(mask, box, size, method="nearest")
  image, mask = (augment.random_flip_left_right(r_flip, v, p=flip_p) for v in (image, mask))
  if jitter:
    hue = {"saturation": jitter, "hue": jitter / 4} if image.shape[-1] == 3 else {"saturation": 0.0, "hue": 0.0}
    image = augment.color_jitter(r_color, image, brightness=jitter, contrast=jitter, **hue)
  return image, jnp.round(mask[..., 0]).astype(jnp.int32)


def palette(classes):
  """A colour a class [K, 3] in [0, 1]: hues a golden section apart, two brightnesses in turn."""
  hue = 6 * ((np.arange(classes) * 0.618034) % 1)
  rgb = np.clip(np.stack([np.abs(hue - 3) - 1, 2 - np.abs(hue - 2), 2 - np.abs(hue - 4)], 1), 0, 1)
  return np.float32(rgb * np.where(np.arange(classes) % 2, 0.65, 1.0)[:, None])


def painted(image, mask, classes, share=0.6):
  """Images [B, H, W, C] under the colours of their masks [B, H, W]; pixels of no class stay as they are."""
  image = jnp.broadcast_to(image, (*image.shape[:-1], 3)) if image.shape[-1] == 1 else image[..., :3]
  known = (mask >= 0) & (mask < classes)
  colour = jnp.asarray(palette(classes))[jnp.where(known, mask, 0)]
  return jnp.where(known[..., None], (1 - share) * image + share * colour, image)


def prepare(config, train, test):
  """Fills in the classes and the ignored number from the masks, all of which are looked at."""
  kind, _, path = str(config.data.name).partition(":")
  names, ignore = masks.classes(path) if kind == "masks" else (None, None)
  m = config.method
  if m.ignore < 0:
    m.ignore = IGNORED if ignore is None else ignore
  seen = {}                                                  # class number -> the first image that has it
  for source in (train, test):
    for i in range(len(source)):
      example = source[i]
      if "mask" not in example:
        raise errors.UsageError(f"the data {source.name} hold no masks: segmentation reads masks:PATH")
      for value in np.unique(example["mask"]):
        seen.setdefault(int(value), source.paths[i] if source.paths else f"{source.name}, {i}")
  there = {v: where for v, where in seen.items() if v != m.ignore}
  if not there:
    raise errors.UsageError(f"all pixels of all masks are {m.ignore}, which means that they have no class")
  m.num_classes = m.num_classes or (len(names) if names else 1 + max(there))
  if max(there) >= m.num_classes:
    raise errors.UsageError(f"the mask of {there[max(there)]} has the value {max(there)}: classes go from 0 to "
                            f"{m.num_classes - 1}, and {m.ignore} marks pixels without one (method.ignore)")


def measure(predict, train, test, options):
  """{"miou", "pixel_accuracy", "classes": {name: IoU}, "examples", "standard_error"} of predict(images) [B, H, W, K].

  The error is that of the mean IoU over which images were tested, by bootstrap.
  """
  tables = np.concatenate([confusions(predict(part["image"]).argmax(-1), part["mask"], options.num_classes,
                                      options.ignore) for part in data.parts(test, PART)])          # [N, K, K]
  known = np.arange(options.num_classes) != options.ignore   # no pixel is of the ignored class: it has no IoU
  iou_ = lambda table: iou(table)[known]
  whole, rng = tables.sum(0), np.random.default_rng(SEED)
  draws = rng.multinomial(len(tables), np.full(len(tables), 1 / len(tables)), BOOTSTRAPS)
  means = [np.nanmean(iou_(np.tensordot(d, tables, 1))) for d in draws]
  names = dict(enumerate(test.class_names or ()))
  return {"miou": float(np.nanmean(iou_(whole))), "pixel_accuracy": float(np.trace(whole) / max(1, whole.sum())),
          "examples": len(test), "standard_error": float(np.std(means, ddof=1)),
          "classes": {str(names.get(i, i)): float(v) for i, v in zip(np.flatnonzero(known), iou_(whole), strict=True)
                      if np.isfinite(v)}}


def pictures(batch, outputs, options):
  """{column: images} for the report: masks and what was predicted, of {strategy: the network's output}, painted."""
  image = np.asarray(augment.to_float(batch["image"]))
  paint = lambda mask: np.asarray(painted(image, np.where(mask == options["ignore"], -1, mask), options["num_classes"]))
  return {"mask": paint(batch["mask"].astype(int)),
          **{f"prediction of {strategy}": paint(z.argmax(-1)) for strategy, z in outputs.items()}}


def confusions(predicted, truth, classes, ignore):
  """How many pixels of class i were taken for class j, for every image: [B, K, K] of masks [B, H, W]."""
  out = []
  for p, t in zip(np.asarray(predicted), np.asarray(truth), strict=True):
    known = t != ignore
    out.append(np.bincount(classes * t[known].astype(int) + p[known], minlength=classes**2).reshape(classes, classes))
  return np.stack(out)


def iou(table):
  """Intersection over union of each class [K] of a confusion matrix [K, K]; NaN for one that is nowhere."""
  both, union = np.diag(table).astype(float), table.sum(0) + table.sum(1) - np.diag(table)
  return np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)
