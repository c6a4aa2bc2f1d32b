"""DINO (Caron et al., 2021): a student matches the centred, sharpened output of its own moving average."""

import jax
import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding, masked

CITE = r"""@inproceedings{caron2021dino,
  title={Emerging Properties in Self-Supervised Vision Transformers},
  author={Caron, Mathilde and Touvron, Hugo and Misra, Ishan and J{\'e}gou, Herv{\'e} and Mairal, Julien and
    Bojanowski, Piotr and Joulin, Armand},
  booktitle={ICCV}, year={2021}}"""


def make(encoder, *, student_temp=0.1, teacher_temp=0.04, warm_temp=0.04, warm=0.3, momentum=0.996, center=0.9,
         prototypes=65536, freeze=0.01, widths=(2048, 2048, 256), norm=False, aug=recipes.dino()):
  """DINO on `encoder`; the teacher's encoder is what is kept.

  Args:
    student_temp, teacher_temp: of the two distributions over the prototypes.
    warm_temp, warm: the teacher's temperature at the start, and the share of the run in which it goes to its own.
    momentum: of the teacher at the start; it climbs to 1 along half a cosine.
    center: share of the old center that is kept.
    prototypes: width K of the output.
    freeze: share of the run in which the last layer stays as it is.
    widths: of the head's layers (GELU between), the last a bottleneck of unit vectors; norm: batch norm between them.
    aug: (key, image) -> views; the teacher sees the large ones.
  """
  head = heads.MLP(widths, norm, activation="gelu")
  net = base.Network(encoder, heads.Chain((head, heads.Prototypes(prototypes))))

  def init(rng, batch):
    params, stats = base.init(net, rng, batch["image"])
    state = {"net": stats, "target": base.target(params, stats), "center": jnp.zeros(prototypes, float)}
    return {"net": params}, state

  def loss(params, state, views, rng, progress):
    kept = base.cosine(momentum, 1.0, progress)
    t, target = base.follow(net, state["target"], params["net"], views["image"][:1], kept)
    student = base.frozen(params["net"], "prototypes", progress < freeze)
    s, stats = base.encode(net, student, state["net"], views["image"], rng=rng)                   # [V, B, K]
    temp = base.climb(warm_temp, teacher_temp, progress, warm)
    value = losses.dino(s, t, state["center"], student_temp=student_temp, teacher_temp=temp)
    moved = center * state["center"] + (1 - center) * t.mean((0, 1))
    probabilities = jax.nn.softmax((t - state["center"]) / temp)
    entropy = -jnp.sum(probabilities * jnp.log(probabilities + 1e-12), -1).mean()
    metrics = {"teacher_entropy": entropy, "z_std": losses.feature_std(s[0])}
    return value, ({"net": stats, "target": target, "center": moved}, metrics)

  def encode(params, state):
    return {"image": base.part("encoder", state["target"]["params"], state["target"]["stats"])}

  def show(params, state, views):
    return embedding.shown(views) | masked.attention(encoder, encode(params, state)["image"], views["image"][0][:, 0])

  return base.Method(init, embedding.augmented(aug), loss, encode, show=show,
                     project=lambda params, state: (net, {"params": state["target"]["params"],
                                                          **state["target"]["stats"]}))
