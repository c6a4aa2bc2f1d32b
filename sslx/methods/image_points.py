"""CrossPoint (Afham et al., 2022), its part between modalities: an object's points find their picture, and back."""

import jax
import jax.numpy as jnp

from sslx import encoders, errors
from sslx.augment import points as augment, recipes, space
from sslx.methods import base, pretext, solid, towers

CITE = """@inproceedings{afham2022crosspoint,
  title={CrossPoint: Self-Supervised Cross-Modal Contrastive Learning for 3D Point Cloud Understanding},
  author={Afham, Mohamed and Dissanayake, Isuru and Dissanayake, Dinithi and Dharmasiri, Amaya
          and Thilakarathna, Kanchana and Rodrigo, Ranga},
  booktitle={CVPR}, year={2022}}"""


def make(encoder, *, points=encoders.options("pointnet"), width=256, temperature=0.07, rendered=True,
         elevation=(0.0, 45.0), degrees=180.0, tilt=15.0, factor=(0.67, 1.5), distance=0.2, jitter=0.01,
         crop=(0.5, 1.0), erase=(), drop=(0.0, 0.75), axis=2, aug=recipes.mae(scale=(0.5, 1.0), flip_p=0.5)):
  """CLIP on an image encoder and an encoder of points; both are kept.

  Args:
    points: the encoder of points: its name and options.
    width: K of the space in which both are compared. temperature: see clip.make.
    rendered: the image is drawn anew at every step, a depth image of the points from a random direction, of the size of
      the batch's; False: it is the batch's own, under `aug`.
    elevation: range of the direction's height above the plane, in degrees.
    degrees ... drop: of the view of the points, see points.make.
    axis: the one that points up: 0, 1 or 2.
    aug: (key, image) -> view, of images that are not rendered.
  """
  points = towers.built("points", points)
  solid.needs(points, "image_points", "points")
  if type(encoder).__module__ == type(points).__module__:
    raise errors.UsageError("config.encoder is the image encoder, method.points the one of points")
  base.ranges(factor=factor, elevation=elevation)
  base.ranges(most=1, crop=crop, erase=erase, drop=drop)
  moved = augment.stack(degrees=degrees, tilt=tilt, factor=factor, distance=distance, jitter=jitter, crop=crop,
                        erase=erase, drop=drop, axis=solid.axis_of(axis))

  def views(rng, batch):
    r_image, r_points = jax.random.split(rng)
    x, image = jnp.asarray(batch["points"], float), batch["image"]
    if rendered:
      seen = space.random_render(r_image, x, size=image.shape[1], elevation=elevation, axis=axis)
      seen = jnp.broadcast_to(seen, (*seen.shape[:-1], image.shape[-1]))
    else:
      seen = pretext.first_view(aug, r_image, image)
    there = towers.there(x) & (rendered | towers.there(image))
    return {"image": seen, "points": moved(r_points, x), "whole": there}

  objective, learnt = towers.symmetric(temperature)

  def show(views):
    return {"image": views["image"], "points": solid.pictures("points", views["points"], axis)}
  return towers.contrast({"image": encoder, "points": points}, views, objective, width=width,
                         learnt=learnt, show=show)
