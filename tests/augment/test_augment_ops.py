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

START = np.array([(0, 0), (8, 0), (8, 6), (0, 6)])                               # the corners of 6 x 8 pixels
END = START + np.array([[(0, 0)] * 4, [(1, 2), (-2, 0.5), (0, -1), (0.5, 1)], [(-3, 1), (1, -2), (-2.5, -1), (2, 0)]])
BOX = [(0, 1, 5), (0, 2, 7), (6, 5, 1), (8, 4, 1)]                                   # top, left, height, width


def crop(size, **method):
  return lambda x, *box: augment.crop_resize(x, box, size, **method)


def padded(mode):
  return lambda x, top, left: augment.pad_and_crop(x, top, left, mode=mode)


OPS = {  # name: (ours(image, *amounts), NumPy's, three images' amounts)
  "brightness": (augment.adjust_brightness, ref.brightness, [(0.0, 1.7, 0.6)]),
  "contrast": (augment.adjust_contrast, ref.contrast, [(0.0, 1.9, 0.3)]),
  "saturation": (augment.adjust_saturation, ref.saturation, [(0.0, 1.8, 0.5)]),
  "hue": (augment.adjust_hue, ref.hue, [(0.0, 0.23, -0.5)]),
  "sharpness": (augment.adjust_sharpness, ref.sharpness, [(0.0, 0.6, 2.5)]),
  "invert": (augment.invert, lambda x: 1 - x, []),
  "solarize": (augment.solarize, ref.solarize, [(0.0, 0.4, 1.1)]),
  "posterize": (augment.posterize, ref.posterize, [(0, 2, 5)]),
  "autocontrast": (augment.autocontrast, ref.autocontrast, []),
  "blur": (lambda x, s: augment.gaussian_blur(x, s, kernel_size=5), lambda x, s: ref.blur(x, s, 5), [(0.1, 2.0, 0.8)]),
  "blur_wide": (lambda x, s: augment.gaussian_blur(x, s, kernel_size=11), lambda x, s: ref.blur(x, s, 11),
                [(3.0, 0.5, 1.0)]),
  "rotate": (augment.rotate, lambda x, a: ref.affine(x, -a, (0, 0), 1, (0, 0)), [(15.0, 90.0, -130.0)]),
  "affine": (lambda x, a, tx, ty, s, sx, sy: augment.affine(x, a, (tx, ty), s, (sx, sy)),
             lambda x, a, tx, ty, s, sx, sy: ref.affine(x, a, (tx, ty), s, (sx, sy)),
             [(25.0, -70.0, 180.0), (1.5, 0.0, -3.0), (-0.7, 0.0, 2.0), (1.2, 0.7, 1.0), (10.0, 0.0, -20.0),
              (-5.0, 0.0, 15.0)]),
  "perspective": (lambda x, end: augment.perspective(x, START, end), lambda x, end: ref.perspective(x, START, end),
                  [END]),
  "perspective_back": (lambda x, start: augment.perspective(x, start, START),
                       lambda x, start: ref.perspective(x, start, START), [END]),
  "elastic": (augment.elastic, ref.elastic, [RNG.normal(0, 2, (3, 6, 8, 2))]),
  "crop_down": (crop((2, 3)), lambda x, *box: ref.crop_resize(x, box, (2, 3)),
                [(0, 1, 0), (0, 2, 3), (6, 5, 2), (8, 4, 5)]),
  "crop_up": (crop((9, 7)), lambda x, *box: ref.crop_resize(x, box, (9, 7)), BOX),
  "crop_bicubic": (crop((4, 7), method="bicubic"), lambda x, *box: ref.crop_bicubic(x, box, (4, 7)), BOX),
  "crop_nearest": (crop((4, 7), method="nearest"), lambda x, *box: ref.crop_nearest(x, box, (4, 7)), BOX),
  **{f"pad_{mode}": (padded(mode), lambda x, t, l, mode=mode: ref.pad_and_crop(x, t, l, mode), [(0, 3, 8), (7, 4, 1)])
     for mode in ("constant", "edge", "reflect")},
  "erase": (lambda x, *box: augment.erase(x, box, value=0.3),
            lambda x, *box: np.where(ref.box(x, *box), 0.3, x), [(0, -2, 5), (0, 2, 7), (6, 5, 9), (8, 0, 1)]),
  "mixup": (lambda x, w: augment.mixup(x, x[..., ::-1, :, :], w), lambda x, w: w * x + (1 - w) * x[::-1],
            [(0.0, 0.3, 1.0)]),
  "cutmix": (lambda x, *box: augment.cutmix(x, x[..., ::-1, :, :], box),
             lambda x, *box: np.where(ref.box(x, *box), x[::-1], x), [(0, -2, 4), (0, 2, 7), (6, 5, 9), (8, 0, 1)]),
}


@pytest.mark.parametrize("name", OPS)
def test_golden(name):
  ours, reference, amounts = OPS[name]
  amounts = [np.array(a) for a in amounts]
  def run(images, *amounts):
    every = {c: ours(x, *amounts) for c, x in images.items()}
    return every, ours(images[3], *(a[1] for a in amounts))[1], ours(images[5][2], *(a[2] for a in amounts))
  every, one, alone = jax.jit(run, compiler_options=QUICK)(IMAGES, *amounts)
  for c, x in IMAGES.items():
    want = np.stack([reference(x[i].astype(float), *(a[i] for a in amounts)) for i in range(3)])
    np.testing.assert_allclose(every[c], want, atol=3e-6)                                     # an amount an image
    if c == 3:
      np.testing.assert_allclose(one, want[1], atol=3e-6)                                     # one for all
    if c == 5:
      np.testing.assert_allclose(alone, want[2], atol=3e-6)                                   # no batch


def test_identities():
  x = jnp.asarray(IMAGES[3])
  def run(x):
    blends = augment.adjust_brightness, augment.adjust_contrast, augment.adjust_saturation, augment.adjust_sharpness
    exact = [augment.pad_and_crop(x, 4, 4), augment.resize(x, (6, 8), method="nearest"), augment.erase(x, (1, 2, 0, 3))]
    near = [augment.adjust_hue(x, 1.0), augment.affine(x, 0.0), augment.perspective(x, START, START),
            augment.elastic(x, jnp.zeros((6, 8, 2))), augment.resize(x, (6, 8)),
            augment.resize(x, (6, 8), method="bicubic")]
    return exact, [f(x, 1.0) for f in blends], near
  for outs, atol in zip(jax.jit(run, compiler_options=QUICK)(x), (0, 1.2e-7, 3e-6), strict=True):
    for out in outs:
      np.testing.assert_allclose(out, x, atol=atol, rtol=0)


def test_resize_is_the_crop_of_all():
  want = ref.crop_resize(IMAGES[5][0].astype(float), (0, 0, 6, 8), (4, 4))
  np.testing.assert_allclose(jax.jit(lambda x: augment.resize(x, (4, 4)))(IMAGES[5][0]), want, atol=1e-6)


def test_flips_and_quarter_turns():
  x, square = IMAGES[5], np.random.default_rng(1).random((5, 7, 7, 2), np.float32)
  assert np.array_equal(augment.flip_left_right(x), np.flip(x, 2))
  assert np.array_equal(augment.flip_up_down(x), np.flip(x, 1))
  assert np.array_equal(augment.rot90(x, 3), np.rot90(x, 3, (1, 2)))
  k = np.array([0, 1, 2, 3, -1])
  want = np.stack([np.rot90(v, i) for v, i in zip(square, k, strict=True)])
  assert np.array_equal(jax.jit(augment.rot90)(square, k), want)
  assert np.array_equal(augment.rot90(square[0], jnp.asarray(1)), np.rot90(square[0]))
  with pytest.raises(ValueError, match="not square"):
    augment.rot90(x, np.array([0, 1, 2]))


@pytest.mark.parametrize("size, rows, cols", [((2, 3), (2, 4), (2, 5)), ((6, 8), (0, 6), (0, 8)),
                                              ((3, 5), (2, 5), (2, 7))])
def test_center_crop(size, rows, cols):
  assert np.array_equal(augment.center_crop(IMAGES[5], size), IMAGES[5][:, slice(*rows), slice(*cols)])


def test_center_crop_adds_black():
  want = np.pad(IMAGES[3], [(0, 0), (1, 2), (0, 0), (0, 0)])[:, :, 1:7]
  assert np.array_equal(augment.center_crop(IMAGES[3], (9, 6)), want)


def test_equalize():
  """Of photos, whose values are whole 255ths, exactly; a flat channel and an image of few pixels keep their values."""
  rng = np.random.default_rng(2)
  x = np.round(255 * rng.random((2, 37, 45, 3)) ** 2).astype(np.float32) / 255
  x[0, ..., 1], x[1, :20, ..., 2] = 0.2, 1
  small = np.float32(x[:, :6, :8])
  out, alone, kept = jax.jit(lambda x, y: (augment.equalize(x), augment.equalize(x[1]), augment.equalize(y)))(x, small)
  np.testing.assert_allclose(out, [ref.equalize(v.astype(float)) for v in x], atol=1e-7)
  np.testing.assert_allclose(kept, small, atol=1e-7)
  assert np.array_equal(alone, out[1]) and np.abs(out - x).max() > 0.2


def test_wrong_names_are_refused():
  with pytest.raises(ValueError, match="did you mean bicubic"):
    augment.resize(IMAGES[3], (4, 4), method="cubic")
  with pytest.raises(ValueError, match="reflect, not mirror"):
    augment.pad_and_crop(IMAGES[3], 0, 0, mode="mirror")


@pytest.mark.parametrize("kernel", [4, 13])
def test_blur_refuses_kernels_that_do_not_fit(kernel):
  with pytest.raises(ValueError, match=f"is {kernel}; it is odd"):
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
