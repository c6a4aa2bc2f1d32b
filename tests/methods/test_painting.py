"""Methods that give images back: what is hidden from them, and what their losses weigh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders, errors
from sslx.methods import autoencoder

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0.1, 0.9, (4, 16, 16, 3)).astype(np.float32)
KEY = jax.random.key(0)
one = lambda key, image: jnp.asarray(image, float)


def small():
  return encoders.make("resnet10", width=4, stem="small")


@pytest.mark.parametrize("corruption, share", [("none", 0), ("noise", 1), ("mask", 0.25), ("salt_and_pepper", 0.25)])
def test_autoencoder_hides_what_it_says(corruption, share):
  method = autoencoder.make(small(), corruption=corruption, amount=0.25, aug=one)
  views = method.views(KEY, {"image": IMAGES})
  np.testing.assert_array_equal(views["image"][0][:, 0], IMAGES)
  changed = np.any(views["input"][:, 0] != IMAGES, -1)                                  # [B, H, W]
  if corruption == "mask":
    np.testing.assert_array_equal(changed.sum((1, 2)), 64)
    assert not views["input"][:, 0][changed].any()
  elif corruption == "salt_and_pepper":
    assert set(np.unique(views["input"][:, 0][changed])) == {0, 1}
  assert abs(changed.mean() - share) < 0.05


def test_autoencoder_is_judged_by_the_clean_image():
  method = autoencoder.make(small(), corruption="noise", code=5, read="grid", aug=one)
  params, state = method.init(KEY, {"image": IMAGES})
  assert params["net"]["head"]["dense1"]["kernel"].shape == (2 * 2 * 32, 5)
  views = method.views(KEY, {"image": IMAGES})
  params["decoder"]["pixels"] = jax.tree.map(jnp.zeros_like, params["decoder"]["pixels"])         # so one half anywhere
  value, (_, metrics) = method.loss(params, state, views, KEY, 0.0)
  np.testing.assert_allclose(value, np.mean((0.5 - IMAGES) ** 2), rtol=1e-5)
  np.testing.assert_allclose(metrics["psnr"], -10 * np.log10(value), rtol=1e-5)
  shown = method.show(params, state, views)
  assert list(shown) == ["clean", "input", "output"] and np.allclose(shown["output"], 0.5)
  with pytest.raises(errors.UsageError, match="did you mean mask"):
    autoencoder.make(small(), corruption="masks")
