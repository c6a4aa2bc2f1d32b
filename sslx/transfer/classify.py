"""Classification on a pretrained encoder: a linear head on its representation, on a stage, or on what a query sees."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx import augment, errors
from sslx.augment import recipes
from sslx.evaluate import labels
from sslx.heads import Attentive
from sslx.transfer import downstream, run, stages

RESIZED = True               # images are brought to the size of the pretraining
POOLS = ("", "attentive")
MISTAKES = 24                # of the test set, that are kept for the report


class Classifier(nn.Module):
  """x [B, ...] -> logits [B, K]. still: the encoder runs as in evaluation, and its features are standardised.

  layer: the stage whose mean over space is classified, "" for the representation.
  pool: "attentive" attends to the places of the stage, or to the encoder's last grid or tokens, in place of their mean.
  """
  encoder: Any
  classes: int
  layer: str = ""
  still: bool = False
  pool: str = ""

  @nn.compact
  def __call__(self, x, train=False):
    real = None
    if self.layer or self.pool:
      found = self.encoder.features(x, train and not self.still)
      layer = self.layer or ("grid" if "grid" in found else "tokens")
      if layer not in found:
        raise errors.unknown("layer", layer, found)
      h = found[layer]
      h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
      h = h.reshape(len(h), -1, h.shape[-1]) if self.pool else jnp.mean(h, range(1, h.ndim - 1))
      if self.pool and jnp.issubdtype(x.dtype, jnp.integer):                               # text: 0 is no token
        real = jnp.pad(x != 0, ((0, 0), (h.shape[1] - x.shape[1], 0)), constant_values=True)
    else:
      h = self.encoder(x, train and not self.still)
      h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    wide = jnp.result_type(float)
    if self.still:                                           # Doersch et al., 2015: features of any scale
      h = nn.BatchNorm(use_running_average=not train, momentum=0.9, use_scale=False, use_bias=False, param_dtype=wide,
                       name="norm")(h, mask=None if real is None else real[..., None])
    h = Attentive(name="pool")(h, real) if self.pool else h
    return nn.Dense(self.classes, param_dtype=wide, kernel_init=nn.initializers.normal(0.01), name="head")(h)


def make(encoder, *, source="", weights="", strategy="linear", layer="", pool="", num_classes=0, mixup=0.0, cutmix=0.0,
         smoothing=0.0, ema=0.0, reads="image", votes=False, aug=recipes.mae()):
  """A classifier on `encoder`, trained with cross-entropy.

  Args:
    source, weights, strategy, ema: see downstream.make.
    layer: "stage1", "stage2", ... to classify the mean of that stage in place of the representation (linear alone).
    pool: "attentive": a learnt query attends to the encoder's last grid or tokens, or to those of `layer`, and what it
      sees is classified; "": the representation as the encoder has it, or the mean of `layer`.
    num_classes: of the set; a run fills it in.
    mixup, cutmix: alpha of the mix of pairs (Zhang et al., 2018; Yun et al., 2019), 0 for none; with both, each image
      gets one of the two.
    smoothing: of the labels.
    reads: what the encoder does, one of data.source.KEYS; a run fills it in.
    votes: whether an example's shares of votes are its target, their sum its weight in the mean over the batch, as
      data.votes has them; a run fills it in.
    aug: (key, image) -> view; each image is seen once a step. Other data are seen as they are, and unmixed.
  """
  if reads != "image" and (mixup or cutmix):
    raise errors.UsageError(f"mixup and cutmix are for images, and the encoder reads {reads}: leave them at 0")
  if pool not in POOLS:
    raise errors.unknown("pool", pool, [p or '""' for p in POOLS])
  still = stages.parse(strategy)[0] == "linear"
  check_layer(layer, strategy)
  net = Classifier(encoder, num_classes, layer, still, pool)

  def views(rng, batch):
    r_aug, r_mix = jax.random.split(rng)
    x, label = batch[reads], batch["label"]
    target = optax.smooth_labels(jax.nn.one_hot(label, num_classes, dtype=float), smoothing)
    if votes:                                                # smoothed, each row keeps its weight
      target = (1 - smoothing) * batch["votes"] + smoothing * batch["votes"].mean(-1, keepdims=True)
    if reads == "image":
      x, target = mixed(r_mix, recipes.views(aug, r_aug, x, number=1)[0][:, 0], target, mixup, cutmix)
    return {reads: x if reads == "text" else augment.to_float(x), "target": target, "label": label}

  def objective(z, views):
    target = views["target"].astype(z.dtype)
    each = optax.softmax_cross_entropy(z, target)
    loss = each.sum() / target.sum() if votes else each.mean()
    return loss, {"accuracy": (z.argmax(-1) == views["label"]).mean(dtype=z.dtype)}

  show = (lambda z, views: {"view": views["image"]}) if reads == "image" else None
  return downstream.make(net, views, objective, source=source, weights=weights, strategy=strategy, ema=ema,
                         reads=(reads, "label", *["votes"] * votes), show=show)


def check_layer(layer, strategy):
  """A UsageError for a stage that is read while the encoder moves."""
  if layer and stages.parse(strategy)[0] != "linear":
    raise errors.UsageError(f"layer={layer} reads a stage of a frozen encoder: it goes with the strategy linear, not "
                            f"{strategy}")


def mixed(rng, image, target, mixup, cutmix):
  """Images [B, H, W, C] and targets [B, K] mixed with those before them, by one of the two kinds where both are on."""
  r_kind, r_mixup, r_cutmix = jax.random.split(rng, 3)
  made = ([augment.random_mixup(r_mixup, image, alpha=mixup)] if mixup else []) + (
      [augment.random_cutmix(r_cutmix, image, alpha=cutmix)] if cutmix else [])
  if not made:
    return image, target
  first, last = made[0], made[-1]                            # the partner is the same in both
  pick = jax.random.bernoulli(r_kind, 0.5, (len(image),))
  image = jnp.where(pick[:, None, None, None], first[0], last[0])
  weight = jnp.where(pick, first[2], last[2])[:, None]
  return image, weight * target + (1 - weight) * target[first[1]]


def prepare(config, train, test):
  """Fills in whether there are votes; a UsageError where there are no labels to learn from or to test with."""
  for name, source in (("training", train), ("test", test)):
    if source.labels is None:
      raise errors.UsageError(f"the {name} set of {source.name} has no labels: classification needs them for both")
  if config.data.votes and "votes" not in config.method:
    raise errors.UsageError(f"data.votes is for sslx.transfer.classify, not for {config.method.name}")
  if "votes" in config.method:
    config.method.votes = bool(config.data.votes)


def measure(predict, train, test, options):
  """{"accuracy", "classes": {name: accuracy}, "examples", "standard_error", "mistakes"} of logits predict(images).

  On a labelled test Source, that is. Test images of classes that the training Source does not have count as wrong.
  mistakes: the MISTAKES surest ones, [{"index", "truth", "guess", "confidence"}], the surest first.
  """
  return scored(run.outputs(lambda x: surest(predict(x)), test), train, test)


def surest(z):
  """Logits [..., K] -> [..., 2]: the class of the highest one, and its probability."""
  z = np.asarray(z, np.float64)
  return np.stack([z.argmax(-1), 1 / np.exp(z - z.max(-1, keepdims=True)).sum(-1)], -1)


def scored(found, train, test):
  """The measures of what `surest` gives [N, 2] for all examples of the test Source; classes are the training one's."""
  classes, _, truth = labels.encode(train.labels, test.labels)
  guess, confidence = found[:, 0].astype(int), found[:, 1]
  right = guess == truth
  names = test.class_names or ()
  name = lambda c: str(names[c]) if 0 <= c < len(names) else str(c)
  error = (right.mean() * (1 - right.mean()) / len(test)) ** 0.5
  wrong = np.flatnonzero(~right)
  wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
  return {"accuracy": float(right.mean()), "examples": len(test), "standard_error": float(error),
          "mistakes": [{"index": int(i), "truth": name(int(test.labels[i])), "guess": name(int(classes[guess[i]])),
                        "confidence": float(confidence[i])} for i in wrong],
          "classes": {name(c): float(right[truth == i].mean()) for i, c in enumerate(classes) if np.any(truth == i)}}
