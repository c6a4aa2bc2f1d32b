"""SimCLR (Chen et al., 2020): two views of an image attract, all others repel."""

import jax
import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base


def make(encoder, *, temperature=0.5, widths=(2048, 128), norm=False, last_norm=False, aug=recipes.simclr()):
  """SimCLR on `encoder`.

  Args:
    temperature: of NT-Xent.
    widths: of the projector's layers; the last is the dimension K that is contrasted.
    norm, last_norm: batch norm in the projector's hidden layers, and on its output; the paper's text has neither, small
      models on small images learn faster with both.
    aug: (key, image) -> view.
  """
  net = base.Network(encoder, heads.MLP(widths, norm, last_norm))

  def init(rng, batch):
    params, stats = base.init(net, rng, batch["image"])
    return {"net": params}, {"net": stats}

  def views(rng, batch):
    return jnp.concatenate([aug(r, batch["image"]) for r in jax.random.split(rng)])     # [2B, H, W, C]

  def project(params, state, views, rng=None):
    return base.forward(net, params["net"], state["net"], views, rng=rng)               # [2B, K]

  def loss(params, state, views, rng, progress):
    z, stats = project(params, state, views, rng)
    value = losses.ntxent(*jnp.split(z, 2), temperature=temperature)
    return value, ({"net": stats}, {"z_std": losses.feature_std(z)})

  def show(params, state, views):
    z = losses.unit(project(params, state, views)[0])
    first, second = jnp.split(views, 2)
    return {"view 1": first, "view 2": second, "affinity": z @ z.T}

  encode = lambda params, state: {"image": base.part("encoder", params["net"], state["net"])}
  return base.Method(init, views, loss, encode, show=show)
