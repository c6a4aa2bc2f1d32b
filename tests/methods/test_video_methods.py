"""Methods of video: one draw for all frames of a clip, which frames are taken, and targets against NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders, errors
from sslx.augment import recipes, video
from sslx.encoders import video_vit
from sslx.methods import clips, frame_prediction, simclr, temporal_order, video_contrast, video_mae

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
NUMBERS = np.broadcast_to(np.arange(8.0)[:, None, None, None] / 8, (200, 8, 2, 2, 1)).astype(np.float32)  # its place
one = lambda key, image: jnp.asarray(image, float)
places = lambda x: np.round(np.asarray(x)[..., 0, 0, 0] * 8).astype(int)


class Frames(nn.Module):
  """The smallest encoder of video: the mean over pixels through a dense layer, frame by frame."""

  def __call__(self, x, train=False):
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    grid = nn.Dense(4)(x)
    frames = grid.mean((2, 3))
    return {"stage1": grid, "grid": grid, "frames": frames, "tokens": frames, "pooled": frames.mean(1)}


@pytest.mark.parametrize("recipe", [
    recipes.simclr(), pytest.param(recipes.dino(small=1, small_size=4), marks=pytest.mark.slow)])
def test_a_clip_is_augmented_alike_in_all_frames(recipe):
  still = RNG.random((3, 1, 12, 12, 3), np.float32).repeat(4, 1)
  views = recipes.views(video.alike(recipe), KEY, still)
  for x, image in zip(views, recipes.views(recipe, KEY, still[:, 0]), strict=True):
    assert x.shape == (*image.shape[:2], 4, *image.shape[2:])
    np.testing.assert_array_equal(x, np.repeat(x[:, :, :1], 4, 2))
    if len(views) > 1:                                       # the recipe that draws its own keys: the same as an image
      np.testing.assert_allclose(x[:, :, 0], image, atol=1e-6)
  assert np.abs(views[0][:, 0] - views[0][:, 1]).max() > 0.01
  moving = jnp.asarray(RNG.random((3, 4, 12, 40, 3)), float)                    # wide, and not cropped
  flips = video.alike(recipes.mae(scale=(1.0, 1.0)))(KEY, moving)
  for i in range(3):
    assert any(np.allclose(flips[i], x, atol=1e-6) for x in (moving[i], moving[i, :, :, ::-1]))


def test_cuts_of_a_pair_are_nearer_than_at_random():
  starts = places(video.random_pair(KEY, jnp.asarray(NUMBERS).repeat(20, 0), frames=3))
  np.testing.assert_array_equal(starts, starts[..., :1] + np.arange(3))
  assert starts.min() == 0 and starts.max() == 7
  apart = np.abs(starts[:, 0, 0] - starts[:, 1, 0])
  u = (np.arange(6) / 6, np.arange(1, 7) / 6)                # the chance of each distance: a triangle's slices
  np.testing.assert_allclose(np.bincount(apart) / 4000, (1 - u[0]) ** 2 - (1 - u[1]) ** 2, atol=0.03)
  assert 0.45 < np.mean((starts[:, 0, 0] < starts[:, 1, 0])[apart > 0]) < 0.55


def test_order_is_right_where_it_is_said_to_be():
  x, right = video.random_order(KEY, jnp.asarray(NUMBERS))
  a, b, c = places(x).T
  np.testing.assert_array_equal((np.sign(b - a) == np.sign(c - b)).astype(int), right)
  assert 0.4 < right.mean() < 0.6 and 0.4 < np.mean(a < c) < 0.6
  with pytest.raises(errors.UsageError, match="5 frames are to be taken of clips of 4"):
    video.random_order(KEY, jnp.asarray(NUMBERS[:, :4]))
  still_but_in_between = np.array([200, 200, 200, 10, 250, 20, 240, 30, 30, 30], np.uint8)
  x, _ = video.random_order(KEY, jnp.asarray(np.tile(still_but_in_between[:, None, None, None], (100, 1, 2, 2, 1))))
  counts = np.unique(x[..., 0, 0, 0], return_counts=True)
  assert dict(zip(*counts, strict=True)).keys() == {200, 10, 250, 20, 240, 30} and counts[1].max() < 100


def test_the_arrow_of_time():
  x, forwards = video.random_arrow(KEY, jnp.asarray(NUMBERS), frames=4)
  np.testing.assert_array_equal(np.diff(places(x)), np.where(forwards, 1, -1)[:, None].repeat(3, 1))
  assert set(places(x).min(1)) == set(range(5))


@pytest.mark.parametrize("given, target", [((-2, -1, 0), 1), ((0, 1), -2), ((-1, 1), 0), ((0, -3), -1)])
def test_frames_lie_where_the_offsets_say(given, target):
  method = frame_prediction.make(Frames(), given=given, target=target, width=2, aug=one)
  views = method.views(KEY, {"video": NUMBERS})
  seen, wanted = places(views["video"]), places(views["target"])
  np.testing.assert_array_equal(seen - wanted[:, None], np.broadcast_to(np.array(given) - target, seen.shape))
  span = max(*given, target) - min(*given, target)
  assert set(np.minimum(seen.min(1), wanted)) == set(range(8 - span))


@pytest.mark.parametrize("how", ["warp", "change", "pixels"])
def test_a_decoder_that_says_nothing_gives_the_nearest_frame(how):
  clip = RNG.random((2, 2, 8, 12, 3), np.float32)
  net = frame_prediction.Predictor(Frames(), how, 1, 2)
  variables = jax.tree.map(jnp.zeros_like, net.init(KEY, clip))
  nearest, share = clip[:, 1], np.exp(2) / (np.exp(2) + 2)
  want = {"warp": share * nearest + (clip[:, 0] + 0.5) * (1 - share) / 2, "change": nearest,
          "pixels": np.full_like(nearest, 0.5)}
  np.testing.assert_allclose(net.apply(variables, clip), want[how], atol=1e-6)


def test_a_flow_moves_the_frame():
  """A flow of one pixel to the right and two down in all places, for whom the nearest frame has all of the share."""
  clip = RNG.random((1, 1, 16, 16, 1), np.float32)
  net = frame_prediction.Predictor(Frames(), "warp", 0, 2)
  variables = jax.tree.map(jnp.zeros_like, net.init(KEY, clip))
  variables["params"]["decoder"]["pixels"]["bias"] = jnp.array([0.0, 2, 1, 50, 0])          # painted, y, x, shares
  moved = np.asarray(net.apply(variables, clip))[0]
  np.testing.assert_allclose(moved[:-2, :-1], clip[0, 0, 2:, 1:], atol=1e-5)
  np.testing.assert_allclose(moved[-1, -1], clip[0, 0, -1, -1], atol=1e-5)                  # the border is held


def test_video_contrast_is_simclr_of_the_cuts():
  clip = jnp.asarray(RNG.random((6, 8, 4, 4, 3)), float)
  method = video_contrast.make(Frames(), frames=3, temperature=0.5, widths=(5, 4), aug=one)
  (params, state), views = method.init(KEY, {"video": clip}), method.views(KEY, {"video": clip})
  assert views["image"][0].shape == (6, 2, 3, 4, 4, 3)
  value, (_, metrics) = method.loss(params, state, views, KEY, 0.0)
  other = clips.reading(simclr.make(Frames(), temperature=0.5, widths=(5, 4)))
  np.testing.assert_allclose(value, other.loss(params, state, views, KEY, 0.0)[0], rtol=1e-6)
  assert set(method.encoder(params, state)) == {"video"} and method.reads == ("video",)


@pytest.mark.parametrize("task", ["order", "arrow"])
def test_order_is_told_from_the_frames_side_by_side(task):
  method = temporal_order.make(Frames(), task=task, widths=(), aug=one)
  batch = {"video": NUMBERS}
  (params, state), views = method.init(KEY, batch), method.views(KEY, batch)
  value, (_, metrics) = method.loss(params, state, views, KEY, 0.0)
  x, dense = views["image"][0][:, 0], params["encoder"]["encoder"]["Dense_0"]
  z = (np.asarray(x).mean((2, 3)) @ dense["kernel"] + dense["bias"]).reshape(200, 12)
  logits = jax.nn.log_softmax(z @ params["head"]["dense1"]["kernel"] + params["head"]["dense1"]["bias"])
  right = np.asarray(views["right"])
  np.testing.assert_allclose(value, -np.mean(logits[np.arange(200), right]), rtol=1e-5)
  np.testing.assert_allclose(metrics[f"{task}_accuracy"], np.mean(logits.argmax(-1) == right), rtol=1e-6)
  variables = method.encoder(params, state)["video"]
  np.testing.assert_allclose(Frames().apply(variables, x), z.reshape(200, 3, 4).mean(1), atol=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_tubes_are_hidden_and_predicted(normalise):
  clip = RNG.uniform(0.1, 0.9, (3, 4, 8, 12, 3)).astype(np.float32)
  encoder = encoders.make("video_vit_ti", patch=4, width=8, depth=1, heads=2, mean=(0.4,), std=(0.3,))
  method = video_mae.make(encoder, ratio=0.5, normalise=normalise, width=8, depth=1, heads=2, aug=one)
  (params, state), views = method.init(KEY, {"video": clip}), method.views(KEY, {"video": clip})
  hide = np.asarray(views["mask"]).reshape(3, 2, 2, 3)                                      # [B, t, h, w]
  np.testing.assert_array_equal(hide[:, 0], hide[:, 1])
  assert (hide.sum((1, 2, 3)) == 6).all()
  params["net"]["decoder"]["out"] = jax.tree.map(jnp.zeros_like, params["net"]["decoder"]["out"])       # says 0
  target = video_vit.tubelets((clip - 0.4) / 0.3, 2, 4)
  if normalise:
    target = (target - target.mean(-1, keepdims=True)) / np.sqrt(target.var(-1, keepdims=True) + 1e-6)
  value, _ = method.loss(params, state, views, KEY, 0.0)
  np.testing.assert_allclose(value, np.mean(target[hide.reshape(3, 12)] ** 2), rtol=1e-4)
  shown = method.show(params, state, views)
  pixels = hide.repeat(2, 1).repeat(4, 2).repeat(4, 3)[..., None]
  np.testing.assert_allclose(shown["input"], np.where(pixels, 0.5, clip), atol=1e-6)
  means = video_vit.untubelets(video_vit.tubelets(clip, 2, 4).mean(-1, keepdims=True).repeat(96, -1), 2, 4, (2, 2, 3))
  np.testing.assert_allclose(shown["output"], np.where(pixels, means if normalise else 0.4, clip), atol=1e-4)


def test_what_does_not_fit_is_named():
  for make, says in ((lambda: frame_prediction.make(Frames(), given=(0, 1), target=1), "different places in time"),
                     (lambda: frame_prediction.make(Frames(), how="flow"), "unknown how 'flow'"),
                     (lambda: temporal_order.make(Frames(), task="ordr"), "did you mean order"),
                     (lambda: video_mae.make(Frames()), "hides tubelets, and Frames has none")):
    with pytest.raises(errors.UsageError, match=says):
      make()
  for method in (frame_prediction, temporal_order, video_contrast, video_mae):
    with pytest.raises(errors.UsageError, match="reads clips, and ViT images: .* such as r2plus1d_18"):
      method.make(encoders.make("vit_ti"))
