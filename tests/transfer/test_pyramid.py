"""The pyramid of segmentation's head: pooled and joined as by hand, on CNNs and ViTs, all of it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders
from sslx.transfer import pyramid, segment

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", pyramid.BINS)
def test_bins_by_hand(n):
  x = RNG.random((2, 5, 7, 3), np.float32)
  got = pyramid.binned(x, n)
  for i in range(n):
    for j in range(n):
      rows, columns = (slice(k * size // n, int(np.ceil((k + 1) * size / n))) for k, size in ((i, 5), (j, 7)))
      np.testing.assert_allclose(got[:, i, j], x[:, rows, columns].mean((1, 2)), rtol=1e-5)


def test_from_coarse_to_fine_by_hand():
  maps = {"fine": RNG.random((1, 4, 4, 2), np.float32), "coarse": RNG.random((1, 2, 2, 2), np.float32)}
  scale = {"lateral_fine": 2, "lateral_coarse": 3, "smooth_fine": 5, "smooth_coarse": 7}
  out = pyramid.top_down(maps, lambda name, size: lambda h: scale[name] * h, lambda name, h: h + 1)
  assert list(out) == list(maps)
  np.testing.assert_allclose(out["coarse"], 21 * maps["coarse"] + 1, rtol=1e-6)
  up = maps["coarse"].repeat(2, 1).repeat(2, 2)
  np.testing.assert_allclose(out["fine"], 5 * (2 * maps["fine"] + 3 * up) + 1, rtol=1e-6)


def test_one_grid_becomes_four():
  maps = {f"stage{i}": np.zeros((1, 6, 8, i)) for i in range(1, 5)}
  assert [h.shape[1:] for h in pyramid.spread(maps).values()] == [(24, 32, 1), (12, 16, 2), (6, 8, 3), (3, 4, 4)]
  assert pyramid.spread({"a": maps["stage1"]})["a"] is maps["stage1"]
  several = maps | {"stage4": np.zeros((1, 3, 4, 4))}
  assert pyramid.spread(several) is several


@pytest.mark.parametrize(("name", "options"), [
    ("resnet10", {"width": 2, "stem": "small"}), ("vit_ti", {"width": 8, "depth": 3, "heads": 2, "patch": 4})])
def test_every_parameter_of_the_head_learns(name, options):
  net = segment.Segmenter(encoders.make(name, **options), 3, "upernet", 4, True)
  x, wanted = RNG.random((2, 16, 24, 3), np.float32), RNG.integers(0, 3, (2, 16, 24))

  def loss(params, rest):
    z, _ = net.apply({"params": params, **rest}, x, train=True, mutable=["batch_stats"])
    assert z.shape == (2, 16, 24, 3)
    return -jnp.take_along_axis(jax.nn.log_softmax(z), wanted[..., None], -1).mean()

  variables = jax.eval_shape(lambda: net.init(jax.random.key(0), x))
  rest = jax.tree.map(lambda v: RNG.normal(0.3, 0.3, v.shape).astype(np.float32), variables)
  rest["batch_stats"] = jax.tree.map(np.abs, rest["batch_stats"])
  grads = jax.jit(jax.grad(loss))(rest.pop("params"), rest)
  for path, g in jax.tree_util.tree_leaves_with_path(grads["pyramid"]):
    assert np.isfinite(g).all() and np.any(g != 0), path
