"""Random boxes against torchvision's algorithm, simulated in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sslx import augment
from sslx.augment.crop import random_box

COUNT = 2000


def torchvision_box(rng, H, W, scale, ratio):
  """RandomResizedCrop.get_params, line by line."""
  for _ in range(10):
    area = H * W * rng.uniform(*scale)
    aspect = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1])))
    w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
    if 0 < w <= W and 0 < h <= H:
      return rng.integers(0, H - h + 1), rng.integers(0, W - w + 1), h, w
  if W / H < ratio[0]:
    w, h = W, round(W / ratio[0])
  elif W / H > ratio[1]:
    w, h = round(H * ratio[1]), H
  else:
    w, h = W, H
  return (H - h) // 2, (W - w) // 2, h, w


@pytest.mark.parametrize("H, W, scale", [(224, 224, (0.08, 1.0)), (40, 100, (0.3, 1.0))])
def test_distribution(H, W, scale):
  ratio, rng = (3 / 4, 4 / 3), np.random.default_rng(0)
  box = jax.jit(lambda k: random_box(k, (COUNT,), (H, W), scale=scale, ratio=ratio))(jax.random.key(0))
  top, left, h, w = (np.asarray(v) for v in box)
  for v in box:
    assert jnp.array_equal(v, jnp.round(v))                                       # whole pixels
  assert (top >= 0).all() and (left >= 0).all() and (top + h <= H).all() and (left + w <= W).all() and (h * w > 0).all()
  theirs = np.array([torchvision_box(rng, H, W, scale, ratio) for _ in range(COUNT)], float).T
  figures = lambda t, l, h, w: {"area": h * w, "ratio": w / h, "top": t / (H - h + 1), "left": l / (W - w + 1)}
  for (name, a), b in zip(figures(top, left, h, w).items(), figures(*theirs).values(), strict=True):
    assert stats.ks_2samp(a, b).pvalue > 0.01, name


@pytest.mark.parametrize("full, scale, want", [
  ((4, 64), (1.0, 1.0), (0, 29, 4, 5)), ((65, 6), (1.0, 1.0), (28, 0, 8, 6)), ((10, 12), (2.0, 3.0), (0, 0, 10, 12))])
def test_fallback(full, scale, want):
  box = random_box(jax.random.key(0), (3,), full, scale=scale, ratio=(3 / 4, 4 / 3))
  assert [v.tolist() for v in box] == [[w] * 3 for w in want]
  rng = np.random.default_rng(0)
  assert torchvision_box(rng, *full, scale, (3 / 4, 4 / 3)) == want


def test_some_boxes_fall_back():
  """Where a third of the draws fit, ten of them nearly always find one; with one try most images fall back."""
  draw = lambda tries: random_box(jax.random.key(1), (300,), (16, 64), scale=(0.2, 1.0), ratio=(1.0, 1.0), tries=tries)
  share = lambda box: float(jnp.mean((box[2] == 16) & (box[3] == 16) & (box[1] == 24)))
  assert share(draw(1)) > 0.8 and share(draw(40)) < 0.2


def test_random_resized_crop_cuts_its_box():
  key, options = jax.random.key(5), {"scale": (0.2, 0.6), "ratio": (0.5, 2.0)}
  x = jax.random.uniform(jax.random.key(6), (3, 12, 10, 2))
  top, left, h, w = (np.asarray(v, int) for v in random_box(key, (3,), (12, 10), **options))
  out = augment.random_resized_crop(key, x, size=(4, 5), **options)
  for i in range(3):
    crop = x[i, top[i]:top[i] + h[i], left[i]:left[i] + w[i]]
    np.testing.assert_allclose(out[i], augment.resize(crop, (4, 5)), atol=1e-6)
