"""Every deterministic operation against NumPy from its definition: amounts for all or one an image, any channel count."""

import augment_numpy as ref
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import augment, errors

RNG = np.random.default_rng(0)
IMAGES = {c: RNG.random((3, 6, 8, c)).astype(np.float32) for c in (1, 3, 5)}
IMAGES[3][0, 0, :4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 1]]            # no hue, and a tie of two channels

OPS = {  # name: (ours(image, *amounts), NumPy's, three images' amounts)
  "brightness": (augment.adjust_brightness, ref.brightness, [(0.0, 1.7, 0.6)]),
  "contrast": (augment.adjust_contrast, ref.contrast, [(0.0, 1.9, 0.3)]),
  "saturation": (augment.adjust_saturation, ref.saturation, [(0.0, 1.8, 0.5)]),
  "hue": (augment.adjust_hue, ref.hue, [(0.0, 0.23, -0.5)]),
  "blur": (lambda x, s: augment.gaussian_blur(x, s, kernel_size=5), lambda x, s: ref.blur(x, s, 5), [(0.1, 2.0, 0.8)]),
  "blur_wide": (lambda x, s: augment.gaussian_blur(x, s, kernel_size=11), lambda x, s: ref.blur(x, s, 11),
                [(3.0, 0.5, 1.0)]),
  "affine": (lambda x, a, tx, ty, s, sx, sy: augment.affine(x, a, (tx, ty), s, (sx, sy)),
             lambda x, a, tx, ty, s, sx, sy: ref.affine(x, a, (tx, ty), s, (sx, sy)),
             [(25.0, -70.0, 180.0), (1.5, 0.0, -3.0), (-0.7, 0.0, 2.0), (1.2, 0.7, 1.0), (10.0, 0.0, -20.0),
              (-5.0, 0.0, 15.0)]),
  "crop_down": (lambda x, *box: augment.crop_resize(x, box, (2, 3)), lambda x, *box: ref.crop_resize(x, box, (2, 3)),
                [(0, 1, 0), (0, 2, 3), (6, 5, 2), (8, 4, 5)]),
  "crop_up": (lambda x, *box: augment.crop_resize(x, box, (9, 7)), lambda x, *box: ref.crop_resize(x, box, (9, 7)),
              [(0, 1, 5), (0, 2, 7), (6, 5, 1), (8, 4, 1)]),
}


@pytest.mark.parametrize("channels", IMAGES)
@pytest.mark.parametrize("name", OPS)
def test_golden(name, channels):
  ours, reference, amounts = OPS[name]
  x, ours = IMAGES[channels], jax.jit(ours)
  want = np.stack([reference(x[i].astype(float), *(a[i] for a in amounts)) for i in range(3)])
  assert not np.allclose(want[1], x[1, :want.shape[1], :want.shape[2]] if want.shape != x.shape else x[1], atol=0.02) \
      or (name in ("saturation", "hue") and channels != 3)
  np.testing.assert_allclose(ours(x, *map(np.array, amounts)), want, atol=3e-6)               # one an image
  np.testing.assert_allclose(ours(x, *(a[1] for a in amounts))[1], want[1], atol=3e-6)        # one for all
  if channels == 3:
    np.testing.assert_allclose(ours(x[2], *(a[2] for a in amounts)), want[2], atol=3e-6)      # no batch


def test_identities():
  x = jnp.asarray(IMAGES[3])
  for f in (augment.adjust_brightness, augment.adjust_contrast, augment.adjust_saturation):
    assert jnp.array_equal(f(x, 1.0), x)
  np.testing.assert_allclose(augment.adjust_hue(x, 1.0), x, atol=2e-6)
  np.testing.assert_allclose(augment.affine(x, 0.0), x, atol=1e-6)
  np.testing.assert_allclose(augment.resize(x, x.shape[1:3]), x, atol=1e-6)
  assert jnp.array_equal(augment.flip_left_right(x), np.flip(IMAGES[3], 2))


def test_resize_is_the_crop_of_all():
  want = ref.crop_resize(IMAGES[5][0].astype(float), (0, 0, 6, 8), (4, 4))
  np.testing.assert_allclose(augment.resize(IMAGES[5][0], (4, 4)), want, atol=1e-6)


@pytest.mark.parametrize("kernel", [4, 13])
def test_blur_refuses_kernels_that_do_not_fit(kernel):
  with pytest.raises(ValueError, match=f"not {kernel}"):
    augment.gaussian_blur(IMAGES[1], 1.0, kernel_size=kernel)


def test_positions_are_exact_in_bfloat16():
  """Whole pixels beyond 256 have no bfloat16; the weights do."""
  x = jnp.tile(jnp.arange(520, dtype=jnp.float32) / 520, (2, 1))[..., None]
  for f in (lambda x: augment.crop_resize(x, (0, 401, 2, 21), (2, 3)), lambda x: augment.affine(x, 0.0, (101.0, 0.0))):
    out = f(x.astype(jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(float), f(x), atol=0.01)


def test_to_grayscale():
  np.testing.assert_allclose(augment.to_grayscale(IMAGES[3])[..., 1], ref.grey(IMAGES[3].astype(float)), atol=1e-6)
  assert augment.to_grayscale(IMAGES[3]).shape == IMAGES[3].shape
  assert augment.to_grayscale(IMAGES[5]) is IMAGES[5]


def test_to_float():
  for dtype in (np.uint8, np.uint16, np.int8, np.int32):
    top = np.iinfo(dtype).max
    out = augment.to_float(np.array([0, top // 2, top], dtype))
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, [0, top // 2 / top, 1], rtol=1e-6)
  assert augment.to_float(jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16


def test_normalize():
  mean, std = (0.1, 0.2, 0.6), (0.5, 0.25, 0.75)
  np.testing.assert_allclose(augment.normalize(IMAGES[3], mean, std), (IMAGES[3] - np.array(mean)) / std, atol=1e-6)
  np.testing.assert_allclose(augment.normalize(IMAGES[1], mean, std), (IMAGES[1] - 0.3) / 0.5, atol=1e-6)
  np.testing.assert_allclose(augment.normalize(IMAGES[5], (0.4,), (2.0,)), (IMAGES[5] - 0.4) / 2, atol=1e-6)
  with pytest.raises(errors.UsageError, match="uint8.*to_float"):
    augment.normalize(np.zeros((1, 2, 2, 3), np.uint8), mean, std)
