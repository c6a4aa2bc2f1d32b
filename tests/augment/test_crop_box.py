"""Random boxes against torchvision's algorithm, simulated in NumPy."""

import augment_numpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import IN_A_RUN
from scipy import stats

from sslx import augment
from sslx.augment import crop
from sslx.augment.crop import random_box

COUNT = 100_000
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws


def draw(*args, **options):
  return jax.jit(lambda key: random_box(key, *args, **options), compiler_options=QUICK)


def torchvision_boxes(rng, count, H, W, scale, ratio):
  """RandomResizedCrop.get_params for `count` images at once: [count, 4] of top, left, height, width."""
  area = H * W * rng.uniform(*scale, (count, 10))
  aspect = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), (count, 10)))
  w, h = np.round(np.sqrt(area * aspect)), np.round(np.sqrt(area / aspect))
  fits = (w > 0) & (w <= W) & (h > 0) & (h <= H)
  whole = W / H
  if whole < ratio[0]:
    width, height = W, round(W / ratio[0])
  elif whole > ratio[1]:
    width, height = round(H * ratio[1]), H
  else:
    width, height = W, H
  boxes = np.tile([(H - height) // 2, (W - width) // 2, height, width], (count, 1))
  for i in np.flatnonzero(fits.any(1)):
    n = np.flatnonzero(fits[i])[0]
    boxes[i, 2:] = h[i, n], w[i, n]
  some = fits.any(1)
  boxes[some, 0] = rng.integers(0, H - boxes[some, 2] + 1)
  boxes[some, 1] = rng.integers(0, W - boxes[some, 3] + 1)
  return boxes


@pytest.mark.parametrize("H, W, scale", [(224, 224, (0.08, 1.0)), (40, 100, (0.3, 1.0))])
def test_distribution(H, W, scale):
  ratio, rng = (3 / 4, 4 / 3), np.random.default_rng(0)
  box = draw((COUNT,), (H, W), scale=scale, ratio=ratio)(jax.random.key(0))
  top, left, h, w = (np.asarray(v, float) for v in box)
  for v in box:
    assert np.array_equal(v, np.round(v))                                       # whole pixels
  assert (top >= 0).all() and (left >= 0).all() and (top + h <= H).all() and (left + w <= W).all() and (h * w > 0).all()
  theirs = torchvision_boxes(rng, COUNT, H, W, scale, ratio).T.astype(float)
  figures = lambda t, l, h, w: {"area": h * w, "ratio": w / h, "top": t / (H - h + 1), "left": l / (W - w + 1)}
  for (name, a), b in zip(figures(top, left, h, w).items(), figures(*theirs).values(), strict=True):
    assert stats.ks_2samp(a, b, method="asymp").pvalue > 0.01, name


@pytest.mark.parametrize("full, scale, want", [
  ((4, 64), (1.0, 1.0), (0, 29, 4, 5)), ((65, 6), (1.0, 1.0), (28, 0, 8, 6)), ((10, 12), (2.0, 3.0), (0, 0, 10, 12))])
def test_fallback(full, scale, want):
  box = draw((3,), full, scale=scale, ratio=(3 / 4, 4 / 3))(jax.random.key(0))
  assert [v.tolist() for v in box] == [[w] * 3 for w in want]
  rng = np.random.default_rng(0)
  assert tuple(torchvision_boxes(rng, 1, *full, scale, (3 / 4, 4 / 3))[0]) == want


def test_some_boxes_fall_back():
  """Where a third of the draws fit, ten of them nearly always find one; with one try most images fall back."""
  box = lambda tries: draw((300,), (16, 64), scale=(0.2, 1.0), ratio=(1.0, 1.0), tries=tries)(jax.random.key(1))
  share = lambda box: float(jnp.mean((box[2] == 16) & (box[3] == 16) & (box[1] == 24)))
  assert share(box(1)) > 0.8 and share(box(40)) < 0.2


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(5, 9), (12, 10), (30, 17), (36, 70)])       # the last puts centres upon centres
def test_sums_are_the_products(monkeypatch, method, size):
  """The form for CPUs, sums of rows, and the one for all else, matrix products, are one resampling."""
  x, key = jax.random.uniform(jax.random.key(6), (9, 12, 10, 2)), jax.random.key(5)
  box = draw((9,), (12, 10), scale=(0.05, 1.0), ratio=(0.5, 2.0))(key)
  cut = lambda x, box: crop._cut.__wrapped__(x, tuple(map(jnp.asarray, box)), size, method)      # compiled anew
  one = lambda x: (cut(x, box), cut(x[0], (2, 1, 7, 6)))
  text = jax.jit(one).lower(x).as_text()
  sums = jax.jit(one, compiler_options=IN_A_RUN)(x)
  monkeypatch.setattr(crop, "MOST", 0)
  assert "dot_general" not in text and "gather" not in jax.jit(lambda x: one(x)).lower(x).as_text()
  for a, b in zip(sums, jax.jit(lambda x: one(x), compiler_options=QUICK)(x), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_boxes_beyond_the_image_are_cut_to_it():
  x = jax.random.uniform(jax.random.key(6), (8, 9, 3))
  for method in crop.METHODS:
    for box, within in (((-2, -3, 6, 8), (0, 0, 4, 5)), ((4, 5, 9, 9), (4, 5, 4, 4)), ((-3, -3, 30, 30), (0, 0, 8, 9))):
      out, want = (augment.crop_resize(x, b, (5, 4), method=method) for b in (box, within))
      assert np.array_equal(out, want) and np.isfinite(out).all()


def test_random_resized_crop_cuts_its_box():
  key, options = jax.random.key(5), {"scale": (0.2, 0.6), "ratio": (0.5, 2.0)}
  x = jax.random.uniform(jax.random.key(6), (3, 12, 10, 2))
  top, left, h, w = (np.asarray(v, int) for v in draw((3,), (12, 10), **options)(key))
  cut = lambda key, x: augment.random_resized_crop(key, x, size=(4, 5), **options)
  out = jax.jit(cut, compiler_options=QUICK)(key, x)
  for i in range(3):
    want = augment_numpy.crop_resize(np.asarray(x[i], float), (top[i], left[i], h[i], w[i]), (4, 5))
    np.testing.assert_allclose(out[i], want, atol=2e-6)
