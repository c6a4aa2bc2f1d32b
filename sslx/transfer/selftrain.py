"""Classification with few labels and many images without: they are used again, by the network's own guesses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx import errors
from sslx.augment import recipes
from sslx.transfer import classify, downstream, stages

RESIZED = classify.RESIZED
KINDS = ("fixmatch", "entropy", "none")
measure = classify.measure


def make(encoder, *, source="", weights="", strategy="finetune", num_classes=0, kind="fixmatch", share=1 / 8,
         threshold=0.95, weight=1.0, ema=0.0, aug=recipes.fixmatch()):
  """A classifier on `encoder`, trained on labelled images and on all others of the training set at once.

  Args:
    source, weights, strategy, ema: see downstream.make.
    num_classes: of the set; a run fills it in.
    kind: fixmatch (Sohn et al., 2020): where the weak view is classified with confidence, the strong one shall be of
      that class; entropy (Grandvalet & Bengio, 2004): guesses of weak views shall be sure; none: labels alone.
    share: labelled images of a batch, as a share of those without.
    threshold: probability from which a guess is followed (fixmatch).
    weight: of the loss without labels.
    aug: (key, image) -> a pair of views, the weak one first; labelled images are seen in the weak one.
  """
  if kind not in KINDS:
    raise errors.unknown("kind", kind, KINDS)
  still = stages.parse(strategy)[0] == "linear"
  net = classify.Classifier(encoder, num_classes, "", still)

  def views(rng, batch):
    r_known, r_free = jax.random.split(rng)
    number = max(1, round(share * len(batch["image"])))
    pair = lambda key, x: recipes.views(aug, key, x)[0]                                  # [n, 2, h, w, C]
    known = pair(r_known, batch["labelled"][:number])[:, 0]
    free = pair(r_free, batch["image"])
    parts = [known, free[:, 0], free[:, 1]] if kind == "fixmatch" else [known, free[:, 0]]
    return {"image": jnp.concatenate(parts), "label": batch["class"][:number]}

  def objective(z, views):
    n = len(views["label"])
    loss = optax.softmax_cross_entropy_with_integer_labels(z[:n], views["label"]).mean()
    metrics = {"supervised": loss, "accuracy": (z[:n].argmax(-1) == views["label"]).mean(dtype=z.dtype)}
    if kind == "none":
      return loss, metrics
    if kind == "entropy":
      free, metrics["sure"] = entropy(z[n:]), jax.nn.softmax(z[n:]).max(-1).mean()
    else:
      free, metrics["sure"] = pseudo(*jnp.split(z[n:], 2), threshold)
    return loss + weight * free, metrics | {"unsupervised": free}

  return downstream.make(net, views, objective, source=source, weights=weights, strategy=strategy, ema=ema,
                         reads=("image", "labelled", "class"), show=lambda z, views: {"view": views["image"]})


def pseudo(weak, strong, threshold):
  """(FixMatch's loss (Sohn et al., 2020, eq. 4) of logits [B, K] of both views, share of guesses that are followed)."""
  guess = jax.nn.softmax(jax.lax.stop_gradient(weak))
  sure = (guess.max(-1) >= threshold).astype(weak.dtype)
  each = optax.softmax_cross_entropy_with_integer_labels(strong, guess.argmax(-1))
  return (sure * each).mean(), sure.mean()


def entropy(z):
  """Mean entropy of the guesses of logits [B, K]."""
  return -(jax.nn.softmax(z) * jax.nn.log_softmax(z)).sum(-1).mean()


def prepare(config, train, test):
  """Fills in the number of classes; a UsageError where there are no labels, or nothing beside what is labelled."""
  classify.prepare(config, train, test)
  if not config.data.unlabelled:
    raise errors.UsageError("self-training learns from images without labels too: set data.labels (10%, 5 a class or a "
                            "file) and data.unlabelled=True")
  config.method.num_classes = len(np.unique(train.labels))
