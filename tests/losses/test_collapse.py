"""Every number against an independent NumPy version in float64, and at its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.losses import collapse


def unit(z):
  length = np.linalg.norm(z, axis=1, keepdims=True)
  return np.divide(z, length, out=np.zeros_like(z), where=length > 0)


def np_feature_std(z):
  return unit(z).std(0).mean() * np.sqrt(z.shape[1])


def np_effective_rank(z):
  s = np.linalg.svd(z, compute_uv=False)
  p = s / s.sum() + 1e-7
  return np.exp(-(p * np.log(p)).sum())


def np_alpha_req(z, first=1, last=None):
  e = np.linalg.eigvalsh(np.cov(z.T))[::-1][first - 1:last or min(len(z) - 1, z.shape[1])]
  j = np.arange(first, first + len(e))
  return -np.polyfit(np.log(j), np.log(e), 1, w=1 / np.sqrt(j))[0]


def np_alignment(x, y, alpha=2):
  return np.mean(np.linalg.norm(unit(x) - unit(y), axis=1) ** alpha)


def np_uniformity(x, t=2):
  x = unit(x)
  d = [np.sum((x[i] - x[j]) ** 2) for i in range(len(x)) for j in range(len(x)) if i != j]
  return np.log(np.mean(np.exp(-t * np.array(d))))


RNG = np.random.default_rng(0)
Z = RNG.standard_normal((70, 12)) * np.arange(1, 13) ** -0.7 + 0.3
ZERO = np.where(np.arange(70)[:, None] == 5, 0, Z)         # one row of zeros
CASES = {
  "feature_std": (collapse.feature_std, np_feature_std), "effective_rank": (collapse.effective_rank, np_effective_rank),
  "alpha_req": (collapse.alpha_req, np_alpha_req),
  "alpha_req_range": (lambda z: collapse.alpha_req(z, first=3, last=9), lambda z: np_alpha_req(z, 3, 9)),
  "alignment": (lambda z: collapse.alignment(z[:35], z[35:]), lambda z: np_alignment(z[:35], z[35:])),
  "alignment_1": (lambda z: collapse.alignment(z[:35], z[35:], alpha=1), lambda z: np_alignment(z[:35], z[35:], 1)),
  "uniformity": (collapse.uniformity, np_uniformity),
  "uniformity_5": (lambda z: collapse.uniformity(z, t=5), lambda z: np_uniformity(z, 5)),
}
QUICK = {"xla_cpu_use_fusion_emitters": False}             # a third of the time to compile
PLAIN = {name: ours for name, (ours, _) in CASES.items()}
CASES = {name: (jax.jit(ours, compiler_options=QUICK), reference) for name, (ours, reference) in CASES.items()}


@pytest.mark.parametrize("z", [Z, ZERO], ids=["plain", "zero_row"])
@pytest.mark.parametrize("name", CASES)
def test_golden(name, z):
  ours, reference = CASES[name]
  np.testing.assert_allclose(ours(jnp.asarray(z, jnp.float32)), reference(z), rtol=2e-4)
  half = jnp.asarray(z, jnp.bfloat16)
  value = ours(half)
  assert value.dtype == jnp.float32 and value.shape == ()
  np.testing.assert_allclose(value, reference(np.asarray(half, np.float64)), rtol=2e-4)
  with jax.enable_x64(True):
    value = ours(jnp.asarray(z, jnp.float64))
    assert value.dtype == jnp.float64
    np.testing.assert_allclose(value, reference(z), rtol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_no_nan_at_collapse(name):
  for z in (np.zeros((70, 12)), np.ones((70, 12)), np.eye(70, 12)):
    assert not np.isnan(CASES[name][0](jnp.asarray(z, jnp.float32)))


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("effective_rank", "alpha_req", "alpha_req_range")])
def test_gradients_are_finite_where_values_are(name):
  gradient = jax.jit(jax.grad(PLAIN[name]), compiler_options=QUICK)
  for z in (ZERO, np.ones((70, 12)), np.zeros((70, 12))):
    assert np.isfinite(gradient(jnp.asarray(z, jnp.float32))).all()


def test_limits():
  same = jnp.tile(jnp.linspace(1, 2, 16), (50, 1))
  isotropic = jnp.asarray(np.random.default_rng(1).standard_normal((4000, 16)), jnp.float32)
  np.testing.assert_allclose(collapse.feature_std(same), 0, atol=1e-5)
  np.testing.assert_allclose(collapse.feature_std(isotropic), 1, rtol=0.02)
  np.testing.assert_allclose(collapse.effective_rank(same), 1, rtol=1e-3)
  np.testing.assert_allclose(collapse.effective_rank(isotropic), 16, rtol=0.01)
  assert collapse.alpha_req(same) == np.inf
  np.testing.assert_allclose(collapse.alpha_req(isotropic), 0, atol=0.1)
  np.testing.assert_allclose(collapse.uniformity(same), 0, atol=1e-5)
  assert collapse.uniformity(isotropic) < -3
  assert collapse.alignment(same, same) == 0


def test_alpha_req_recovers_a_power_law():
  q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((500, 41)))
  q, _ = np.linalg.qr(q - q.mean(0))                       # orthonormal columns of mean 0
  z = q * np.arange(1, 42) ** -0.6
  np.testing.assert_allclose(collapse.alpha_req(jnp.asarray(z, jnp.float32)), 1.2, rtol=1e-3)


def test_uniformity_in_tiles_is_exact():
  x = np.random.default_rng(0).standard_normal((2500, 3)).astype(np.float32)      # two tiles, the last one padded
  y = unit(x.astype(np.float64))
  pairs = np.exp(-2 * np.maximum(0, 2 - 2 * y @ y.T))
  want = np.log((pairs.sum() - len(x)) / (len(x) * (len(x) - 1)))
  np.testing.assert_allclose(collapse.uniformity(x), want, rtol=1e-5)


def test_tiny_and_huge_vectors():
  z = jnp.asarray(Z, jnp.float32)
  np.testing.assert_allclose(collapse.unit(z * 1e-30), collapse.unit(z), rtol=1e-5)
  np.testing.assert_allclose(collapse.unit(z * 1e30), collapse.unit(z), rtol=1e-5)


@pytest.mark.parametrize("name", ["feature_std", "effective_rank", "alpha_req", "alignment", "uniformity"])
def test_axis_name_gives_the_global_value_and_gradient(name):
  """Values on two slices, and the gradient of weights that make z, after pmean."""
  z = jnp.asarray(Z, jnp.float32)

  def value(w, z, **options):
    z = jnp.tanh(z * w)
    views = (z, z[:, ::-1]) if name == "alignment" else (z,)
    return getattr(collapse, name)(*views, **options)

  def local(w, z):
    v, g = jax.value_and_grad(value)(w, z, axis_name="i")
    return v, jax.lax.pmean(g, "i")

  w = jnp.linspace(0.5, 2, 12)
  want, gradient = jax.jit(jax.value_and_grad(value), compiler_options=QUICK)(w, z)
  spread = jax.jit(jax.vmap(local, axis_name="i", in_axes=(None, 0)), compiler_options=QUICK)
  values, gradients = spread(w, z.reshape(2, 35, 12))
  np.testing.assert_allclose(values, np.full(2, want), rtol=1e-5)
  np.testing.assert_allclose(gradients, np.stack([gradient] * 2), rtol=2e-3, atol=1e-5)


def test_under_shard_map():
  mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
  spec = jax.sharding.PartitionSpec
  for f in (collapse.feature_std, collapse.effective_rank, collapse.alpha_req, collapse.uniformity):
    g = jax.shard_map(lambda z: f(z, axis_name="i"), mesh=mesh, in_specs=spec("i"), out_specs=spec())
    np.testing.assert_allclose(jax.jit(g)(jnp.asarray(Z, jnp.float32)), f(jnp.asarray(Z, jnp.float32)), rtol=1e-5)


def test_wrong_shapes_are_refused():
  for bad in (lambda: collapse.feature_std(jnp.ones(3)), lambda: collapse.uniformity(jnp.ones((1, 3))),
              lambda: collapse.alignment(jnp.ones((2, 3)), jnp.ones((3, 3)))):
    with pytest.raises(AssertionError):
      bad()
