"""Methods of objects: they are SimCLR and CLIP of their views; pictures are drawn of the points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import Linear

from sslx import encoders, errors, losses, methods
from sslx.augment import space
from sslx.methods import clips, simclr

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
POINTS = RNG.uniform(-0.5, 0.5, (6, 20, 3)).astype(np.float32)
GRIDS = np.where(RNG.random((6, 8, 8, 8, 1)) < 0.4, 255, 0).astype(np.uint8)
STILL = {"points": {"distance": 0.0, "jitter": 0.0, "crop": ()}, "voxels": {"mirror_p": 0.0, "shift": 0.0}}
ENCODERS = {"points": encoders.make("pointnet", width=2),
            "voxels": encoders.make("voxel_resnet6", width=2, stem="small")}


@pytest.mark.slow
@pytest.mark.parametrize("key, x", [("points", POINTS), ("voxels", GRIDS)])
def test_two_views_attract(key, x):
  encoder, batch = ENCODERS[key], {key: jnp.asarray(x)}
  method = methods.make(key, encoder, widths=(5, 4), temperature=0.5, norm=False, last_norm=False)
  (params, state), views = method.init(KEY, batch), method.views(KEY, batch)
  value, _ = method.loss(params, state, views, KEY, 0.0)
  other = clips.reading(simclr.make(encoder, temperature=0.5, widths=(5, 4)), key)
  np.testing.assert_allclose(value, other.loss(params, state, views, KEY, 0.0)[0], rtol=1e-6)
  assert set(method.encoder(params, state)) == {key} and method.reads == (key,)
  a, b = views["image"][0][:, 0], views["image"][0][:, 1]
  assert a.shape == x.shape and np.abs(a - b).max() > 0.1
  shown = method.show(params, state, views)
  assert shown["view 1"].shape == (6, 48, 48, 1) and shown["affinity"].shape == (12, 12)
  still = methods.make(key, encoder, degrees=0.0, tilt=0.0, factor=(), erase=(), drop=(), **STILL[key])
  seen = still.views(KEY, batch)["image"][0]
  np.testing.assert_allclose(seen[:, 1], x / (255 if key == "voxels" else 1), atol=1e-6)


def test_an_object_finds_its_picture():
  batch = {"points": jnp.asarray(POINTS).at[2].set(0), "image": jnp.zeros((6, 9, 9, 1), jnp.uint8)}
  still = {"degrees": 0.0, "tilt": 0.0, "factor": (), "drop": ()} | STILL["points"]
  method = methods.make("image_points", Linear(), points=ENCODERS["points"], width=3, temperature=0.1,
                        elevation=(90.0, 90.0), **still)
  (params, state), views = method.init(KEY, batch), method.views(KEY, batch)
  assert views["image"].shape == (6, 9, 9, 1) and views["whole"].tolist() == [True, True, False, True, True, True]
  above = space.render(np.repeat(POINTS[:1], 721, 0), np.linspace(-180, 180, 721), 90.0, size=9)
  assert np.abs(above - views["image"][0]).max((1, 2, 3)).min() < 0.05
  spaces = method.spaces(params, state)
  z = {t: module.apply(v, views[t], train=True, mutable=["batch_stats"])[0] for t, (module, v) in spaces.items()}
  value, (_, metrics) = method.loss(params, state, views, KEY, 0.0)
  np.testing.assert_allclose(value, losses.clip(z["image"], z["points"], scale=10.0, whole=views["whole"]), rtol=1e-5)
  assert set(method.encoder(params, state)) == {"image", "points"} and method.reads == ("image", "points")
  shown = method.show(params, state, views)
  assert shown["points"].shape == (6, 48, 48, 1) and shown["affinity"].shape == (6, 6)
  real = {"points": batch["points"], "image": jnp.asarray(RNG.random((6, 9, 9, 1)), float).at[4].set(0)}
  own = methods.make("image_points", Linear(), points=ENCODERS["points"], rendered=False, aug=lambda key, x: x, **still)
  views = own.views(KEY, real)
  np.testing.assert_array_equal(views["image"], real["image"])
  assert views["whole"].tolist() == [True, True, False, True, False, True]


def test_what_does_not_fit_is_named():
  pointnet, image = ENCODERS["points"], encoders.make("resnet10", width=2)
  for make, says in ((lambda: methods.make("points", image), "points reads points, and ResNet does not: .* pointnet"),
                     (lambda: methods.make("voxels", pointnet), "voxels reads voxels, and PointNet does not"),
                     (lambda: methods.make("points", pointnet, axis=3), "axis is 3"),
                     (lambda: methods.make("points", pointnet, drop=(0.5, 0.2)), "drop is .* the lower one first"),
                     (lambda: methods.make("image_points", pointnet, points=pointnet), "config.encoder is the image"),
                     (lambda: methods.make("image_points", image, points=image), "image_points reads points")):
    with pytest.raises(errors.UsageError, match=says):
      make()
