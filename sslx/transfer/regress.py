"""Numbers or several labels at once on a pretrained encoder: regression and multi-label classification.

The data hold "target": floats [K] to be predicted, or zeros and ones, one for each label that an image may have.
"""

import jax.numpy as jnp
import numpy as np
import optax
from sklearn.metrics import average_precision_score

from sslx import data, errors
from sslx.augment import recipes
from sslx.transfer import classify, downstream, stages

RESIZED = True               # images are brought to the size of the pretraining
PART = 1024                  # images on the host at once


def make(encoder, *, source="", weights="", strategy="linear", layer="", target="number", num_outputs=0, mean=(),
         std=(), ema=0.0, aug=recipes.mae()):
  """A linear head on `encoder`, trained with the squared error of standardised targets, or binary cross-entropy.

  Args:
    source, weights, strategy, layer, ema, aug: as in classify.make.
    target: "number" or "labels", what the targets are.
    num_outputs, mean, std: K, and the moments of each of the training targets; sslx transfer fills them in.
  """
  if target not in ("number", "labels"):
    raise errors.unknown("method.target", target, ("number", "labels"))
  still = stages.parse(strategy)[0] == "linear"
  classify.check_layer(layer, strategy)
  net = classify.Classifier(encoder, num_outputs, layer, still)

  def views(rng, batch):
    image = recipes.views(aug, rng, batch["image"], number=1)[0][:, 0]
    y = batch["target"].reshape(len(image), -1).astype(image.dtype)
    return {"image": image, "target": y if target == "labels" else
            (y - jnp.asarray(mean, image.dtype)) / jnp.asarray(std, image.dtype)}

  def objective(z, views):
    y = views["target"].astype(z.dtype)
    if target == "labels":
      right = ((z > 0) == (y > 0.5)).mean(dtype=z.dtype)
      return optax.sigmoid_binary_cross_entropy(z, y).mean(), {"label_accuracy": right}
    return jnp.square(z - y).mean(), {"mae_in_std": jnp.abs(z - y).mean()}

  return downstream.make(net, views, objective, source=source, weights=weights, strategy=strategy, ema=ema,
                         reads=("image", "target"), show=lambda z, views: {"view": views["image"]})


def targets(source):
  """The targets [N, K] of a Source."""
  if "target" not in source[0]:
    raise errors.UsageError(f"the data {source.name} hold no \"target\": give data of your own by a dotted name")
  return np.concatenate([np.asarray(p["target"], np.float64).reshape(len(p["index"]), -1)
                         for p in data.parts(source, PART)])


def prepare(config, train, test):
  """Fills in the number of outputs and the moments of the training targets."""
  y, m = targets(train), config.method
  if not np.isfinite(y).all() or (m.target == "labels" and not np.isin(y, (0, 1)).all()):
    allowed = "zeros and ones" if m.target == "labels" else "finite"
    raise errors.UsageError(f"targets of {train.name} must be {allowed} (method.target={m.target})")
  std = y.std(0)
  m.num_outputs, m.mean = y.shape[1], tuple(y.mean(0).tolist())
  m.std = tuple(np.where(std > 0, std, 1).tolist())


def measure(predict, train, test, options):
  """Of numbers {"r2", "mae"}, means over the K targets; of labels {"map", "label_accuracy"}; and "examples".

  With "standard_error" of the first, by bootstrap over the test images. map: the mean over labels of average precision.
  """
  truth = targets(test)
  z = np.concatenate([predict(part["image"]) for part in data.parts(test, PART)]).astype(np.float64)
  out = z if options.target == "labels" else z * np.asarray(options.std) + np.asarray(options.mean)
  name, score = ("map", mean_precision) if options.target == "labels" else ("r2", r2)
  rng, n = np.random.default_rng(0), len(truth)
  draws = [score(truth[i], out[i]) for i in (rng.integers(0, n, n) for _ in range(100))]
  other = {"label_accuracy": float(np.mean((z > 0) == (truth > 0.5)))} if name == "map" else {
      "mae": float(np.abs(out - truth).mean())}
  return {name: score(truth, out), **other, "examples": n, "standard_error": float(np.nanstd(draws, ddof=1))}


def r2(truth, out):
  """1 - residual / variance, the mean over targets [N, K] that vary."""
  spread = np.square(truth - truth.mean(0)).sum(0)
  return float(np.mean(1 - np.square(truth - out).sum(0)[spread > 0] / spread[spread > 0]))


def mean_precision(truth, out):
  """The mean over labels [N, K] that some, not all, images have, of average precision."""
  some = [k for k in range(truth.shape[1]) if 0 < truth[:, k].sum() < len(truth)]
  return float(np.mean([average_precision_score(truth[:, k], out[:, k]) for k in some])) if some else float("nan")
