"""LeJEPA (Balestriero and LeCun, 2025): views predict their mean while embeddings are kept an isotropic Gaussian."""

import jax
import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@article{balestriero2025lejepa,
  title={LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics},
  author={Balestriero, Randall and LeCun, Yann},
  journal={arXiv:2511.08544}, year={2025}}"""


def make(encoder, *, lambd=0.05, slices=1024, knots=17, t_max=3.0, widths=(2048, 2048, 64), aug=recipes.dino()):
  """LeJEPA on `encoder`: no teacher, no stop-gradient, no schedule.

  Args:
    lambd: weight of SIGReg; prediction has 1 - lambd.
    slices, knots, t_max: of SIGReg: random directions, and points of its integral over [0, t_max].
    widths: of the projector's layers, with batch norm after the hidden ones.
    aug: (key, image) -> views.
  """
  def objective(z, views, rng, progress):                                               # z [V, B, K]
    large = views["image"][0].shape[1]
    prediction = jnp.mean((z[:large].mean(0) - z) ** 2)
    gaussian = lambda key, x: losses.sigreg(key, x, slices=slices, knots=knots, t_max=t_max)
    sigreg = base.mean(map(gaussian, jax.random.split(rng, len(z)), z))
    return (1 - lambd) * prediction + lambd * sigreg, {"prediction": prediction, "sigreg": sigreg}

  return embedding.joint(base.Network(encoder, heads.MLP(widths, norm=True)), aug, objective)
