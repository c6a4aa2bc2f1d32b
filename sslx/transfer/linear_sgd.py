"""The papers' linear protocol: SGD on a frozen encoder under crops and flips, a head a learning rate, all at once.

Not the `linear` of `sslx evaluate`, which is a logistic regression on features of unchanged images, fitted to its end.
A head's loss is scaled by its rate, which is the same as a rate of its own: SGD with momentum is linear in gradients.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

from sslx import augment, data, errors
from sslx.augment import recipes
from sslx.evaluate import labels
from sslx.transfer import classify, downstream, run, stages

RESIZED = True               # images are brought to the size of the pretraining
SCRATCH = False              # it judges a frozen encoder: the same network from scratch is no part of it
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Probes(nn.Module):
  """x [B, ...] -> logits [B, R, K] of R linear heads, which start alike, on one standardised feature (MAE's norm).

  blocks: the class tokens of a ViT's last so many blocks beside each other (DINO's feature), 0 for the representation.
  """
  encoder: Any
  classes: int
  number: int
  blocks: int = 0

  @nn.compact
  def __call__(self, x, train=False):
    if self.blocks:
      found = self.encoder.features(x).get("class_tokens")
      if found is None or found.shape[1] < self.blocks:
        raise errors.UsageError(f"blocks={self.blocks} are of a ViT with a class token and so many blocks: this has "
                                f"{0 if found is None else found.shape[1]}; blocks=0 takes its representation")
      h = found[:, -self.blocks:].reshape(len(x), -1)
    else:
      h = self.encoder(x)
    h, wide = h.astype(jnp.promote_types(h.dtype, jnp.float32)), jnp.result_type(float)
    h = nn.BatchNorm(use_running_average=not train, momentum=0.9, use_scale=False, use_bias=False, param_dtype=wide,
                     name="norm")(h)
    one = nn.initializers.normal(0.01)
    kernel = self.param("kernel", lambda key: jnp.tile(one(key, (h.shape[1], self.classes), wide), (self.number, 1, 1)))
    bias = self.param("bias", nn.initializers.zeros, (self.number, self.classes), wide)
    return jnp.einsum("bd,rdk->brk", h, kernel.astype(h.dtype)) + bias.astype(h.dtype)


def make(encoder, *, source="", weights="", strategy="linear", blocks=0, rates=RATES, held=0.1, num_classes=0,
         num_examples=0, reads="image", aug=recipes.mae(scale=(0.08, 1.0))):
  """Linear heads on a frozen `encoder`, trained with cross-entropy; the loss in the log is their sum, scaled by rate.

  Args:
    source, weights: see downstream.make; strategy: linear alone.
    blocks: see Probes.
    rates: peak learning rates of the heads, each as a multiple of optim.lr.
    held: share of the training examples on which the best rate is chosen; they are not learnt from. 0: it is chosen on
      the test examples, as papers do.
    num_classes, num_examples: of the set; a run fills them in.
    reads: what the encoder does, image, text, audio or video; a run fills it in.
    aug: (key, image) -> view; each image is seen once a step. Other data are seen as they are.
  """
  check_strategy(strategy)
  if not rates or min(rates) <= 0 or not 0 <= held < 1:
    raise errors.UsageError(f"rates={rates}, held={held}: give rates above 0, and a share of the examples from 0 to 1")
  net = Probes(encoder, num_classes, len(rates), blocks)
  learnt = np.ones(num_examples, bool)
  learnt[chooses(num_examples, held)] = False

  def views(rng, batch):
    x = batch[reads]
    x = recipes.views(aug, rng, x, number=1)[0][:, 0] if reads == "image" else x
    return {reads: x if reads == "text" else augment.to_float(x), "label": batch["label"],
            "learnt": jnp.asarray(learnt)[batch["index"]]}

  def objective(z, views):
    weight = views["learnt"][:, None] / jnp.maximum(views["learnt"].sum(), 1).astype(z.dtype)            # [B, 1]
    label = jnp.broadcast_to(views["label"][:, None], z.shape[:2])
    each = (weight * optax.softmax_cross_entropy_with_integer_labels(z, label)).sum(0)                   # [R]
    right = (weight * (z.argmax(-1) == label)).sum(0)
    return (each * jnp.asarray(rates, z.dtype)).sum(), {f"accuracy_{r:g}": a for r, a in zip(rates, right, strict=True)}

  show = (lambda z, views: {"view": views["image"]}) if reads == "image" else None
  return downstream.make(net, views, objective, source=source, weights=weights, strategy=strategy,
                         reads=(reads, "label", "index"), show=show)


def check_strategy(strategy):
  """A UsageError for an encoder that moves."""
  if stages.parse(strategy)[0] != "linear":
    raise errors.UsageError(f"linear_sgd is of a frozen encoder: its strategy is linear, not {strategy}")


def chooses(number, held):
  """The positions of the training examples, of so many, that choose the rate: the same ones whatever the seed."""
  count = round(held * number)
  return data.drawn(range(number), count, 0) if count else np.zeros(0, int)


def prepare(config, train, test):
  """A UsageError where there are no labels, or where an optimizer would not give each head its rate."""
  check_strategy(config.method.strategy)                     # before "auto" is decided
  classify.prepare(config, train, test)
  c = config.optim
  if c.name != "sgd" or c.weight_decay or c.clip:
    raise errors.UsageError("linear_sgd trains the heads of all rates at once, which is exact for SGD without weight "
                            f"decay or clipping: set optim.name=sgd (it is {c.name}), optim.weight_decay=0 (it is "
                            f"{c.weight_decay:g}) and optim.clip=0 (it is {c.clip:g})")
  config.method.num_examples = len(train)


def measure(predict, train, test, options):
  """What classify.measure gives for the head of the rate that is best where it is chosen, and all of them.

  "rate", the chosen one; "chosen_on", in words; "rates": {rate: {"held": accuracy or None, "test": accuracy}}.
  """
  guess = lambda source: run.outputs(lambda x: classify.surest(predict(x)), source)                   # [N, R, 2]
  truth = lambda source: labels.encode(train.labels, source.labels)[2][:, None]
  right = lambda found, source: (found[..., 0] == truth(source)).mean(0).tolist()
  tested, held = guess(test), train.take(chooses(len(train), options.held))
  scores = {"held": right(guess(held), held) if len(held) else [None] * len(options.rates), "test": right(tested, test)}
  best = int(np.argmax(scores["held" if len(held) else "test"]))
  where = (f"{len(held)} training examples that no head learnt from" if len(held) else
           "the test examples themselves, which flatters it")
  return classify.scored(tested[:, best], train, test) | {
      "rate": float(options.rates[best]), "chosen_on": where,
      "rates": {f"{r:g}": {k: v[i] for k, v in scores.items()} for i, r in enumerate(options.rates)}}
