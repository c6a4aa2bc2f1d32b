"""The other losses at their limits: what is best, what is undefined, what the words of their docstrings promise."""

import jax
import jax.numpy as jnp
import losses_numpy as reference
import numpy as np
import pytest

from sslx import losses

QUICK = {"xla_cpu_use_fusion_emitters": False}             # a third of the time to compile
RNG = np.random.default_rng(0)
X = RNG.normal(0, 1, (3, 8, 4)).astype(np.float32)


def run(f, *args):
  return jax.jit(f, compiler_options=QUICK)(*args)


def test_pairs_and_triplets():
  same = jnp.arange(8) % 2                                                                 # integers will do
  assert run(lambda x: losses.pair(x, x, same, margin=0.0), X[0]) == 0
  np.testing.assert_allclose(run(lambda x: losses.pair(x, x, same), X[0]), 1 / 4)          # half are others, at 0
  np.testing.assert_allclose(run(lambda x: losses.triplet(x, x, x, margin=0.3), X[0]), 0.3, rtol=1e-6)


@pytest.mark.parametrize("mined", [losses.triplet_hard, losses.triplet_semihard])
def test_mining_without_triplets(mined):
  both = lambda x: mined(x, jnp.zeros(8, int)) + mined(x, jnp.arange(8))
  value, gradient = run(jax.value_and_grad(both), X[0])
  assert value == 0 and not gradient.any()
  with pytest.raises(ValueError, match="at least three"):
    mined(X[0, :2], jnp.arange(2))


def test_semihard_takes_the_furthest_where_none_is_further():
  z = jnp.array([[0.0], [5], [1], [2]])                                                    # 0 and 5 belong together
  labels = jnp.array([0, 0, 1, 2])
  for mined, want in ((losses.triplet_semihard, [5 - 2 + 1, 5 - 4 + 1]), (losses.triplet_hard, [5 - 1 + 1, 5 - 3 + 1])):
    np.testing.assert_allclose(run(mined, z, labels), np.mean(want), rtol=1e-5)


def test_whitened_views_are_best():
  z = run(lambda z: losses.whiten(z, eps=0), X[0])
  np.testing.assert_allclose(np.cov(z.T), np.eye(4), atol=1e-5)
  np.testing.assert_allclose(run(losses.barlow_twins, z, z), 0, atol=1e-8)
  np.testing.assert_allclose(run(losses.vicreg, z, z), 0, atol=1e-8)
  np.testing.assert_allclose(run(losses.vibcreg, z, z), 0, atol=1e-8)
  np.testing.assert_allclose(run(losses.wmse, z, z), 0, atol=1e-8)


def test_vicreg_at_collapse():
  value = run(losses.vicreg, jnp.ones((8, 4)), jnp.zeros((8, 4)))
  np.testing.assert_allclose(value, 25 + 25 * 0.99, rtol=1e-6)                          # std is 0.01, by eps


@pytest.mark.parametrize("f", [losses.barlow_twins, losses.vicreg, losses.vibcreg])
def test_statistics_need_two_examples(f):
  with pytest.raises(ValueError, match="at least two"):
    f(X[0, :1], X[1, :1])


def test_whitening_needs_rows():
  with pytest.raises(ValueError, match="4 dimensions needs more than as many rows, not 4"):
    losses.wmse(X[0, :4], X[1, :4])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_sinkhorn_is_balanced(scale):
  q = run(lambda s: losses.sinkhorn(s * scale, iterations=3), X[0])
  np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)
  assert np.isfinite(q).all()
  q = run(lambda s: losses.sinkhorn(s, epsilon=1.0, iterations=50), X[0])
  np.testing.assert_allclose(q.sum(0), 2, rtol=1e-4)                                       # 8 rows to 4 prototypes
  np.testing.assert_allclose(run(losses.sinkhorn, X[0]), reference.sinkhorn(X[0].astype(float)), rtol=1e-3, atol=1e-6)


def test_swav_queue():
  """It changes the assignments and nothing else, be it one for all large views or one each."""
  plain, joined, each = (run(lambda x, q=q: losses.swav(x, queue_scores=q), X) for q in (None, X[0], X[[0, 0]]))
  assert plain != joined and joined == each
  gradient = run(jax.grad(lambda q: losses.swav(X, queue_scores=q)), X[0])
  assert not gradient.any()
  np.testing.assert_allclose(plain, reference.swav(X.astype(float)), rtol=1e-4)


def test_swav_and_dino_need_views():
  for f in (lambda: losses.swav(X[:1]), lambda: losses.swav(X, large=4), lambda: losses.dino(X[:1], X[:1], X[0, 0])):
    with pytest.raises(ValueError, match="at least two views"):
      f()
  with pytest.raises(ValueError, match="at least one iteration"):
    losses.sinkhorn(X[0], iterations=0)


def test_teachers_have_no_gradient():
  gradients = run(jax.grad(lambda t, c: losses.dino(X, t, c), (0, 1)), X[:2], X[0, 0])
  gradients += run(jax.grad(lambda t, c: losses.ibot(X[0], t, c, jnp.ones(8)), (0, 1)), X[1], X[0, 0])
  gradients += run(jax.grad(lambda t, q: losses.ressl(X[0], t, q), (0, 1)), X[1], X[2])
  assert not any(g.any() for g in gradients)
  assert run(jax.grad(lambda s: losses.dino(s, X[:2], X[0, 0])), X).any()


def test_dino_of_uniform_student():
  value = run(lambda t: losses.dino(jnp.zeros((3, 8, 4)), t, jnp.zeros(4), teacher_temp=1e-3), X[:2])
  np.testing.assert_allclose(value, np.log(4), rtol=1e-6)


def test_ressl_and_koleo_refuse():
  with pytest.raises(ValueError, match="the queue is empty"):
    losses.ressl(X[0], X[1], X[2, :0])
  with pytest.raises(ValueError, match="at least two"):
    losses.koleo(X[0, :1])


def test_negative_cosine_is_at_most_one():
  np.testing.assert_allclose(run(lambda x: losses.negative_cosine(x, 3 * x), X[0]), -1, rtol=1e-6)


def test_koleo_is_lowest_where_neighbours_are_far():
  corners = jnp.concatenate([jnp.eye(4), -jnp.eye(4)])
  np.testing.assert_allclose(run(losses.koleo, corners), -np.log(np.sqrt(2)), rtol=1e-5)
  assert run(losses.koleo, X[0]) > -np.log(np.sqrt(2))


def test_sigreg_tells_a_gaussian():
  f = lambda z: losses.sigreg(jax.random.key(0), z, slices=64)
  gauss = jax.random.normal(jax.random.key(1), (2000, 4))
  low = run(f, gauss)
  for other in (2 * gauss, gauss + 1, 0 * gauss, jnp.tile(gauss[:, :1], (1, 4))):
    assert run(f, other) > 20 * low
