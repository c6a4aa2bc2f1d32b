"""Encoders of sound: their trunks see the picture of the waveform, and what does not fit is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders, errors
from sslx.augment import spectrum

FRONT = {"rate": 4000, "window": 64, "hop": 30, "mels": 8}
MAKE = {"audio_resnet10": {"width": 4, "stem": "small"},
        "audio_vit_ti": {"patch": 4, "width": 16, "depth": 1, "heads": 2}}
X = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 500)).astype(np.float32)


@pytest.mark.parametrize("name", MAKE)
def test_the_trunk_sees_the_picture(name):
  encoder = encoders.make(name, **FRONT, **MAKE[name])
  variables = jax.jit(encoder.init)(jax.random.key(0), X)
  features = encoder.apply(variables, X, method="features")
  picture = encoder.picture(X)
  assert picture.shape == (2, 8, 16, 1)
  level = spectrum.log_mel(X, rate=4000, size=64, hop=30, mels=8)
  np.testing.assert_allclose(picture[..., 0], spectrum.picture(level)[..., :16], atol=1e-6)
  trunk = {k: v["trunk"] for k, v in variables.items()}
  want = encoder.trunk.apply(trunk, picture, method="features")
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), features, want)
  pooled = encoder.apply(variables, X)
  assert pooled.ndim == 2 and np.array_equal(pooled, features["pooled"])
  np.testing.assert_allclose(encoder.apply(variables, 0.1 * X), pooled, atol=1e-4)          # loudness does not count


def test_mean_and_maximum_side_by_side():
  encoder = encoders.make("audio_resnet10", **FRONT, **MAKE["audio_resnet10"], pool="mean_max")
  found = jax.jit(lambda x: encoder.init_with_output(jax.random.key(0), x, method="features")[0])(X)
  maps = np.asarray(found["grid"])
  np.testing.assert_allclose(found["pooled"], np.concatenate([maps.mean((1, 2)), maps.max((1, 2))], 1), atol=1e-6)
  with pytest.raises(errors.UsageError, match="unknown pool 'mean_mx': did you mean mean_max"):
    encoders.make("audio_resnet10", pool="mean_mx")


def test_frames_beyond_the_last_patch_are_cut():
  encoder = encoders.make("audio_vit_ti", **FRONT, **MAKE["audio_vit_ti"])
  assert jax.eval_shape(encoder.picture, jnp.zeros((1, 599))).shape == (1, 8, 16, 1)        # of 19 frames
  with pytest.raises(errors.UsageError, match="100 samples are less than 4 frames of encoder.hop 30"):
    encoder.picture(X[:, :100])
  with pytest.raises(errors.UsageError, match="int16.*to_float"):
    encoder.picture(X.astype(np.int16))


@pytest.mark.parametrize("options, message", [
  ({"hop": 33}, "encoder.hop is 33: it must be from 1 to half"), ({"patch": 3}, "mels is 8: patches of 3"),
  ({"mels": 40}, "of 40 mel bands are empty"),
  ({"high": 2100.0}, "mel bands from 0 to 2100 Hz"), ({"patch": 4, "heads": 3}, "heads must divide"),
])
def test_wrong(options, message):
  with pytest.raises(errors.UsageError, match=message):
    encoders.make("audio_vit_ti", **FRONT | MAKE["audio_vit_ti"] | options)
