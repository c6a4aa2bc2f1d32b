"""DeepCluster, DeepCluster-v2, SwAV and DINO: k-means, what happens between epochs, balance, queues and centers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.cluster import KMeans
from small import IMAGES, Linear, several

from sslx import data, encoders, epochs, mesh, train
from sslx.config import default
from sslx.methods import deepcluster, deepcluster_v2, dino, kmeans, masked, swav

RNG = np.random.default_rng(0)
BLOBS = np.concatenate([RNG.normal(c, 0.1, (20, 2)) for c in ((0, 0), (4, 0), (0, 4))]).astype(np.float32)
one = lambda key, image: jnp.asarray(image, float)


def test_kmeans_finds_what_sklearn_finds():
  centroids, labels = kmeans.kmeans(jax.random.key(1), BLOBS, clusters=3)
  want = KMeans(3, n_init=5, random_state=0).fit(BLOBS)
  inertia = np.sum((BLOBS - np.asarray(centroids)[labels]) ** 2)
  np.testing.assert_allclose(inertia, want.inertia_, rtol=1e-4)
  np.testing.assert_array_equal(labels, [np.argmin(((b - centroids) ** 2).sum(1)) for b in BLOBS])


def test_kmeans_fills_empty_clusters():
  same = np.repeat(BLOBS[:1], 30, 0)                                 # all but one centroid lose their rows ...
  x = np.concatenate([same, BLOBS[20:]])
  for seed in range(3):
    labels = np.asarray(kmeans.kmeans(jax.random.key(seed), x, clusters=4, iterations=30)[1])
    assert len(np.unique(labels)) >= 3                               # ... and start anew where there are rows


def test_spherical_centroids_and_whitening():
  x = RNG.normal(size=(50, 6)).astype(np.float32) * [5, 3, 1, 1, 1, 1] + 2
  centroids, _ = kmeans.kmeans(jax.random.key(0), x / np.linalg.norm(x, axis=1, keepdims=True), clusters=4,
                               spherical=True)
  np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-5)
  white = np.asarray(kmeans.whitened(jnp.asarray(x, jnp.float32), 3))
  assert white.shape == (50, 3)
  np.testing.assert_allclose(np.linalg.norm(white, axis=1), 1, rtol=1e-5)
  _, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
  want = (x - x.mean(0)) @ v[:3].T / (s[:3] / np.sqrt(50))
  want /= np.linalg.norm(want, axis=1, keepdims=True)
  np.testing.assert_allclose(np.abs(white), np.abs(want), atol=1e-3)


def test_deepcluster_weighs_by_inverse_cluster_size():
  method = deepcluster.make(Linear(), num_examples=6, clusters=3, pca=2, aug=one)
  batch = {"image": IMAGES, "index": np.array([0, 1, 2, 5], np.int32)}
  params, state = method.init(jax.random.key(0), batch)
  state["labels"] = jnp.array([0, 0, 0, 0, 1, 2], jnp.int32)
  value, _ = method.loss(params, state, method.views(jax.random.key(1), batch), jax.random.key(2), 0.0)
  h = np.asarray(Linear().apply({"params": params["net"]}, IMAGES))
  dense = params["classifier"]["dense1"]
  logits = h @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
  each = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), [0, 0, 0, 2]]
  weight = np.array([1 / 4, 1 / 4, 1 / 4, 1])
  np.testing.assert_allclose(value, np.sum(weight * each) / weight.sum(), rtol=1e-5)


def test_between_epochs_only_the_new_groups_start_anew():
  source = data.from_array("four", np.repeat(IMAGES, 4, 0))
  module = Linear()
  c = default().unlock()
  c.batch_size = 4
  for name, make in (("deepcluster", deepcluster.make), ("deepcluster_v2", deepcluster_v2.make)):
    options = {"clusters": 3, "pca": 2} if name == "deepcluster" else {"prototypes": (3, 2), "widths": (4, 2)}
    method, tx = make(module, num_examples=16, aug=one, **options), optax.adam(0.1)
    batch = {k: v for k, v in source.batch(np.arange(4)).items() if k in method.reads}
    state = train.init_state(method, tx, jax.random.key(0), batch)
    step = train.make_step(method, tx, 4)
    state, _ = step(state, jax.random.key(1), batch)
    out = []
    for devices in (1, 2):
      c.mesh.data = devices
      where = mesh.shardings(state, mesh.make_mesh(c))
      out.append(epochs.between(method, tx, module, source, state, jax.random.key(1), where))
    after, again = out
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after, again)
    labels = after.state["labels"] if name == "deepcluster" else after.state["labels"][0]
    assert len(np.unique(labels)) > 1 and np.array_equal(labels[:4], np.repeat(labels[:1], 4))   # alike, so together
    mu = after.opt[0].mu
    np.testing.assert_array_equal(mu["net"]["Dense_0"]["kernel"] if name == "deepcluster"
                                  else mu["net"]["encoder"]["Dense_0"]["kernel"],
                                  (state.opt[0].mu["net"] if name == "deepcluster"
                                   else state.opt[0].mu["net"]["encoder"])["Dense_0"]["kernel"])
    if name == "deepcluster":
      assert not any(np.any(m) for m in jax.tree.leaves(mu["classifier"]))
      assert not np.array_equal(after.params["classifier"]["dense1"]["kernel"],
                                state.params["classifier"]["dense1"]["kernel"])


def test_dino_center_freeze_and_teacher():
  method = dino.make(Linear(), prototypes=7, momentum=0.9, freeze=0.5, widths=(4, 3), center=0.8, aug=several)
  params, state = method.init(jax.random.key(0), {"image": IMAGES})
  views = method.views(jax.random.key(1), {"image": IMAGES})
  grads = jax.jit(jax.grad(method.loss, has_aux=True))
  early, (after, _) = grads(params, state, views, jax.random.key(2), 0.0)
  late, _ = grads(params, state, views, jax.random.key(2), 0.6)
  last = lambda g: g["net"]["head"]["heads_1"]["prototypes"]
  assert not np.any(last(early)) and np.any(last(late))
  assert np.any(early["net"]["encoder"]["Dense_0"]["kernel"])
  assert np.any(after["center"]) and after["center"].shape == (7,)
  changed = jax.tree.map(lambda p: p + 1, params)
  kept = method.encoder(changed, state)["image"]["params"]           # the teacher, not the student
  jax.tree.map(np.testing.assert_array_equal, kept, state["target"]["params"]["encoder"])


def test_dino_shows_where_its_class_token_looks():
  """Nowhere brighter than the view, and dimmer somewhere; nothing of the kind without a class token."""
  images = {"image": np.random.default_rng(0).uniform(0.5, 1, (4, 8, 8, 1)).astype(np.float32)}
  method = dino.make(encoders.make("vit_ti", patch=2, width=8, depth=1, heads=2), prototypes=5, widths=(4, 3), aug=one)
  params, state = jax.jit(method.init)(jax.random.key(0), images)
  shown = method.show(params, state, method.views(jax.random.key(1), images))
  share = np.asarray(shown["attention"] / shown["view 1"])
  assert share.shape == (4, 8, 8, 1) and share.max() <= 1.0001 and np.all(share.min((1, 2, 3)) < 0.99)
  assert masked.attention(encoders.make("vit_ti", pool="mean"), {}, images["image"]) == {}


def test_swav_queue_joins_when_it_is_time():
  method = swav.make(Linear(), prototypes=5, queue=6, queue_start=0.5, freeze=0.1, widths=(16, 3), aug=several)
  params, state = method.init(jax.random.key(0), {"image": IMAGES})
  assert state["queue"].shape == (2, 6, 3)
  views = method.views(jax.random.key(1), {"image": IMAGES})
  loss = jax.jit(method.loss)
  value, (after, _) = loss(params, state, views, jax.random.key(2), 0.2)
  other = {**state, "queue": state["queue"][:, ::-1] * jnp.array([1, -1, 1])}
  assert loss(params, other, views, jax.random.key(2), 0.2)[0] == value
  assert loss(params, other, views, jax.random.key(2), 0.7)[0] != loss(params, state, views, jax.random.key(2), 0.7)[0]
  np.testing.assert_array_equal(after["queue"][:, 4:], state["queue"][:, :2])
  np.testing.assert_allclose(np.linalg.norm(after["queue"], axis=-1), 1, rtol=1e-5)
