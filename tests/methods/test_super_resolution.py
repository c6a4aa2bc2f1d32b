"""Super-resolution: what comes in, what is compared, who learns from whom."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import Conv

from sslx import errors, heads, losses
from sslx.augment import resize
from sslx.methods import super_resolution

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0.1, 0.9, (4, 16, 18, 3)).astype(np.float32)
KEY = jax.random.key(0)
one = lambda key, image: jnp.asarray(image, float)
same = lambda a, b: jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)


def make(**options):
  return super_resolution.make(Conv(), width=4, blocks=1, critic_width=4, aug=one, **options)


def test_pixel_shuffle():
  x = jnp.arange(2 * 3 * 12).reshape(1, 2, 3, 12)
  y = heads.pixel_shuffle(x, 2)
  assert y.shape == (1, 4, 6, 3)
  for i, j in np.ndindex(4, 6):                              # each place becomes a square, row by row
    at = 3 * (2 * (i % 2) + j % 2)
    np.testing.assert_array_equal(y[0, i, j], x[0, i // 2, j // 2, at:at + 3])


@pytest.mark.parametrize("factor", [2, 4])
def test_starts_as_the_bicubic_image(factor):
  method = make(factor=factor, objective="l2", crop=12)
  views = method.views(KEY, {"image": IMAGES})
  assert views["image"][0].shape == (4, 1, 12, 12, 3) and views["small"].shape == (4, 1, 12 // factor, 12 // factor, 3)
  large = np.asarray(views["image"][0][0, 0])
  assert any((large == IMAGES[0, i:i + 12, j:j + 12]).all() for i in range(5) for j in range(7))
  params, state = method.init(KEY, {"image": IMAGES})
  value, (_, metrics) = method.loss(params, state, views, KEY, 0.0)
  shown = method.show(params, state, views)
  same(shown["bicubic"], resize(views["small"][:, 0], (12, 12), method="bicubic"))
  inside = np.s_[:, 4:-4, 4:-4]                              # at edges JAX's resizing weighs only what there is
  same(shown["output"][inside], shown["bicubic"][inside])
  luma = lambda x: (16 + np.asarray(x) @ np.array([65.481, 128.553, 24.966]))[..., None] / 255
  want = losses.psnr(luma(shown["bicubic"]), luma(shown["original"]))
  np.testing.assert_allclose(metrics["psnr_bicubic"], want, rtol=1e-3)
  np.testing.assert_allclose(metrics["l2"], value)


@pytest.mark.slow
def test_generator_critic_and_judge_are_apart():
  views, parts = make().views(KEY, {"image": IMAGES}), {}
  for name, progress, options in (("l2", 1.0, {"objective": "l2"}), ("early", 0.4, {}),
                                  ("late", 0.6, {"lambda_adv": 1.0}), ("deaf", 0.6, {"lambda_adv": 0.0}),
                                  ("perceptual", 0.6, {"objective": "perceptual"})):
    method = make(**options)
    params, state = method.init(KEY, {"image": IMAGES})
    params["net"]["upscaler"]["pixels"]["kernel"] += 0.1
    grad = jax.jit(jax.grad(lambda p, method=method, state=state, progress=progress: method.loss(
        p, state, views, KEY, jnp.asarray(progress))[0]))(params)
    parts[name] = grad
    assert ("judge" in state) == (name != "l2") and ("critic" in grad) == (name not in ("l2", "perceptual"))
  same(parts["early"]["net"], parts["l2"]["net"])            # squared error alone until the switch
  same(parts["deaf"]["net"], parts["perceptual"]["net"])     # nothing of the critic's loss in the generator
  same(parts["deaf"]["critic"], parts["late"]["critic"])     # nothing of the generator's in the critic
  pixels = lambda name: np.asarray(parts[name]["net"]["upscaler"]["pixels"]["kernel"])
  assert np.abs(pixels("late") - pixels("deaf")).max() > 0.01 * np.abs(pixels("deaf")).max()


def test_features_are_compared_as_shares():
  x = [jnp.full((2, 3, 3, 1), 3.0), jnp.ones((2, 1, 1, 2))]
  y = [jnp.full((2, 3, 3, 1), 2.0), jnp.ones((2, 1, 1, 2))]
  np.testing.assert_allclose(super_resolution.distance(x, y), (1 / 4 + 0) / 2)


def test_wrong_options():
  for options, says in (({"factor": 3}, "factor"), ({"objective": "mse"}, "objective"), ({"crop": 40}, None)):
    with pytest.raises(errors.UsageError, match=says or "no crop of 40"):
      make(**options).views(KEY, {"image": IMAGES})
