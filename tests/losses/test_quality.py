"""PSNR and SSIM against plain loops written from the papers."""

import jax.numpy as jnp
import numpy as np
import pytest

from sslx import losses

RNG = np.random.default_rng(0)
X = RNG.random((3, 14, 13, 2))
Y = np.clip(X + RNG.normal(0, 0.1, X.shape), 0, 1)


def ssim(x, y, side=11, sigma=1.5):
  """One channel [H, W], place by place, with NumPy."""
  at = np.arange(side) - side // 2
  w = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * sigma**2))
  w, out = w / w.sum(), []
  for i in range(x.shape[0] - side + 1):
    for j in range(x.shape[1] - side + 1):
      a, b = x[i:i + side, j:j + side], y[i:i + side, j:j + side]
      ma, mb = (w * a).sum(), (w * b).sum()
      va, vb, both = (w * (a - ma)**2).sum(), (w * (b - mb)**2).sum(), (w * (a - ma) * (b - mb)).sum()
      out.append((2 * ma * mb + 1e-4) * (2 * both + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
  return np.mean(out)


@pytest.mark.parametrize("crop, side", [(14, 11), (8, 7)])
def test_ssim(crop, side):
  x, y = X[:, :crop, :crop], Y[:, :crop, :crop]
  want = np.mean([ssim(x[b, ..., c], y[b, ..., c], side) for b in range(3) for c in range(2)])
  np.testing.assert_allclose(losses.ssim(jnp.asarray(x), jnp.asarray(y)), want, rtol=1e-4)
  np.testing.assert_allclose(losses.ssim(jnp.asarray(x), jnp.asarray(x)), 1, rtol=1e-5)


def test_psnr_is_a_mean_of_images():
  want = np.mean([10 * np.log10(1 / np.mean((x - y) ** 2)) for x, y in zip(X, Y, strict=True)])
  np.testing.assert_allclose(losses.psnr(jnp.asarray(X), jnp.asarray(Y)), want, rtol=1e-5)
  np.testing.assert_allclose(losses.psnr(jnp.zeros((1, 4, 4, 1)), jnp.full((1, 4, 4, 1), 0.1)), 20, rtol=1e-5)
