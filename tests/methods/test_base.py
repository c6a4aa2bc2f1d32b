"""The pieces that methods share: views, pairs, queues, targets, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import IMAGES, Linear, several

from sslx import heads, losses
from sslx.methods import base, byol, simclr

RNG = np.random.default_rng(0)


def test_views_are_encoded_one_size_at_a_time():
  net = base.Network(Linear(), heads.MLP((2,)))
  params, stats = base.init(net, jax.random.key(0), IMAGES)
  views = several(jax.random.key(1), IMAGES)
  z, _ = base.encode(net, params, stats, views)
  assert z.shape == (5, 4, 2)
  for v in range(5):
    image = views[0][:, v] if v < 2 else views[1][:, v - 2]
    np.testing.assert_allclose(z[v], net.apply({"params": params}, image), rtol=1e-5)


def test_pairs_have_a_large_view():
  assert base.pairs(2) == [(0, 1)]
  assert base.pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]


def test_any_method_takes_multi_crop():
  encoder = Linear()
  method = simclr.make(encoder, widths=(3, 2), temperature=0.3, aug=several)
  params, state = method.init(jax.random.key(0), {"image": IMAGES})
  views = method.views(jax.random.key(1), {"image": IMAGES})
  value, _ = method.loss(params, state, views, jax.random.key(2), 0.0)
  z, _ = base.encode(base.Network(encoder, heads.MLP((3, 2))), params["net"], state["net"], views["image"])
  terms = [losses.ntxent(z[i], z[j], temperature=0.3) for i, j in base.pairs(5)]
  np.testing.assert_allclose(value, np.mean(terms), rtol=1e-6)


def test_queue_and_neighbours():
  queue = RNG.normal(size=(5, 3)).astype(np.float32)
  new = RNG.normal(size=(2, 3)).astype(np.float32)
  assert np.array_equal(base.push(queue, new), np.concatenate([new, queue[:3]]))
  cosine = new @ queue.T / np.linalg.norm(new, axis=1)[:, None] / np.linalg.norm(queue, axis=1)
  want = queue[np.argsort(-cosine, 1)[:, :2]]
  assert np.array_equal(base.neighbours(new, jnp.asarray(queue), 2), want)
  np.testing.assert_allclose(np.linalg.norm(base.new_queue(jax.random.key(0), 4, 3), axis=1), 1, rtol=1e-6)


def test_found_counts_ranks():
  query, positive, others = (RNG.normal(size=(n, 2)).astype(np.float32) for n in (6, 6, 9))
  negatives = np.concatenate([query, positive, others])
  unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
  cosine = unit(query) @ unit(negatives).T
  ranks = [sum(cosine[i, k] > cosine[i, 6 + i] for k in range(21) if k not in (i, 6 + i)) for i in range(6)]
  assert len(set(ranks)) > 2
  found = base.found(query, positive, negatives, itself=jnp.arange(6))
  for n in (1, 5):
    assert found[f"top{n}"] == pytest.approx(np.mean([r < n for r in ranks]))


def test_target_follows_and_passes_no_gradient():
  net = base.Network(Linear(), heads.MLP((2,)))
  params, stats = base.init(net, jax.random.key(0), IMAGES)
  old = base.target(*base.init(net, jax.random.key(1), IMAGES))
  views = (jnp.asarray(IMAGES)[:, None],)
  z, new = base.follow(net, old, params, views, 0.9)
  want = jax.tree.map(lambda o, p: 0.9 * o + 0.1 * p, old["params"], params)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), new["params"], want)
  np.testing.assert_allclose(z[0], net.apply({"params": want}, IMAGES), rtol=1e-5)
  gradient = jax.grad(lambda p: base.follow(net, old, p, views, 0.9)[0].sum())(params)
  assert not any(np.any(g) for g in jax.tree.leaves(gradient))


def test_schedules_at_their_ends():
  np.testing.assert_allclose([base.cosine(0.9, 1.0, p) for p in (0.0, 0.5, 1.0)], [0.9, 0.95, 1.0], rtol=1e-6)
  np.testing.assert_allclose([base.climb(0.0, 1.0, p, 0.5) for p in (0.0, 0.25, 0.5, 0.9)], [0, 0.5, 1, 1])
  assert base.climb(0.0, 1.0, 0.0, 0.0) == 1


def test_byol_by_hand():
  """Two views, each predicted from the other: the mean squared distance of unit vectors, both ways."""
  encoder = Linear()
  method = byol.make(encoder, momentum=1.0, widths=(16, 3), predictor=(16, 3), aug=several)
  params, state = method.init(jax.random.key(0), {"image": IMAGES})
  views = {"image": several(jax.random.key(1), IMAGES)[:1]}
  value, (after, _) = method.loss(params, state, views, jax.random.key(2), 0.0)
  net, head = base.Network(encoder, heads.MLP((16, 3), norm=True)), heads.MLP((16, 3), norm=True)
  z, _ = base.encode(net, params["net"], state["net"], views["image"])
  p, _ = base.predict(head, params["predictor"], state["predictor"], z)
  unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
  p, z = unit(np.asarray(p)), unit(np.asarray(z))                    # the target is the network itself at the start
  want = np.mean([np.sum((p[s] - z[1 - s]) ** 2, -1).mean() for s in (0, 1)])
  np.testing.assert_allclose(value, want, rtol=1e-4)
  jax.tree.map(np.testing.assert_array_equal, after["target"]["params"], state["target"]["params"])
