"""All4One (Estepa et al., 2023): neighbours, the centroid that attention makes of them, and decorrelated features."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes
from sslx.encoders.vit import Block
from sslx.methods import base, embedding

CITE = """@inproceedings{estepa2023all4one,
  title={All4One: Symbiotic Neighbour Contrastive Learning via Self-Attention and Redundancy Reduction},
  author={Estepa, Imanol G. and Sarasua, Ignacio and Nagarajan, Bhalaji and Radeva, Petia},
  booktitle={ICCV}, year={2023}}"""


class Mixer(nn.Module):
  """Attention over a sequence x [B, T, K] of neighbours; its first output [B, K] is their centroid."""
  depth: int
  heads: int

  @nn.compact
  def __call__(self, x, train=False):
    x = x + self.param("positions", nn.initializers.normal(0.02), x.shape[1:], jnp.result_type(float)).astype(x.dtype)
    for i in range(self.depth):
      x = Block(self.heads, None, name=f"block{i + 1}")(x)
    return x[:, 0]


def make(encoder, *, temperature=0.2, centroid_temp=0.1, momentum=0.99, queue=98304, neighbours=5, depth=3,
         attention_heads=8, widths=(2048, 2048, 256), predictor=(4096, 256), aug=recipes.byol()):
  """All4One on `encoder`.

  Args:
    temperature, centroid_temp: of the contrast of neighbours and that of centroids.
    momentum: of the target at the start; it climbs to 1 along half a cosine.
    queue: the target's projections that are remembered.
    neighbours: of a projection, that the attention of `depth` blocks with `attention_heads` heads makes a centroid of.
    widths: of the projector's layers, with batch norm after all of them.
    predictor: of both predictors' layers, with batch norm after the hidden one.
    aug: (key, image) -> views.

  The blocks are pre-norm with learned positions and no dropout, where the paper's are post-norm with fixed ones.
  """
  net = base.Network(encoder, heads.MLP(widths, norm=True, last_norm=True))
  head, mixer = heads.MLP(predictor, norm=True), Mixer(depth, attention_heads)

  def init(rng, batch):
    keys = jax.random.split(rng, 5)
    params, stats = base.init(net, keys[0], batch["image"])
    z = jnp.zeros((1, widths[-1]))
    first, first_stats = base.init(head, keys[1], z)
    second, second_stats = base.init(head, keys[2], z)
    mix, _ = base.init(mixer, keys[3], jnp.zeros((1, neighbours, widths[-1])))
    return ({"net": params, "predictor": first, "centroid_predictor": second, "mixer": mix},
            {"net": stats, "predictor": first_stats, "centroid_predictor": second_stats,
             "target": base.target(params, stats), "queue": base.new_queue(keys[4], queue, widths[-1])})

  def loss(params, state, views, rng, progress):
    state, two = dict(state), (views["image"][0][:, :2],)
    z, state["net"] = base.encode(net, params["net"], state["net"], two)                # [2, B, K]
    kept = base.cosine(momentum, 1.0, progress)
    t, state["target"] = base.follow(net, state["target"], params["net"], two, kept)
    p, state["predictor"] = base.predict(head, params["predictor"], state["predictor"], z)
    c, state["centroid_predictor"] = base.predict(head, params["centroid_predictor"], state["centroid_predictor"], z)
    near = [base.neighbours(x, state["queue"], neighbours) for x in t]                  # 2 times [B, n, K]
    mix = lambda x: mixer.apply({"params": params["mixer"]}, x)
    rich = [mix(n) for n in near]
    mixed = [mix(jnp.concatenate([losses.unit(q)[:, None], n[:, :-1]], 1)) for q, n in zip(c, near, strict=True)]
    other = ((0, 1), (1, 0))
    neighbour = base.mean(losses.info_nce(near[i][:, 0], p[j], temperature=temperature) for i, j in other)
    centroid = base.mean(losses.info_nce(rich[i], mixed[j], temperature=centroid_temp) for i, j in other)
    # column-normalised cross-correlation of target and projection: 1 on the diagonal, 0 off it
    columns = lambda x: losses.unit(x.T)                                                # [K, B]
    both = jnp.stack([columns(t[i]) @ columns(z[j]).T for i, j in other])               # [2, K, K]
    eye = jnp.eye(both.shape[-1], dtype=bool)
    root = lambda x: jnp.sqrt(x + 1e-12)
    on = root(jnp.mean((both - 1) ** 2, where=eye))
    off = root(jnp.mean(both**2, where=~eye))
    feature = 5 * (on + off)
    state["queue"] = base.push(state["queue"], losses.unit(t[0]))
    metrics = {"neighbour": neighbour, "centroid": centroid, "feature": feature, "z_std": losses.feature_std(z[0]),
               **base.found(near[0][:, 0], p[1], p[1])}
    return (neighbour + centroid + feature) / 2, (state, metrics)

  return base.Method(init, embedding.augmented(aug), loss, lambda params, state: base.kept("net", params, state),
                     show=lambda params, state, views: embedding.shown(views),
                     project=lambda params, state: (net, {"params": params["net"], **state["net"]}))
