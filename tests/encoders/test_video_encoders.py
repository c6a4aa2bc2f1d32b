"""Encoders of video: R(2+1)D against a 3-D convolution in NumPy, tubelets and back, which encoders see the order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders, errors
from sslx.encoders import video_frames, video_resnet, video_vit

RNG = np.random.default_rng(0)
CLIP = RNG.random((2, 4, 16, 24, 3), np.float32)
SMALL = {"frames_resnet10": {"width": 4, "stem": "small"}, "r2plus1d_10": {"width": 4, "stem": "small"},
         "video_vit_ti": {"width": 8, "depth": 2, "heads": 2, "patch": 8}}
VARIANTS = [*video_frames.VARIANTS, *video_resnet.VARIANTS, *video_vit.VARIANTS]


def started(name, **options):
  module = encoders.make(name, **SMALL[name] | options)
  return module, jax.jit(module.init)(jax.random.key(0), CLIP)


@pytest.mark.parametrize("name, counts", [("r2plus1d_18", 31_300_125), ("frames_resnet18", 11_176_512)])
def test_parameter_counts(name, counts):
  """torchvision's, without the classifier."""
  key, x = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((1, 8, 32, 32, 3), jnp.float32)
  params = jax.eval_shape(encoders.make(name).init, key, x)["params"]
  assert sum(v.size for v in jax.tree.leaves(params)) == counts


@pytest.mark.parametrize("name", SMALL)
def test_what_encoders_give(name):
  module, variables = started(name)
  out = module.apply(variables, CLIP, method="features")
  t = {"frames_resnet10": 4, "r2plus1d_10": 1, "video_vit_ti": 2}[name]
  assert out["grid"].shape[:2] == (2, t) and out["grid"].ndim == 5
  assert out["frames"].shape == (2, t, out["pooled"].shape[1])
  assert out["tokens"].ndim == 3 and all(v.ndim == 5 for k, v in out.items() if k.startswith("stage"))
  np.testing.assert_allclose(out["frames"].mean(1), out["pooled"], atol=1e-5)
  np.testing.assert_array_equal(module.apply(variables, CLIP), out["pooled"])


@pytest.mark.parametrize("name, options, sees", [
    ("frames_resnet10", {}, False), ("frames_resnet10", {"time": "transformer", "depth": 1}, True),
    ("r2plus1d_10", {"strides": (1, 1, 1, 1)}, True), ("video_vit_ti", {}, True)])
def test_who_sees_the_order(name, options, sees):
  module, variables = started(name, **options)
  forwards, backwards = (module.apply(variables, x) for x in (CLIP, CLIP[:, ::-1]))
  assert (np.abs(forwards - backwards).max() > 1e-4) == sees


def test_convolutions_over_space_and_time_are_those_in_three_dimensions():
  """The stem, before its norms, in the form of two correlations in NumPy."""
  module, variables = started("r2plus1d_10", strides=(1, 2, 2, 2), mean=(0.0,), std=(1.0,))
  space, time = (np.asarray(variables["params"][n]["kernel"]) for n in ("stem_space", "stem_time"))
  norm = lambda x: np.maximum(x, 0) / np.sqrt(1 + 1e-5)
  x = np.pad(CLIP, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
  y = norm(sum(x[:, :, i:i + 16, j:j + 24] @ space[i, j] for i in range(3) for j in range(3)))
  y = np.pad(y, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
  C = y.shape[-1]
  want = norm(sum(y[:, i:i + 4] @ time[i * C:(i + 1) * C] for i in range(3)))
  _, seen = module.apply(variables, CLIP, capture_intermediates=True, mutable=["intermediates"])
  got = np.maximum(seen["intermediates"]["stem_norm2"]["__call__"][0], 0)
  np.testing.assert_allclose(got, want, atol=1e-4)


def test_tubelets_and_back():
  x = video_vit.tubelets(CLIP, 2, 8)
  assert x.shape == (2, 12, 2 * 8 * 8 * 3)
  np.testing.assert_array_equal(x[1, 1 * 6 + 1 * 3 + 2], CLIP[1, 2:4, 8:16, 16:24].ravel())     # t, h, w = 1, 1, 2
  np.testing.assert_array_equal(video_vit.untubelets(x, 2, 8, (2, 2, 3)), CLIP)


def test_tubelets_that_are_kept_are_all_that_is_seen():
  module, variables = started("video_vit_ti")
  keep = jnp.array([[3, 7], [0, 11]])
  out = module.apply(variables, CLIP, keep=keep, method="features")
  hidden = np.ones((2, 12, 1), bool)
  np.put_along_axis(hidden, np.asarray(keep)[..., None], False, 1)
  other = video_vit.untubelets(np.where(hidden, 0.9, video_vit.tubelets(CLIP, 2, 8)), 2, 8, (2, 2, 3))
  np.testing.assert_array_equal(module.apply(variables, other, keep=keep, method="features")["tokens"], out["tokens"])
  assert out["tokens"].shape == (2, 2, 8) and "grid" not in out


@pytest.mark.parametrize("name", VARIANTS)
def test_integers_are_refused(name):
  key, x = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((1, 2, 32, 32, 3), jnp.uint8)
  with pytest.raises(errors.UsageError, match="uint8.*to_float"):
    jax.eval_shape(encoders.make(name).init, key, x)


@pytest.mark.parametrize("name, options, says", [
    ("frames_resnet10", {"time": "men"}, "unknown time 'men': did you mean mean"),
    ("frames_resnet10", {"time": "transformer", "heads": 5}, "width 32 with 5 heads"),
    ("r2plus1d_10", {"strides": (1, 1)}, "one over time for each of the 4 stages"),
    ("r2plus1d_10", {"stem": "smal"}, "did you mean small"),
    ("video_vit_ti", {"tube": 3}, "4 frames of 16x24 does not divide into tubelets of 3 frames of 8"),
    ("video_vit_ti", {"heads": 3}, "heads and 4 must divide the width")])
def test_wrong(name, options, says):
  with pytest.raises(errors.UsageError, match=says):
    started(name, **options)
