"""Value and gradient of every loss against NumPy, in both float types, and what is left of both at the limits."""

import jax
import jax.numpy as jnp
import losses_numpy as reference
import numpy as np
import pytest

from sslx import losses

RNG = np.random.default_rng(0)
X = RNG.normal(0, 1, (3, 6, 4))                            # up to three arrays [B, D] a loss
LABELS = np.array([0, 1, 0, 2, 1, 0])                      # one row has no positive
COUNTS = np.bincount(LABELS)
QUEUE = RNG.normal(0, 1, (5, 4))
SHARES = RNG.dirichlet(np.ones(4), (2, 6))                 # what a teacher says, balanced already
WEIGHT = np.array([0.0, 1, 2, 1, 0, 10])
KEY = jax.random.key(3)


def directions(z):
  """The projections that sigreg draws."""
  return jax.random.normal(KEY, (7, z.shape[1]), float)


# name: (the loss of x [3, B, D] and traced hyperparameters h, the same in NumPy, h)
CASES = {
  "pair": (lambda x, h: losses.pair(x[0], x[1], LABELS == 0, margin=h[0]),
           lambda x, h: reference.pair(x[0], x[1], LABELS == 0, h[0]), [2.5]),
  "triplet": (lambda x, h: losses.triplet(*x, margin=h[0]), lambda x, h: reference.triplet(*x, h[0]), [0.7]),
  "triplet_hard": (lambda x, h: losses.triplet_hard(x[0], LABELS, margin=h[0]),
                   lambda x, h: reference.triplet_hard(x[0], LABELS, h[0]), [0.7]),
  "triplet_semihard": (lambda x, h: losses.triplet_semihard(x[0], LABELS, margin=h[0]),
                       lambda x, h: reference.triplet_semihard(x[0], LABELS, h[0]), [0.7]),
  "info_nce": (lambda x, h: losses.info_nce(*x[:, :5], temperature=h[0]),
               lambda x, h: reference.info_nce(*x[:, :5], h[0]), [0.2]),
  "info_nce, in the batch": (lambda x, h: losses.info_nce(x[0], x[1], temperature=h[0]),
                             lambda x, h: reference.info_nce_in_batch(x[0], x[1], h[0]), [0.2]),
  "ntxent": (lambda x, h: losses.ntxent(x[0], x[1], temperature=h[0]),
             lambda x, h: reference.ntxent(x[0], x[1], h[0]), [0.5]),
  "dcl": (lambda x, h: losses.dcl(x[0], x[1], temperature=h[0]),
          lambda x, h: reference.dcl(x[0], x[1], h[0]), [0.3]),
  "supcon": (lambda x, h: losses.supcon(x[0], LABELS, temperature=h[0]),
             lambda x, h: reference.supcon(x[0], LABELS, h[0]), [0.4]),
  "clip": (lambda x, h: losses.clip(x[0], x[1], scale=h[0]), lambda x, h: reference.clip(x[0], x[1], h[0]), [7.0]),
  "cola": (lambda x, h: losses.cola(x[0], x[1]), lambda x, h: reference.cola(x[0], x[1]), []),
  "siglip": (lambda x, h: losses.siglip(x[0], x[1], scale=h[0], bias=h[1]),
             lambda x, h: reference.siglip(x[0], x[1], *h), [10.0, -3.0]),
  "negative_cosine": (lambda x, h: losses.negative_cosine(x[0], x[1]),
                      lambda x, h: reference.negative_cosine(x[0], x[1]), []),
  "barlow_twins": (lambda x, h: losses.barlow_twins(x[0], x[1], lambd=h[0]),
                   lambda x, h: reference.barlow_twins(x[0], x[1], h[0]), [0.1]),
  "vicreg": (lambda x, h: losses.vicreg(x[0], x[1], sim=h[0], var=h[1], cov=h[2]),
             lambda x, h: reference.vicreg(x[0], x[1], *h), [3.0, 2.0, 1.5]),
  "vibcreg": (lambda x, h: losses.vibcreg(x[0], x[1], sim=h[0], var=h[1], cov=h[2]),
              lambda x, h: reference.vibcreg(x[0], x[1], *h), [3.0, 2.0, 1.5]),
  "wmse": (lambda x, h: losses.wmse(x[0], x[1], eps=h[0]), lambda x, h: reference.wmse(x[0], x[1], h[0]), [0.01]),
  "swav": (lambda x, h: losses.swav(x, queue_scores=QUEUE, temperature=h[0]),
           lambda x, h: reference.swav(x, QUEUE, temperature=h[0], targets=X), [0.3]),
  "dino": (lambda x, h: losses.dino(x, X[1:] * 0.1, X[0, 0], student_temp=h[0]),
           lambda x, h: reference.dino(x, X[1:] * 0.1, X[0, 0], h[0]), [0.5]),
  "dino, distributions": (lambda x, h: losses.dino(x, SHARES, None, student_temp=h[0]),
                          lambda x, h: reference.dino(x, np.log(SHARES), 0, h[0], 1.0), [0.5]),
  "ibot": (lambda x, h: losses.ibot(x[0], X[1] * 0.1, X[0, 0], 1 / COUNTS[LABELS], student_temp=h[0]),
           lambda x, h: reference.ibot(x[0], X[1] * 0.1, X[0, 0], LABELS.tolist(), h[0]), [0.5]),
  "ressl": (lambda x, h: losses.ressl(x[0], X[1], QUEUE, student_temp=h[0]),
            lambda x, h: reference.ressl(x[0], X[1], QUEUE, h[0]), [0.2]),
  "scale_invariant": (lambda x, h: losses.scale_invariant(x[0], x[1], SHARES[0], share=h[0]),
                      lambda x, h: reference.scale_invariant(x[0], x[1], SHARES[0], h[0]), [0.7]),
  "weighted_l2": (lambda x, h: losses.weighted_l2(x[0], x[1], WEIGHT),
                  lambda x, h: reference.weighted_l2(x[0], x[1], WEIGHT), []),
  "weighted_l1": (lambda x, h: losses.weighted_l1(x[0], x[1], WEIGHT),
                  lambda x, h: reference.weighted_l1(x[0], x[1], WEIGHT), []),
  "smooth_l1": (lambda x, h: losses.smooth_l1(x[0], x[1], WEIGHT, beta=h[0]),
                lambda x, h: reference.smooth_l1(x[0], x[1], WEIGHT, h[0]), [0.8]),
  "cross_entropy": (lambda x, h: losses.cross_entropy(x[0] * h[0], LABELS, WEIGHT),
                    lambda x, h: reference.cross_entropy(x[0] * h[0], LABELS, WEIGHT), [1.5]),
  "gan_critic": (lambda x, h: losses.gan_critic(x[0], x[1]), lambda x, h: reference.gan_critic(x[0], x[1]), []),
  "gan_generator": (lambda x, h: losses.gan_generator(x[0]), lambda x, h: reference.gan_generator(x[0]), []),
  "koleo": (lambda x, h: losses.koleo(x[0]), lambda x, h: reference.koleo(x[0]), []),
  "sigreg": (lambda x, h: losses.sigreg(KEY, x[0], slices=7),
             lambda x, h: reference.sigreg(x[0], np.asarray(directions(x[0]), float)), []),
}
QUICK = {"xla_cpu_use_fusion_emitters": False}             # a third of the time to compile
OURS = {name: jax.jit(jax.value_and_grad(ours, (0, 1)), compiler_options=QUICK) for name, (ours, _, _) in CASES.items()}
NO_LOSS = {"alignment", "alpha_req", "effective_rank", "feature_std", "psnr", "sinkhorn", "ssim", "uniformity", "unit",
           "whiten"}                                       # measures, and parts of losses


def test_every_loss_is_here():
  assert {name.partition(",")[0] for name in CASES} == set(losses.__all__) - NO_LOSS


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
  _, numpy, h = CASES[name]
  h = np.array(h, float)
  with jax.enable_x64(True):
    want = numpy(X, h)
    gradients = reference.gradient(lambda x: numpy(x, h), X), reference.gradient(lambda h: numpy(X, h), h)
    value, (dx, dh) = OURS[name](X, h)
    assert value.dtype == dx.dtype == dh.dtype == jnp.float64
    assert value.shape == ()
    np.testing.assert_allclose(value, want, rtol=1e-10)
    np.testing.assert_allclose(dx, gradients[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(dh, gradients[1], rtol=1e-6, atol=1e-7)


def in32(z):
  return z.astype(np.float32)


def changed(z, row, value):
  z = z.copy()
  z[row] = value
  return z


DEGENERATE = {"zero_row": changed(X, (slice(None), 1), 0), "zeros": 0 * X, "ones": 0 * X + 1,
              "collapse": 0 * X + X[0, 0], "identical_views": np.stack([X[0]] * 3), "huge": X * 1e4, "tiny": X * 1e-6}


@pytest.mark.parametrize("name", CASES)
def test_float32_and_limits(name):
  _, numpy, h = CASES[name]
  value, (dx, dh) = OURS[name](in32(X), np.array(h, np.float32))
  assert value.dtype == dx.dtype == dh.dtype == jnp.float32
  np.testing.assert_allclose(value, numpy(in32(X).astype(float), h), rtol=1e-4)
  for limit, x in DEGENERATE.items():
    value, gradients = OURS[name](in32(x), np.array(h, np.float32))
    assert np.isfinite(value), limit
    assert all(np.isfinite(g).all() for g in gradients), limit
    if limit == "zero_row" and name != "swav":              # the reference holds its targets fixed
      np.testing.assert_allclose(value, numpy(in32(x).astype(float), h), rtol=1e-4, atol=1e-6)


def float_types(jaxpr):
  """The float types that anything in a jaxpr is computed in, by primitive."""
  inner = lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")
  for eqn in jaxpr.eqns:
    for value in filter(inner, jax.tree.leaves(list(eqn.params.values()), is_leaf=inner)):
      yield from float_types(getattr(value, "jaxpr", value))
    for out in eqn.outvars:
      if jnp.issubdtype(getattr(out.aval, "dtype", int), jnp.floating):
        yield str(eqn.primitive), out.aval.dtype.name


@pytest.mark.parametrize("name", CASES)
def test_arithmetic_is_wide(name):
  """bfloat16 is raised to float32 at once, float64 stays float64 in every intermediate."""
  ours, _, h = CASES[name]
  seen = set(float_types(jax.make_jaxpr(ours)(jnp.asarray(X, jnp.bfloat16), np.array(h, np.float32)).jaxpr))
  assert {t for p, t in seen if p not in ("slice", "squeeze", "gather", "dynamic_slice")} == {"float32"}
  with jax.enable_x64(True):
    seen = set(float_types(jax.make_jaxpr(ours)(X, np.array(h)).jaxpr))
    assert {t for _, t in seen} == {"float64"}
