"""Lab against published values, there and back, and the bins of colours."""

import jax.numpy as jnp
import numpy as np
import pytest

from sslx.augment import lab


@pytest.mark.parametrize("rgb, want", [                      # Lindbloom's calculator, sRGB, D65
  ((1, 1, 1), (100, 0, 0)), ((0, 0, 0), (0, 0, 0)), ((1, 0, 0), (53.24, 80.09, 67.20)),
  ((0, 1, 0), (87.73, -86.18, 83.18)), ((0, 0, 1), (32.30, 79.19, -107.86)), ((0, 1, 1), (91.11, -48.09, -14.13)),
  ((1, 0, 1), (60.32, 98.23, -60.82)), ((1, 1, 0), (97.14, -21.55, 94.48)), ((0.5, 0.5, 0.5), (53.39, 0, 0))])
def test_known_values(rgb, want):
  np.testing.assert_allclose(lab.rgb_to_lab(jnp.array(rgb, float)), want, atol=0.02)


def test_there_and_back():
  x = np.random.default_rng(0).random((2, 9, 9, 3), np.float32)
  x[0, 0, :, :] *= 0.05                                      # the linear part of the curve too
  np.testing.assert_allclose(lab.lab_to_rgb(lab.rgb_to_lab(jnp.asarray(x))), x, atol=2e-4)
  outside = np.asarray(lab.lab_to_rgb(jnp.array([50.0, 120, -120])))
  assert outside.min() >= 0 and outside.max() <= 1


# for each a of the 313 points that Zhang et al. published: the least and the largest b
PUBLISHED = {-90: (50, 90), -80: (20, 90), -70: (0, 90), -60: (-20, 90), -50: (-30, 100), -40: (-40, 100),
             -30: (-50, 100), -20: (-50, 100), -10: (-60, 100), 0: (-70, 100), 10: (-80, 90), 20: (-80, 90),
             30: (-90, 90), 40: (-100, 90), 50: (-100, 80), 60: (-110, 80), 70: (-110, 80), 80: (-110, 70),
             90: (-110, 70), 100: (-90, 0)}


def test_bins_are_the_published_ones():
  want = [(a, b) for a, (low, high) in PUBLISHED.items() for b in range(low, high + 1, 10)]
  np.testing.assert_array_equal(lab.bins(), want)


def test_bins_surround_every_color():
  bins = lab.bins()
  ab = np.asarray(lab.rgb_to_lab(jnp.asarray(np.random.default_rng(0).random((500, 3)))))[:, 1:]
  known = {tuple(b) for b in bins.astype(int)}
  for a, b in 10 * np.floor(ab / 10).astype(int):
    assert {(a, b), (a + 10, b), (a, b + 10), (a + 10, b + 10)} <= known
