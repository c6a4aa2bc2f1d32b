"""Puzzles: what was turned, cut, moved and shuffled, and that the answers are those of the pixels."""

import jax
import jax.numpy as jnp
import numpy as np
from small import IMAGES, Linear, several

from sslx.methods import rotation

one = lambda key, image: jnp.asarray(image, float)


def test_rotation_turns_every_view_four_ways():
  for aug, counts in ((one, (4,)), (several, (8, 12))):
    method = rotation.make(Linear(), aug=aug)
    batch = {"image": IMAGES}
    views = method.views(jax.random.key(0), batch)
    assert tuple(x.shape[1] for x in views["image"]) == counts
    for x in views["image"]:
      for v in range(x.shape[1]):
        np.testing.assert_array_equal(x[:, v], np.rot90(x[:, v - v % 4], v % 4, (1, 2)))
    params, state = method.init(jax.random.key(1), batch)
    value, (_, metrics) = method.loss(params, state, views, jax.random.key(2), 0.0)
    logits = [[Linear().apply({"params": params["encoder"]}, x[:, v]) @ params["head"]["dense1"]["kernel"]
               for v in range(x.shape[1])] for x in views["image"]]
    each = [jax.nn.log_softmax(z)[:, v % 4] for zs in logits for v, z in enumerate(zs)]
    np.testing.assert_allclose(value, -np.mean(each), rtol=1e-5)
    right = [z.argmax(-1) == v % 4 for zs in logits for v, z in enumerate(zs)]
    np.testing.assert_allclose(metrics["rotation_accuracy"], np.mean(right), rtol=1e-6)


def test_rotation_is_shown_turned_back():
  method = rotation.make(Linear(), aug=one)
  params, state = method.init(jax.random.key(0), {"image": IMAGES})
  params["head"]["dense1"]["kernel"] *= 0
  params["head"]["dense1"]["bias"] = jnp.array([0.0, 0, 1, 0])                # always says: upside down
  shown = method.show(params, state, method.views(jax.random.key(0), {"image": IMAGES}))
  np.testing.assert_array_equal(shown["turned"][1], np.rot90(IMAGES[1]))
  np.testing.assert_array_equal(shown["turned back as predicted"][1], np.rot90(IMAGES[1], 1 - 2))
