"""Every deterministic operation against NumPy from its definition: amounts for all or one an image, any channels."""

import augment_numpy as ref
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import augment, errors

QUICK = {"xla_backend_optimization_level": 0}                        # less time to compile
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
  x, amounts = IMAGES[channels], [np.array(a) for a in amounts]
  want = np.stack([reference(x[i].astype(float), *(a[i] for a in amounts)) for i in range(3)])
  def run(x, *amounts):
    return ours(x, *amounts), ours(x, *(a[1] for a in amounts))[1], ours(x[2], *(a[2] for a in amounts))
  every, one, alone = jax.jit(run, compiler_options=QUICK)(x, *amounts)
  np.testing.assert_allclose(every, want, atol=3e-6)                                          # an amount an image
  np.testing.assert_allclose(one, want[1], atol=3e-6)                                         # one for all
  np.testing.assert_allclose(alone, want[2], atol=3e-6)                                       # no batch


def test_identities():
  x = jnp.asarray(IMAGES[3])
  for f in (augment.adjust_brightness, augment.adjust_contrast, augment.adjust_saturation):
    np.testing.assert_allclose(jax.jit(f)(x, 1.0), x, atol=1.2e-7)
  np.testing.assert_allclose(jax.jit(augment.adjust_hue)(x, 1.0), x, atol=2e-6)
  np.testing.assert_allclose(jax.jit(augment.affine)(x, 0.0), x, atol=1e-6)
  np.testing.assert_allclose(jax.jit(augment.resize, static_argnums=1)(x, x.shape[1:3]), x, atol=1e-6)
  assert np.array_equal(augment.flip_left_right(x), np.flip(IMAGES[3], 2))


def test_resize_is_the_crop_of_all():
  want = ref.crop_resize(IMAGES[5][0].astype(float), (0, 0, 6, 8), (4, 4))
  np.testing.assert_allclose(jax.jit(lambda x: augment.resize(x, (4, 4)))(IMAGES[5][0]), want, atol=1e-6)


@pytest.mark.parametrize("kernel", [4, 13])
def test_blur_refuses_kernels_that_do_not_fit(kernel):
  with pytest.raises(ValueError, match=f"not {kernel}"):
    augment.gaussian_blur(IMAGES[1], 1.0, kernel_size=kernel)


def test_positions_are_exact_in_bfloat16():
  """Whole pixels beyond 256 have no bfloat16; the weights do."""
  x = jnp.tile(jnp.arange(520, dtype=jnp.float32) / 520, (2, 1))[..., None]
  for f in (lambda x: augment.crop_resize(x, (0, 401, 2, 21), (2, 3)), lambda x: augment.affine(x, 0.0, (101.0, 0.0))):
    out, want = jax.jit(lambda x, f=f: (f(x.astype(jnp.bfloat16)), f(x)))(x)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(float), want, atol=0.01)


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
