"""SwAV (Caron et al., 2020): each view predicts the balanced cluster assignment of another."""

import jax
import jax.numpy as jnp

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding

CITE = """@inproceedings{caron2020swav,
  title={Unsupervised Learning of Visual Features by Contrasting Cluster Assignments},
  author={Caron, Mathilde and Misra, Ishan and Mairal, Julien and Goyal, Priya and Bojanowski, Piotr and Joulin,
    Armand},
  booktitle={NeurIPS}, year={2020}}"""


def make(encoder, *, temperature=0.1, prototypes=3000, epsilon=0.05, iterations=3, queue=3840, queue_start=0.15,
         freeze=0.005, widths=(2048, 128), aug=recipes.swav()):
  """SwAV on `encoder`.

  Args:
    temperature: of the predictions.
    prototypes: number of clusters K.
    epsilon, iterations: of Sinkhorn. A loss that stays at log K asks for a smaller epsilon (0.02 for small batches).
    queue, queue_start: projections of each large view that are remembered and balanced along with the batch, from that
      share of the run on; 0 for none.
    freeze: share of the run in which the prototypes stay as they are.
    widths: of the projector's layers, with batch norm after the hidden ones.
    aug: (key, image) -> views.
  """
  net, score = base.Network(encoder, heads.MLP(widths, norm=True)), heads.Prototypes(prototypes)

  def init(rng, batch):
    keys = jax.random.split(rng, 3)
    params, stats = base.init(net, keys[0], batch["image"])
    z = jnp.zeros((1, widths[-1]))
    params = {"net": params, "prototypes": base.init(score, keys[1], z)[0]}
    large = jax.eval_shape(aug, rng, batch["image"])
    large = large[0].shape[1] if isinstance(large, tuple) else 2
    rows = [base.new_queue(k, queue, widths[-1]) for k in jax.random.split(keys[2], large)]
    return params, {"net": stats} | ({"queue": jnp.stack(rows)} if queue else {})       # [large, Q, D]

  def loss(params, state, views, rng, progress):
    large, state = views["image"][0].shape[1], dict(state)
    z, state["net"] = base.encode(net, params["net"], state["net"], views["image"], rng=rng)      # [V, B, D]
    frozen = base.frozen(params, "prototypes", progress < freeze)["prototypes"]
    scores = score.apply({"params": frozen}, z)                                         # [V, B, K]
    options = {"large": large, "temperature": temperature, "epsilon": epsilon, "iterations": iterations}
    value = losses.swav(scores, **options)
    if queue:
      remembered = jax.lax.stop_gradient(score.apply({"params": frozen}, state["queue"]))
      value = jnp.where(progress < queue_start, value, losses.swav(scores, queue_scores=remembered, **options))
      seen = jax.lax.stop_gradient(losses.unit(z[:large].reshape(-1, z.shape[-1])).reshape(large, *z.shape[1:]))
      state["queue"] = jax.vmap(base.push)(state["queue"], seen)
    return value, (state, {"z_std": losses.feature_std(z[0])})

  return base.Method(init, embedding.augmented(aug), loss, lambda params, state: base.kept("net", params, state),
                     show=lambda params, state, views: embedding.shown(views),
                     project=lambda params, state: (net, {"params": params["net"], **state["net"]}))
