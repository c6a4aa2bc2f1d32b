"""What the random erasing, noise and mixing draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import augment

KEY = jax.random.key(2)
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
GREY = np.full((600, 20, 30, 3), 0.5, np.float32)


def run(f, *args, **options):
  return jax.tree.map(np.asarray, jax.jit(lambda *a: f(KEY, *a, **options), compiler_options=QUICK)(*args))


def spans(changed):
  """(height, width) of what changed in each image [B, H, W], which must be one whole rectangle."""
  height, width = changed.any(2).sum(1), changed.any(1).sum(1)
  assert np.array_equal(changed.sum((1, 2)), height * width)
  return height, width


def test_random_erase():
  out = run(augment.random_erase, GREY, scale=(0.1, 0.3), ratio=(0.5, 2.0), p=0.7)
  assert set(np.unique(out)) == {0, 0.5}
  height, width = spans((out == 0).all(-1))
  erased = height > 0
  assert 0.62 < erased.mean() < 0.78
  area, ratio = (height * width)[erased] / 600, width[erased] / height[erased]
  assert 0.07 < area.min() < 0.13 and 0.27 < area.max() < 0.33 and abs(area.mean() - 0.2) < 0.02
  assert 0.4 < ratio.min() < 0.7 and 1.5 < ratio.max() < 2.4 and abs(np.log(ratio).mean()) < 0.1


def test_random_erase_fills():
  noise = run(augment.random_erase, GREY[:50], value=None, p=1.0)
  changed = (noise != 0.5).all(-1)
  spans(changed)
  values = noise[changed]
  assert abs(values.mean() - 0.5) < 0.02 and abs(values.std() - 12**-0.5) < 0.02
  colour = run(augment.random_erase, GREY[:50], value=(0.1, 0.2, 0.9), p=1.0)
  assert np.array_equal(np.unique(colour[(colour != 0.5).all(-1)], axis=0), np.float32([(0.1, 0.2, 0.9)]))
  assert np.array_equal(run(augment.random_erase, GREY[:9], scale=(1.0, 1.0), ratio=(3.0, 3.0), p=1.0), GREY[:9])


def test_random_cutout():
  height, width = spans((run(augment.random_cutout, GREY) == 0).all(-1))
  assert height.max() == width.max() == 10 and height.min() <= 6 and width.min() <= 6      # half of 20, or cut off
  assert abs(np.mean(width == 10) - 21 / 30) < 0.1


def test_gaussian_noise():
  std = np.array([0.02, 0.1, 0.2], np.float32)
  out = run(lambda key, x, std: augment.gaussian_noise(key, x, std=std), np.full((3, 50, 50, 3), 0.5, np.float32), std)
  np.testing.assert_allclose(out.mean((1, 2, 3)), 0.5, atol=0.01)
  np.testing.assert_allclose(out.std((1, 2, 3))[:2], std[:2], rtol=0.03)
  assert out.min() >= 0 and out.max() <= 1
  spread = run(augment.random_gaussian_noise, GREY[:200], std=(0.0, 0.1), p=0.5).std((1, 2, 3))
  assert 0.4 < np.mean(spread == 0) < 0.6 and abs(np.mean(spread[spread > 0]) - 0.05) < 0.01


def test_salt_and_pepper():
  amount = np.array([0.0, 0.1, 0.5, 1.0], np.float32)
  x = np.full((4, 60, 60, 3), 0.5, np.float32)
  out = run(lambda key, x, amount: augment.salt_and_pepper(key, x, amount=amount), x, amount)
  assert (out == out[..., :1]).all() and set(np.unique(out)) == {0, 0.5, 1}
  for value in (0, 1):
    np.testing.assert_allclose((out[..., 0] == value).mean((1, 2)), amount / 2, atol=0.02)


@pytest.mark.parametrize("alpha", [1.0, 0.2])
def test_mixup(alpha):
  x = np.broadcast_to(np.linspace(0, 1, 2000, dtype=np.float32)[:, None, None, None], (2000, 1, 2, 1))
  image, partner, weight = run(augment.random_mixup, x, alpha=alpha)
  assert np.array_equal(np.sort(partner), np.arange(2000)) and (partner != np.arange(2000)).all()
  np.testing.assert_allclose(image[:, 0, 0, 0], weight * x[:, 0, 0, 0] + (1 - weight) * x[partner, 0, 0, 0], atol=1e-6)
  np.testing.assert_allclose(weight.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.08)      # of Beta(alpha, alpha)
  assert abs(weight.mean() - 0.5) < 0.03 and weight.min() >= 0 and weight.max() <= 1


def test_cutmix():
  x = np.broadcast_to(np.arange(400, dtype=np.float32)[:, None, None, None] / 400, (400, 12, 10, 1))
  image, partner, weight = run(augment.random_cutmix, x)
  own = image[..., 0] == x[..., 0]
  assert np.array_equal(image[..., 0][~own], np.broadcast_to(x[partner, :, :, 0], own.shape)[~own])
  spans(~own)
  np.testing.assert_allclose(weight, own.mean((1, 2)), atol=1e-6)
  assert 0.65 < weight.mean() < 0.8 and weight.min() < 0.45 and weight.max() == 1


@pytest.mark.parametrize("f", [augment.random_mixup, augment.random_cutmix])
def test_mixing_takes_a_batch(f):
  with pytest.raises(ValueError, match=r"\[B, H, W, C\], not"):
    f(KEY, jnp.zeros((4, 4, 3)))
