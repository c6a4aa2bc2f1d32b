"""Methods that give images back: what is hidden from them, and what their losses weigh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import Conv

from sslx import encoders, errors
from sslx.augment import lab
from sslx.methods import autoencoder, colorization, context_encoder

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
  each = np.mean((0.5 - IMAGES) ** 2, (1, 2, 3))
  np.testing.assert_allclose(metrics["psnr"], np.mean(-10 * np.log10(each)), rtol=1e-5)
  shown = method.show(params, state, views)
  assert list(shown) == ["original", "input", "output"] and np.allclose(shown["output"], 0.5)
  with pytest.raises(errors.UsageError, match="did you mean mask"):
    autoencoder.make(small(), corruption="masks")


def test_context_encoder_hides_a_share():
  for region in ("center", "random"):
    method = context_encoder.make(small(), region=region, share=0.25, aug=one)
    hidden = np.asarray(method.views(KEY, {"image": IMAGES})["hidden"][:, 0])
    np.testing.assert_array_equal(hidden.sum((1, 2)), 64)
    assert (hidden[:, 4:12, 4:12].all()) == (region == "center")
    np.testing.assert_array_equal(context_encoder.around(jnp.asarray(hidden[:1]), 2)[0], ring(hidden[0], 2))


def ring(hidden, overlap):
  """Pixels seen within a square of `overlap` about a hidden one, one by one."""
  near = np.zeros_like(hidden)
  for y, x in np.argwhere(hidden):
    near[max(0, y - overlap):y + overlap + 1, max(0, x - overlap):x + overlap + 1] = True
  return near & ~hidden


def test_context_encoder_weighs_the_margin_and_never_sees_the_hidden():
  method = context_encoder.make(small(), objective="l2", overlap=1, overlap_weight=10.0, aug=one)
  params, state = method.init(KEY, {"image": IMAGES})
  views = method.views(KEY, {"image": IMAGES})
  out = method.show(params, state, views)["output"]
  hidden = np.asarray(views["hidden"][:, 0])
  other = {**views, "image": (jnp.where(views["hidden"][..., None], 0.3, views["image"][0]),)}
  np.testing.assert_array_equal(out, method.show(params, state, other)["output"])       # the hidden pixels do not leak
  params["net"]["decoder"]["pixels"] = jax.tree.map(jnp.zeros_like, params["net"]["decoder"]["pixels"])
  value, (_, metrics) = method.loss(params, state, views, KEY, 0.0)
  weight = hidden + 10.0 * ring(hidden[0], 1)
  np.testing.assert_allclose(value, np.sum(weight[..., None] * (0.5 - IMAGES) ** 2) / weight.sum() / 3, rtol=1e-5)
  np.testing.assert_allclose(metrics["l2"], np.mean((0.5 - IMAGES[hidden]) ** 2), rtol=1e-5)


def gradients(**options):
  method = context_encoder.make(Conv(), aug=one, width=4, critic_width=4, **options)
  params, state = method.init(KEY, {"image": IMAGES})
  views = method.views(KEY, {"image": IMAGES})
  return jax.jit(jax.grad(lambda p: method.loss(p, state, views, KEY, 0.0)[0]))(params)


def same(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)


def test_context_encoder_keeps_painter_and_critic_apart():
  plain = gradients(objective="l2")
  deaf = gradients(objective="joint", lambda_rec=1.0, lambda_adv=0.0)
  moved = gradients(objective="joint", lambda_rec=0.0, lambda_adv=3.0)
  none = gradients(objective="joint", lambda_rec=0.0, lambda_adv=0.0)
  assert set(plain) == {"net"} and set(deaf) == {"net", "critic"}
  same(plain["net"], deaf["net"])                                        # nothing of the critic's loss in the painter
  assert all(not np.any(g) for g in jax.tree.leaves(none["net"]))        # exactly
  same(deaf["critic"], moved["critic"])                                  # nothing of the painter's in the critic
  assert max(np.abs(g).max() for g in jax.tree.leaves(moved["net"])) > 0


def test_soft_colors_and_the_annealed_mean():
  bins = lab.bins()
  ab = RNG.uniform(-40, 40, (7, 2))
  index, share = colorization.soft(jnp.asarray(ab, jnp.float32), bins, 5.0)
  for one_ab, i, w in zip(ab, np.asarray(index), np.asarray(share), strict=True):
    distance = np.linalg.norm(bins - one_ab, axis=1)
    np.testing.assert_array_equal(i, np.argsort(distance)[:5])
    want = np.exp(-distance[i] ** 2 / 50)
    np.testing.assert_allclose(w, want / want.sum(), rtol=1e-3)
  logits = RNG.normal(size=(3, len(bins)))
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  sharp = p ** (1 / 0.38)                                                # as in the paper, of probabilities
  want = (sharp / sharp.sum(1, keepdims=True)) @ bins
  np.testing.assert_allclose(colorization.annealed_mean(jnp.asarray(logits), bins, 0.38), want, rtol=1e-3, atol=1e-3)


def test_rare_colors_weigh_more():
  prior = np.array([0.7, 0.2, 0.1, 0.0])
  w = np.asarray(colorization.weights(jnp.asarray(prior), 0.5))
  np.testing.assert_allclose(w @ prior, 1, rtol=1e-6)
  np.testing.assert_allclose(w[3] / w[0], (0.35 + 0.125) / 0.125, rtol=1e-5)
  np.testing.assert_allclose(colorization.weights(jnp.asarray(prior), 1.0), 1, rtol=1e-6)


@pytest.mark.slow
def test_colorization_by_squared_error_and_of_grey_images():
  method = colorization.make(small(), objective="l2", reduce=2, width=4, aug=one)
  wide = np.concatenate([IMAGES, IMAGES[:, ::-1]], 2)                                   # not square
  for images in (wide, wide[..., :1]):
    params, state = method.init(KEY, {"image": images})
    params["net"]["decoder"]["pixels"] = jax.tree.map(jnp.zeros_like, params["net"]["decoder"]["pixels"])
    views = method.views(KEY, {"image": images})
    value, (_, metrics) = method.loss(params, state, views, KEY, 0.0)
    away = np.linalg.norm(np.asarray(views["ab"]), axis=-1)
    assert views["ab"].shape == (4, 1, 8, 16, 2) and (away.max() > 1) == (images.shape[-1] == 3)
    np.testing.assert_allclose(value, np.mean(away**2) / colorization.SPREAD**2 / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["auc"], np.mean(np.maximum(1 - away / 150, 0)), rtol=1e-5)
    assert method.show(params, state, views)["output"].shape == (4, 16, 32, 3)


def test_auc_is_the_area_under_the_share_within_each_threshold():
  away = RNG.normal(0, 40, (500, 2))
  within = [np.mean(np.linalg.norm(away, axis=1) <= t) for t in np.linspace(0, 150, 3001)]
  np.testing.assert_allclose(colorization.auc(jnp.asarray(away)), np.mean(within), atol=1e-3)
  often = np.where(np.arange(500) < 400, 0.8, 0.2)                       # two colours, four places to one
  within = [np.mean([np.mean(np.linalg.norm(a, axis=1) <= t) for a in (away[:400], away[400:])])
            for t in np.linspace(0, 150, 3001)]
  np.testing.assert_allclose(colorization.auc(jnp.asarray(away), 1 / often), np.mean(within), atol=1e-3)


@pytest.mark.parametrize("make, options, says", [
    (context_encoder.make, {"share": 1.0}, "share is 1"), (context_encoder.make, {"overlap": -1}, "overlap -1"),
    (autoencoder.make, {"corruption": "mask", "amount": 2.0}, "amount is 2"),
    (colorization.make, {"reduce": 0}, "reduce"), (colorization.make, {"objective": "l3"}, "objective")])
def test_wrong_options(make, options, says):
  with pytest.raises(errors.UsageError, match=says):
    make(small(), **options)
  with pytest.raises(errors.UsageError, match="encoder.pool to mean"):
    context_encoder.make(encoders.make("vit_ti"))


def test_colorization_loss_is_the_weighted_cross_entropy_and_sees_no_color():
  method = colorization.make(small(), reduce=4, width=4, kept=0.5, aug=one)
  params, state = method.init(KEY, {"image": IMAGES})
  views = method.views(KEY, {"image": IMAGES})
  assert views["ab"].shape == (4, 1, 4, 4, 2)
  np.testing.assert_array_equal(views["grey"][..., 0], views["grey"][..., 2])
  params["net"]["decoder"]["pixels"] = jax.tree.map(jnp.zeros_like, params["net"]["decoder"]["pixels"])
  value, (after, _) = method.loss(params, state, views, KEY, 0.0)
  bins = lab.bins()
  near = np.argmin(np.linalg.norm(np.asarray(views["ab"])[..., None, :] - bins, axis=-1), -1).ravel()
  index, share = (np.asarray(v).ravel() for v in colorization.soft(views["ab"], bins, 5.0))
  prior = 0.5 / len(bins) + 0.5 * np.bincount(index, share, len(bins)) / len(near)           # smooth, as the paper's
  np.testing.assert_allclose(after["prior"], prior, rtol=1e-5)
  w = np.asarray(colorization.weights(jnp.asarray(prior), 0.5))
  np.testing.assert_allclose(value, np.mean(w[near]) * np.log(len(bins)), rtol=1e-4)
