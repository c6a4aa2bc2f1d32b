"""DeepCluster-v2 (Caron et al., 2020): prototypes are the centroids of spherical k-means at the start of the epoch."""

import jax
import jax.numpy as jnp
import optax

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding, kmeans

CITE = """@inproceedings{caron2020swav,
  title={Unsupervised Learning of Visual Features by Contrasting Cluster Assignments},
  author={Caron, Mathilde and Misra, Ishan and Mairal, Julien and Goyal, Priya and Bojanowski, Piotr and Joulin,
    Armand},
  booktitle={NeurIPS}, year={2020}}"""


def make(encoder, *, num_examples=0, temperature=0.1, prototypes=(3000, 3000, 3000), iterations=10, widths=(2048, 128),
         aug=recipes.swav()):
  """DeepCluster-v2 on `encoder`.

  Args:
    num_examples: of the training set; a run fills it in.
    temperature: of the cosine similarities to the prototypes.
    prototypes: number of clusters of each of several clusterings.
    iterations: of k-means.
    widths: of the projector's layers, with batch norm after the hidden ones.
    aug: (key, image) -> views.

  The set is clustered by its features as they are when the epoch starts, where the paper's code keeps those that it
  met in the last epoch.
  """
  head = heads.MLP(widths, norm=True)
  net = base.Network(encoder, head)

  def init(rng, batch):
    r_net, r_label, *keys = jax.random.split(rng, 2 + len(prototypes))
    params, stats = base.init(net, r_net, batch["image"])
    label = lambda k, n: jax.random.randint(k, (num_examples,), 0, n, jnp.int32)        # until the first clustering
    labels = [label(jax.random.fold_in(r_label, i), n) for i, n in enumerate(prototypes)]
    return {"net": params}, {"net": stats, "labels": labels, "prototypes": [
        base.new_queue(k, n, widths[-1]) for k, n in zip(keys, prototypes, strict=True)]}

  def loss(params, state, views, rng, progress):
    z, stats = base.encode(net, params["net"], state["net"], views["image"], rng=rng)             # [V, B, D]
    unit = losses.unit(z.reshape(-1, z.shape[-1]))
    terms = []
    for centroids, labels in zip(state["prototypes"], state["labels"], strict=True):
      logits = (unit @ centroids.T / temperature).reshape(*z.shape[:2], -1)             # [V, B, K]
      label = jnp.broadcast_to(labels[views["index"]], z.shape[:2])
      terms.append(optax.softmax_cross_entropy_with_integer_labels(logits, label).mean())
    return base.mean(terms), ({**state, "net": stats}, {"z_std": losses.feature_std(z[0])})

  def epoch(params, state, rng, features):
    z = losses.unit(head.apply(base.part("head", params["net"], state["net"]), features, train=False))
    found = [kmeans.kmeans(jax.random.fold_in(rng, i), z, clusters=n, iterations=iterations, spherical=True)
             for i, n in enumerate(prototypes)]
    return params, {**state, "prototypes": [f[0] for f in found], "labels": [f[1] for f in found]}, ()

  return base.Method(init, embedding.augmented(aug, ("image", "index")), loss, lambda p, s: base.kept("net", p, s),
                     reads=("image", "index"), epoch=epoch, show=lambda params, state, views: embedding.shown(views),
                     project=lambda params, state: (net, {"params": params["net"], **state["net"]}))
