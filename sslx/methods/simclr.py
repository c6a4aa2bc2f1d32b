"""SimCLR (Chen et al., 2020): two views of an image attract, all others repel."""

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
    return recipes.views(aug, rng, batch["image"])                                      # ([B, 2, H, W, C],)

  def loss(params, state, views, rng, progress):
    z, stats = base.encode(net, params["net"], state["net"], views, rng=rng)            # [V, B, K]
    terms = [losses.ntxent(z[i], z[j], temperature=temperature) for i, j in base.pairs(len(z))]
    return sum(terms) / len(terms), ({"net": stats}, {"z_std": losses.feature_std(z[0])})

  def show(params, state, views):
    z, _ = base.encode(net, params["net"], state["net"], views)
    z = losses.unit(jnp.concatenate(z[:2]))
    return base.first_two(views) | {"affinity": z @ z.T}

  encode = lambda params, state: {"image": base.part("encoder", params["net"], state["net"])}
  return base.Method(init, views, loss, encode, show=show)
