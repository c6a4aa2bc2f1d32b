"""color_jitter is exactly the four adjustments in a random order, each image its own: one order fits every image."""

import itertools

import augment_numpy as ref
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import augment
from sslx.augment import color, jitter

STRENGTHS = {"brightness": 0.7, "contrast": 0.8, "saturation": 0.9, "hue": 0.4}       # all different: they name a draw
RANGES = {(1 - s, 1 + s) if name != "hue" else (-s, s): name for name, s in STRENGTHS.items()}
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws
OPS = {name: getattr(ref, name) for name in STRENGTHS}


def jittered(monkeypatch, x):
  """(color_jitter of x, {operation: the amounts it drew}); what was drawn is told by its range."""
  drawn, uniform = {}, jitter.uniform

  def spy(key, shape, dtype, low, high):
    out, name = uniform(key, shape, dtype, low, high), RANGES.get((low, high))
    assert name not in drawn
    return drawn.setdefault(name, out) if name else out

  def run(x):
    return augment.color_jitter(jax.random.key(3), x, **STRENGTHS), drawn

  with monkeypatch.context() as patch:
    patch.setattr(jitter, "uniform", spy)
    patch.setattr(jitter, "apart", lambda f: f)                                     # in one program with this test
    return jax.tree.map(np.asarray, jax.jit(run, compiler_options=QUICK)(x))


@pytest.mark.parametrize("channels, active, images", [(3, tuple(OPS), 150), (1, ("brightness", "contrast"), 24),
                                                       (5, ("brightness", "contrast"), 24)])
def test_one_of_all_orders(monkeypatch, channels, active, images):
  x = np.clip(np.random.default_rng(1).normal(0.5, 0.5, (images, 3, 3, channels)), 0, 1).astype(np.float32)
  out, drawn = jittered(monkeypatch, x)
  assert set(drawn) >= set(active)
  seen, unique = dict.fromkeys(itertools.permutations(active), 0), 0
  for i in range(images):
    fits = []
    for order in seen:
      y = x[i].astype(float)
      for op in order:
        y = OPS[op](y, drawn[op][i])
      if np.allclose(out[i], y, atol=3e-6):
        fits.append(order)
    assert fits, f"image {i}: no order of the four adjustments gives this"
    for order in fits:                                                              # without clipping some orders agree
      seen[order] += 1 / len(fits)
    unique += len(fits) == 1
  assert unique > 0.3 * images
  assert min(seen.values()) > 0.2 * images / len(seen) and max(seen.values()) < 3 * images / len(seen), seen


def test_p():
  x = np.random.default_rng(2).random((400, 2, 2, 3), np.float32)
  run = jax.jit(lambda p: augment.color_jitter(jax.random.key(3), x, **STRENGTHS, p=p), compiler_options=QUICK)
  changed = lambda p: np.any(run(p) != x, axis=(1, 2, 3))
  assert not changed(0.0).any() and changed(1.0).all()                               # untouched to the bit, or touched
  assert 0.2 < changed(0.3).mean() < 0.4


def test_zero_strengths_change_nothing():
  x = jnp.asarray(np.random.default_rng(3).random((8, 2, 2, 3), np.float32))
  run = jax.jit(lambda **s: augment.color_jitter(jax.random.key(0), x, **s), static_argnames=tuple(STRENGTHS),
                   compiler_options=QUICK)
  np.testing.assert_allclose(run(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0), x, atol=1.2e-7)
  out = run(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.2)
  np.testing.assert_allclose(out.max(-1), x.max(-1), atol=1e-6)                       # hue alone keeps value and chroma
  np.testing.assert_allclose(out.min(-1), x.min(-1), atol=1e-6)
  assert jnp.abs(out - x).max() > 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_one_loop_or_three(channels):
  """Images of a multiple of 64 pixels take one loop for all channels, others one a channel, with the same result."""
  x, key = np.random.default_rng(4).random((6, 16, 16, channels), np.float32), jax.random.key(9)
  whole = lambda key, x: augment.color_jitter(key, x, **STRENGTHS)
  apiece = lambda key, x: color.joined(jitter._jitter(key, x, tuple(STRENGTHS.values()), 1.0), x)
  one, three = (jax.jit(f, compiler_options=QUICK)(key, x) for f in (whole, apiece))
  np.testing.assert_allclose(one, three, atol=1e-6)
