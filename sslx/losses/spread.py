"""Regularisers that spread representations out: over the sphere (KoLeo), or as an isotropic Gaussian (SIGReg)."""

import chex
import jax
import jax.numpy as jnp

from sslx.losses.batch import average, count, everywhere, index, root, times, unit, wide


def koleo(x, *, eps=1e-8, axis_name=None):
  """KoLeo (Sablayrolles et al., "Spreading Vectors for Similarity Search", 2019).

  The mean of -log(eps + distance to the nearest other row) of the l2-normalised x [N, D].
  """
  chex.assert_rank(x, 2)
  if count(x, axis_name) < 2:
    raise ValueError("koleo needs at least two examples: one has no neighbour")
  x = unit(x)
  every = everywhere(x, axis_name)
  itself = index(x, axis_name)[:, None] == jnp.arange(len(every))
  further = jax.lax.stop_gradient(jnp.sum(every**2, -1) - 2 * times(x, every.T))        # [n, N], to choose by
  nearest = every[jnp.argmin(jnp.where(itself, jnp.inf, further), 1)]
  return average(-jnp.log(root(jnp.sum((x - nearest) ** 2, -1)) + eps), axis_name)


def sigreg(key, z, *, slices=1024, knots=17, t_max=3.0, axis_name=None):
  """SIGReg (Balestriero and LeCun, "LeJEPA", 2025, sec. 4): random projections of z [N, D] look like N(0, 1).

  Epps and Pulley's test, N times the integral of |phi(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) over t from -t_max to t_max,
  phi the empirical characteristic function, by the trapezoid rule; the mean over projections.

  Args:
    key: of the projections; a new one at each step.
    z: [N, D], as it is (not normalised).
    slices: number of projections.
    knots: points of the trapezoid rule on [0, t_max]; the other half is the same.
    t_max: end of the integral.
    axis_name: mapped axis that the rows are spread over.
  """
  chex.assert_rank(z, 2)
  z = wide(z)
  a = unit(jax.random.normal(key, (slices, z.shape[1]), z.dtype))                       # [S, D]
  t = jnp.linspace(0, t_max, knots, dtype=z.dtype)                                      # [knots]
  x = times(z, a.T)                                                                     # [N, S]
  parts = jax.checkpoint(lambda t: (jnp.cos(t * x).mean(0), jnp.sin(t * x).mean(0)))    # [N, S, knots] is never there
  real, imaginary = (average(m[None], axis_name) for m in jax.lax.map(parts, t))        # [knots, S]
  gauss = jnp.exp(-(t**2) / 2)[:, None]
  gap = (real - gauss) ** 2 + imaginary**2
  return 2 * count(z, axis_name) * jnp.trapezoid(gap * gauss, t, axis=0).mean()
