"""Methods that hide patches: what is hidden stays hidden, and targets and losses against NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders, errors, heads
from sslx.methods import data2vec, mae, masked, simmim

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0.1, 0.9, (3, 8, 12, 3)).astype(np.float32)
KEY = jax.random.key(0)
one = lambda key, image: jnp.asarray(image, float)


def vit(**options):
  return encoders.make("vit_ti", **{"patch": 2, "width": 8, "depth": 2, "heads": 2, "pool": "mean"} | options)


def started(method):
  """(params, state, views) of the images."""
  params, state = jax.jit(method.init)(KEY, {"image": IMAGES})
  return params, state, method.views(KEY, {"image": IMAGES})


def patches(image, patch):
  """[T, P] of one image, patch by patch."""
  H, W, _ = image.shape
  return np.stack([image[y:y + patch, x:x + patch].ravel() for y in range(0, H, patch) for x in range(0, W, patch)])


def standard(x, eps=1e-6):
  return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)


def pixels(encoder, normalise):
  """The targets [B, T, P] of the images."""
  x = np.stack([patches(v, 2) for v in (IMAGES.astype(float) - encoder.mean) / encoder.std])
  return standard(x) if normalise else x


def test_patchify_and_back():
  np.testing.assert_array_equal(masked.patchify(IMAGES, 2), [patches(v, 2) for v in IMAGES])
  several = IMAGES.reshape(1, 3, 8, 12, 3)
  np.testing.assert_array_equal(masked.unpatchify(masked.patchify(several, 4), 4, (2, 3)), several)


def test_normalised_is_exact_where_there_is_nothing_to_divide_by():
  flat = np.full((2, 5), 0.7, np.float32)
  assert np.abs(masked.normalised(jnp.asarray(flat))).max() < 1e-3
  x = RNG.normal(3, 2, (4, 7))
  np.testing.assert_allclose(masked.normalised(jnp.asarray(x)), standard(x), rtol=1e-4, atol=1e-5)
  assert masked.normalised(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("normalise", [True, False])
def test_what_is_right_is_painted_as_the_image(normalise):
  encoder, hide = vit(), jnp.asarray(RNG.uniform(size=(3, 4, 6)) < 0.5)
  out = masked.pixels(encoder, jnp.asarray(IMAGES), normalise)
  np.testing.assert_allclose(out, pixels(encoder, normalise), rtol=1e-3, atol=1e-4)
  shown = masked.pictures(encoder, jnp.asarray(IMAGES), hide, out, normalise)
  np.testing.assert_allclose(shown["output"], IMAGES, atol=1e-4)
  wrong = masked.painted(encoder, jnp.asarray(IMAGES), hide, out + 1, normalise)
  covered = np.asarray(hide).repeat(2, 1).repeat(2, 2)
  np.testing.assert_array_equal(wrong[~covered], IMAGES[~covered])
  np.testing.assert_array_equal(shown["input"][covered], 0.5)
  assert np.all(wrong[covered] > IMAGES[covered])


@pytest.mark.parametrize("method, count", [(mae.make(vit(), ratio=0.7, aug=one), 17),
                                           (simmim.make(vit(), ratio=0.6, aug=one), 16),
                                           (data2vec.make(vit(), ratio=0.6, smallest=4, top=1, aug=one), 14)])
def test_masks_have_one_count(method, count):
  first, second = (np.asarray(method.views(key, {"image": IMAGES})["mask"]) for key in jax.random.split(KEY))
  assert first.shape == (3, 4, 6) and first.dtype == bool
  np.testing.assert_array_equal(first.sum((1, 2)), count)
  assert not np.array_equal(first, second) and not np.array_equal(first[0], first[1])
  if count == 16:                                            # whole units of 2x2: 4 of the 6
    np.testing.assert_array_equal(first, first[:, ::2, ::2].repeat(2, 1).repeat(2, 2))


def test_mae_is_the_error_of_hidden_patches_and_sees_none_of_them():
  encoder = vit(pool="token", registers=1)
  method = mae.make(encoder, width=8, depth=1, heads=2, aug=one)
  params, state, views = started(method)
  hide = np.asarray(views["mask"])
  net = mae.Coder(encoder, (8, 1, 2), 18, (4, 6), 12)
  out, places = jax.jit(net.apply)({"params": params["net"]}, IMAGES, views["mask"])
  np.testing.assert_array_equal(places, [np.flatnonzero(m) for m in hide])
  loss = jax.jit(lambda image: method.loss(params, state, {**views, "image": image}, KEY, 0.0)[0])
  want = pixels(encoder, True)[np.arange(3)[:, None], places]
  np.testing.assert_allclose(loss(IMAGES), np.mean((out - want) ** 2), rtol=1e-4)

  covered = hide.repeat(2, 1).repeat(2, 2)[..., None]
  latent = jax.jit(lambda image: encoder.apply({"params": params["net"]["encoder"]}, image, method="features",
                                               keep=jnp.stack([jnp.flatnonzero(~m, size=6) for m in hide]))["tokens"])
  np.testing.assert_array_equal(latent(np.where(covered, 0.3, IMAGES)), latent(IMAGES))
  assert latent(IMAGES).shape == (3, 2 + 6, 8)
  assert np.abs(latent(np.where(covered, IMAGES, 0.3)) - latent(IMAGES)).max() > 1e-3
  shown = method.show(params, state, views)
  full = np.zeros((3, 24, 12), np.float32)
  full[np.arange(3)[:, None], places] = out
  np.testing.assert_allclose(shown["output"], masked.painted(encoder, jnp.asarray(IMAGES), views["mask"], full),
                             rtol=1e-4, atol=1e-5)


def test_the_token_decoder_knows_places_and_not_their_order():
  decoder = heads.TokenDecoder(5, width=8, depth=1, heads=2)
  x = jnp.asarray(RNG.normal(size=(1, 1 + 3, 4)), jnp.float32)
  seen, asked = jnp.array([[0, 7, 3]]), jnp.array([[5, 1]])
  variables = jax.jit(decoder.init, static_argnums=4)(KEY, x, seen, asked, (2, 4))
  run = jax.jit(lambda x, seen, asked: decoder.apply(variables, x, seen, asked, (2, 4)))
  out = run(x, seen, asked)
  assert out.shape == (1, 2, 5)
  order = jnp.array([2, 0, 1])
  again = run(jnp.concatenate([x[:, :1], x[:, 1:][:, order]], 1), seen[:, order], asked[:, ::-1])
  np.testing.assert_allclose(again[:, ::-1], out, atol=1e-5)
  assert np.abs(run(x, seen[:, order], asked) - out).max() > 1e-4
  assert np.abs(out[:, 0] - out[:, 1]).max() > 1e-4


@pytest.mark.parametrize("normalise", [True, False])
def test_simmim_is_the_absolute_error_of_hidden_patches(normalise):
  encoder = vit(depth=1)
  method = simmim.make(encoder, normalise=normalise, aug=one)
  params, state, views = started(method)
  hide = np.asarray(views["mask"])
  loss = jax.jit(lambda head, image: method.loss({**params, "head": head}, state, {**views, "image": image}, KEY, 0.0))
  bias = RNG.normal(size=12).astype(np.float32)
  constant = {"dense1": {"kernel": jnp.zeros((8, 12)), "bias": bias}}                   # says the same everywhere
  target = pixels(encoder, normalise)[hide.reshape(3, -1)]                              # [hidden, P]
  value, (_, metrics) = loss(constant, IMAGES)
  np.testing.assert_allclose(value, np.mean(np.abs(bias - target)), rtol=1e-4)
  np.testing.assert_allclose(metrics["l1_of_mean"], np.mean(np.abs(target.mean(0) - target)), rtol=1e-4)
  covered = hide.repeat(2, 1).repeat(2, 2)[..., None]
  np.testing.assert_array_equal(loss(constant, np.where(covered, IMAGES, 0.3))[0], value)          # no seen patch
  assert loss(params["head"], np.where(covered, IMAGES, 0.3))[0] != loss(params["head"], IMAGES)[0]


def test_simmim_sees_its_fill_where_it_is_masked():
  encoder = vit(depth=1)
  method = simmim.make(encoder, aug=one)
  params, state, views = started(method)
  show = lambda image: method.show(params, state, {**views, "image": image})["output"]
  covered = np.asarray(views["mask"]).repeat(2, 1).repeat(2, 2)[..., None]
  np.testing.assert_array_equal(np.where(covered, show(jnp.asarray(IMAGES)), 0),
                                np.where(covered, show(jnp.where(covered, 0.3, IMAGES)), 0))


def test_data2vec_learns_what_the_moved_teacher_says_of_the_whole_image():
  encoder = vit(depth=3)
  method = data2vec.make(encoder, top=2, beta=0.5, momentum=0.8, momentum_end=0.9, climb=0.5, aug=one)
  params, state, views = started(method)
  student = jax.tree.map(lambda p: p + 0.3 * RNG.normal(size=p.shape).astype(p.dtype), params)
  value, (after, metrics) = jax.jit(method.loss)(student, state, views, KEY, 0.25)      # halfway up the climb
  teacher = jax.tree.map(lambda t, s: 0.85 * t + 0.15 * s, state["teacher"], student["net"]["encoder"])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after["teacher"], teacher)

  features = jax.jit(lambda p, *mask: encoder.apply({"params": p}, IMAGES, method="features", **dict(
      zip(("mask", "fill"), mask, strict=False))))
  whole = features(teacher)
  target = np.mean([standard(np.asarray(whole[f"stage{i}"], float)) for i in (2, 3)], 0)           # [B, h, w, D]
  grid = features(student["net"]["encoder"], views["mask"], student["net"]["fill"])["grid"]
  out = np.asarray(grid) @ student["head"]["dense1"]["kernel"] + student["head"]["dense1"]["bias"]
  d = np.abs(out - target)[np.asarray(views["mask"])]
  np.testing.assert_allclose(value, np.mean(np.where(d < 0.5, d**2 / (2 * 0.5), d - 0.25)), rtol=1e-4)
  np.testing.assert_allclose(metrics["target_std"], target.std((0, 1, 2)).mean(), rtol=1e-3)
  shown = method.show(student, state, views)
  assert all(v.shape == (3, *s, 3) for v, s in zip(shown.values(), [(8, 12), (8, 12), (4, 6), (4, 6)], strict=True))
  seen = ~np.asarray(views["mask"])
  np.testing.assert_array_equal(shown["output"][seen], shown["target"][seen])


def test_colors_are_principal_directions():
  x = RNG.normal(size=(2, 3, 4, 6)) * [9, 5, 3, 0.1, 0.1, 0.1]
  mean = x.mean((0, 1, 2))
  first, second = masked.colored(jnp.asarray(x), jnp.asarray(mean + 2 * (x - mean)))
  flat = (x - mean).reshape(-1, 6)
  want = flat @ np.linalg.svd(flat, full_matrices=False)[2][:3].T
  for channel in range(3):                                   # up to the sign of a direction
    seen = np.asarray(first[..., channel]).ravel()
    assert abs(np.corrcoef(seen, want[:, channel])[0, 1]) > 0.9999 and seen.min() == 0 and abs(seen.max() - 1) < 1e-5
  center = np.asarray(first).mean((0, 1, 2))
  np.testing.assert_allclose(second, (center + 2 * (first - center)).clip(0, 1), atol=1e-4)        # twice as far


class Plain(nn.Module):
  """An encoder with neither patches nor maps."""
  def __call__(self, x, train=False):
    return x.mean((1, 2))


def test_what_cannot_be():
  for module in (mae, simmim, data2vec):
    for encoder in (encoders.make("resnet10"), Plain()):
      with pytest.raises(errors.UsageError, match="set encoder.name to a ViT"):
        module.make(encoder)
    with pytest.raises(errors.UsageError, match="ratio is 1"):
      module.make(vit(depth=6), ratio=1.0)
  for module in (simmim, data2vec):
    with pytest.raises(errors.UsageError, match="set encoder.pool to mean"):
      module.make(vit(pool="token"))
  with pytest.raises(errors.UsageError, match="top is 3"):
    data2vec.make(vit(), top=3)
  with pytest.raises(errors.UsageError, match="4x6 patches does not divide into units of 4"):
    simmim.make(vit(), unit=4, aug=one).views(KEY, {"image": IMAGES})
