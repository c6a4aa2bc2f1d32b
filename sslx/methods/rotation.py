"""RotNet (Gidaris et al., 2018): by how many quarters was the image turned?"""

import jax.numpy as jnp

from sslx import augment, errors, heads
from sslx.augment import recipes
from sslx.methods import pretext

CITE = """@inproceedings{gidaris2018rotation,
  title={Unsupervised Representation Learning by Predicting Image Rotations},
  author={Gidaris, Spyros and Singh, Praveer and Komodakis, Nikos},
  booktitle={ICLR}, year={2018}}"""


def make(encoder, *, widths=(), norm=False, aug=recipes.mae()):
  """RotNet on `encoder`: all four turns of every view are in the batch.

  Args:
    widths: of hidden layers of the classifier; the paper's is linear on the representation. norm: batch norm in them.
    aug: (key, image) -> view, before it is turned; views must be square.
  """
  def views(rng, batch):
    made = recipes.views(aug, rng, batch["image"], number=1)
    for x in made:
      if x.shape[-3] != x.shape[-2]:
        raise errors.UsageError(f"rotation needs square views, not {x.shape[-3:-1]}: set method.aug.size or data.size")
    turned = (jnp.stack([augment.rot90(x, k) for k in range(4)], 2) for x in made)      # [B, V, 4, h, w, C]
    return {"image": tuple(x.reshape(len(x), -1, *x.shape[3:]) for x in turned)}

  def objective(out, views):                                                            # out [V 4 B, 4]
    turns = jnp.arange(sum(x.shape[1] for x in views["image"])) % 4
    value, accuracy = pretext.chosen(out, turns.repeat(len(views["image"][0])))
    return value, {"rotation_accuracy": accuracy}

  def show(out, views):
    x = views["image"][0]                                                               # [B, 4 V, h, w, C]
    i = jnp.arange(len(x))
    turned, answer = x[i, i % 4], out.reshape(-1, len(x), 4)[i % 4, i].argmax(-1)
    return {"turned": turned, "turned back as predicted": augment.rot90(turned, -answer)}

  return pretext.puzzle(encoder, heads.MLP((*widths, 4), norm), views, pretext.each, objective, show)
