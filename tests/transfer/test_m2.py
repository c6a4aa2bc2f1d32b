"""M2: the bounds and the whole objective against NumPy and SciPy, and labels that the unlabelled ones help."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import norm
from sklearn.datasets import load_digits

from sslx import errors
from sslx.evaluate import linear
from sslx.transfer import m2

K, D, Z, B, M = 3, 5, 2, 4, 6


def dense(p, x):
  """A hidden layer and an output, from the parameters."""
  h = np.maximum(x @ p["dense1"]["kernel"] + p["dense1"]["bias"], 0)
  return h @ p["dense2"]["kernel"] + p["dense2"]["bias"]


def minus_l(p, x, y, noise):
  """Equation 6 as it is written, but for its divergence, which is that of two Gaussians (Kingma & Welling, 2013)."""
  mean, log_var = np.split(dense(p["infer"], np.concatenate([x, y], 1)), 2, 1)
  z = mean + np.sqrt(np.exp(log_var)) * noise
  made = dense(p["make"], np.concatenate([z, y], 1))
  divergence = -0.5 * np.sum(1 + log_var - mean ** 2 - np.exp(log_var), 1)
  return norm.logpdf(x, made, np.exp(p["spread"] / 2)).sum(1) + np.log(1 / K) - divergence


def test_the_objective_against_numpy():
  rng = np.random.default_rng(0)
  known, free, label = rng.normal(size=(B, D)), rng.normal(size=(M, D)), rng.integers(0, K, B)
  net, key = m2.Network(K, D, Z, 7), jax.random.key(3)
  eye = np.eye(K)
  params = net.init(jax.random.key(0), known, eye[label], np.zeros((B, Z)), method=m2.whole)
  params = jax.tree.map(lambda v: jnp.asarray(rng.normal(0, 0.4, v.shape), v.dtype), params)
  found = m2.objective(net, params, jnp.asarray(known), jnp.asarray(label), jnp.asarray(free), key, 0.4, 0.7)
  p = jax.tree.map(lambda v: np.asarray(v, np.float64), params["params"])
  noise = [np.asarray(jax.random.normal(k, (n, Z))) for k, n in zip(jax.random.split(key), (B, M), strict=True)]
  labelled = minus_l(p, known, eye[label], noise[0])
  log_q = log_softmax(dense(p["guess"], free), 1)
  minus_u = sum(np.exp(log_q[:, k]) * (minus_l(p, free, np.tile(eye[k], (M, 1)), noise[1]) - log_q[:, k])
                for k in range(K))                                                              # equation 7
  error = -log_softmax(dense(p["guess"], known), 1)[np.arange(B), label]
  np.testing.assert_allclose(found, -0.4 * labelled.mean() - 0.6 * minus_u.mean() + 0.7 * error.mean(), rtol=1e-5)


def test_the_bound_is_below_what_it_bounds():
  rng = np.random.default_rng(1)                             # x = z + noise: log p(x) is known
  x, half = rng.normal(0, 2 ** 0.5, (2000, 1)), np.full((2000, 1), np.log(0.5))
  z = x / 2 + 0.5 ** 0.5 * rng.normal(size=x.shape)          # from the true posterior, whose bound is tight
  tight = m2.bound(x, z, np.zeros(1), x / 2, half, 1).mean()
  loose = m2.bound(x, rng.normal(size=x.shape), np.zeros(1), 0 * x, 0 * x, 1).mean()
  truth = norm.logpdf(x, 0, 2 ** 0.5).mean()
  assert abs(tight - truth) < 0.05 and loose < truth - 0.3
  logits, bounds = rng.normal(size=(2, 50, 3))
  assert np.all(m2.unlabelled(logits, bounds) <= np.log(np.exp(bounds).sum(1)) + 1e-5)          # Jensen, over classes
  np.testing.assert_allclose(m2.unlabelled(bounds, bounds), np.log(np.exp(bounds).sum(1)), rtol=1e-5)


def test_it_learns_from_what_has_no_label():
  x, y = load_digits(return_X_y=True)
  order = np.random.default_rng(0).permutation(len(x))
  x, y = x[order], y[order]
  known = np.concatenate([np.flatnonzero(y[:1400] == c)[:5] for c in range(10)])
  labels = np.full(1400, -1)
  labels[known] = y[known]
  guess = m2.fit(x[:1400], labels, latent=8, width=64, steps=400, batch=50, lr=3e-3)(x[1400:])
  assert guess.shape == (397, 10) and np.allclose(guess.sum(1), 1, atol=1e-5)
  alone = linear(x[known], y[known], x[1400:], y[1400:])["accuracy"]
  assert np.mean(guess.argmax(1) == y[1400:]) > alone + 0.05


@pytest.mark.parametrize("labels", [[0, 1, 2, 1], [-1, 0, 2, 2], [-1, -1, -1, -1], [-1, 0, 1]])
def test_labels_that_cannot_be(labels):
  with pytest.raises(errors.UsageError, match="-1 where there is none"):
    m2.fit(np.zeros((4, 2)), labels)
