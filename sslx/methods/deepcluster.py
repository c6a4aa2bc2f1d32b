"""DeepCluster (Caron et al., 2018): the clusters of the features are the classes of the next epoch."""

import jax
import jax.numpy as jnp
import optax

from sslx import heads, losses
from sslx.augment import recipes
from sslx.methods import base, embedding, kmeans

CITE = """@inproceedings{caron2018deepcluster,
  title={Deep Clustering for Unsupervised Learning of Visual Features},
  author={Caron, Mathilde and Bojanowski, Piotr and Joulin, Armand and Douze, Matthijs},
  booktitle={ECCV}, year={2018}}"""


def make(encoder, *, num_examples=0, clusters=10000, pca=256, iterations=20, aug=recipes.simclr()):
  """DeepCluster on `encoder`.

  Args:
    num_examples: of the training set; a run fills it in.
    clusters: number of classes.
    pca: dimensions that features are whitened to before k-means.
    iterations: of k-means.
    aug: (key, image) -> view.

  Between epochs the features of the whole set are clustered and the classifier starts anew. Examples count inversely
  to the size of their cluster, which equals the paper's sampling uniformly over clusters.
  """
  classifier = heads.MLP((clusters,))

  def init(rng, batch):
    r_net, r_head, r_label = jax.random.split(rng, 3)
    params, stats = base.init(encoder, r_net, batch["image"])
    h = jax.eval_shape(lambda: encoder.apply({"params": params, **stats}, jnp.zeros((1, *batch["image"].shape[1:]))))
    labels = jax.random.randint(r_label, (num_examples,), 0, clusters, jnp.int32)      # until the first clustering
    return {"net": params, "classifier": base.init(classifier, r_head, h)[0]}, {"net": stats, "labels": labels}

  def loss(params, state, views, rng, progress):
    h, stats = base.encode(encoder, params["net"], state["net"], views["image"], rng=rng)         # [V, B, D]
    logits = classifier.apply({"params": params["classifier"]}, h)                      # [V, B, clusters]
    size = jnp.zeros(clusters, logits.dtype).at[state["labels"]].add(1)
    label = state["labels"][views["index"]]
    weight = 1 / jnp.maximum(size[label], 1)                                            # [B]
    each = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.broadcast_to(label, logits.shape[:2]))
    value = jnp.sum(weight * each.mean(0)) / jnp.sum(weight)
    accuracy = jnp.mean((logits[0].argmax(-1) == label).astype(logits.dtype))
    return value, ({**state, "net": stats}, {"cluster_accuracy": accuracy, "h_std": losses.feature_std(h[0])})

  def epoch(params, state, rng, features):
    r_means, r_head = jax.random.split(rng)
    x = kmeans.whitened(features, min(pca, features.shape[1], len(features)))
    labels = kmeans.kmeans(r_means, x, clusters=clusters, iterations=iterations)[1]
    return ({**params, "classifier": base.init(classifier, r_head, features)[0]}, {**state, "labels": labels},
            ("classifier",))

  encode = lambda params, state: {"image": {"params": params["net"], **state["net"]}}
  return base.Method(init, embedding.augmented(aug, ("image", "index"), number=1), loss, encode,
                     reads=("image", "index"), epoch=epoch, show=lambda params, state, views: embedding.shown(views))
