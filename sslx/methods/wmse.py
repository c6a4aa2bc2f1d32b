"""W-MSE (Ermolov et al., 2021): views agree after the batch has been whitened."""

import jax

from sslx import errors, heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{ermolov2021whitening,
  title={Whitening for Self-Supervised Representation Learning},
  author={Ermolov, Aleksandr and Siarohin, Aliaksandr and Sangineto, Enver and Sebe, Nicu},
  booktitle={ICML}, year={2021}}"""


def make(encoder, *, size=128, iterations=1, eps=1e-4, widths=(1024, 64), aug=recipes.simclr()):
  """W-MSE on `encoder`.

  Args:
    size: examples that are whitened together, more than K; the batch is cut at random into such parts.
    iterations: how often the batch is cut anew.
    eps: added to the covariance, as a share of the identity.
    widths: of the projector's layers, with batch norm after the hidden ones.
    aug: (key, image) -> view.
  """
  def parts(key, z):
    """z [V, B, K] cut at random into [V, B / size, size, K]; what is left over of the batch is left out."""
    z = z[:, jax.random.permutation(key, z.shape[1])[:z.shape[1] // size * size]]
    return z.reshape(len(z), -1, size, z.shape[-1])

  def objective(z, views, rng, progress):                                               # z [V, B, K]
    if z.shape[1] < size:
      raise errors.UsageError(f"wmse whitens {size} examples together, but the batch has {z.shape[1]}: "
                              "lower method.size")
    whitened = jax.vmap(lambda x, y: losses.wmse(x, y, eps=eps))
    cuts = [parts(k, z) for k in jax.random.split(rng, iterations)]
    return base.mean(whitened(x[i], x[j]).mean() for x in cuts for i, j in base.pairs(len(z))), {}

  return embedding.joint(base.Network(encoder, heads.MLP(widths, norm=True)), aug, objective)
