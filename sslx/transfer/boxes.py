"""Boxes in JAX, with static shapes: overlap, suppression of doubles, and pictures of them.

A box is (left, top, right, bottom) in pixels.
"""

import jax
import jax.numpy as jnp


def area(boxes):
  """Of boxes [..., 4]; 0 where a corner is beyond the other."""
  return jnp.prod(jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0), -1)


def overlap(a, b):
  """(intersection over union, intersection, union) of boxes [..., 4] and [..., 4]."""
  both = area(jnp.concatenate([jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])], -1))
  union = area(a) + area(b) - both
  return both / jnp.maximum(union, 1e-9), both, union


def giou(a, b):
  """Generalized intersection over union (Rezatofighi et al., 2019) of boxes [..., 4], from -1 to 1."""
  iou, _, union = overlap(a, b)
  hull = area(jnp.concatenate([jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])], -1))
  return iou - (hull - union) / jnp.maximum(hull, 1e-9)


def nms(boxes, scores, classes, *, most=100, threshold=0.6, candidates=300):
  """The best boxes of an image without doubles: (boxes [most, 4], scores [most], classes [most]), best first.

  Greedy, class by class: a box goes if it overlaps a better one of its class, which stays, by more than `threshold`.
  boxes [N, 4], scores [N] above 0, classes [N]; only the best `candidates` are looked at. Where there are fewer, the
  score is 0 and the class -1.
  """
  scores, order = jax.lax.top_k(scores, min(candidates, len(scores)))
  boxes, classes = boxes[order], classes[order]
  doubles = (overlap(boxes[:, None], boxes[None])[0] > threshold) & (classes[:, None] == classes[None])
  later = jnp.arange(len(scores))

  def step(i, keep):
    return keep & ~(keep[i] & doubles[i] & (later > i))
  keep = jax.lax.fori_loop(0, len(scores), step, scores > 0)
  scores, at = jax.lax.top_k(jnp.where(keep, scores, 0), min(most, len(scores)))
  pad = lambda x, value: jnp.pad(x, ((0, most - len(x)),) + ((0, 0),) * (x.ndim - 1), constant_values=value)
  return pad(boxes[at], 0), pad(scores, 0), pad(jnp.where(scores > 0, classes[at], -1), -1)


def painted(image, boxes, classes, colours):
  """Images [B, H, W, 3] with the outlines of boxes [B, M, 4] in the colours [K, 3] of their classes; -1: none."""
  image, boxes, classes, colours = map(jnp.asarray, (image, boxes, classes, colours))
  y, x = jnp.arange(image.shape[1])[:, None], jnp.arange(image.shape[2])

  def outline(box, grow):
    left, top, right, bottom = (box[..., i, None, None] + s * grow for i, s in enumerate((-1, -1, 1, 1)))
    return (x >= left) & (x < right) & (y >= top) & (y < bottom)

  def paint(n, image):
    box, c = boxes[:, n], classes[:, n]
    edge = outline(box, 0) & ~outline(box, -1) & (c >= 0)[:, None, None]
    return jnp.where(edge[..., None], colours[c][:, None, None], image)
  return jax.lax.fori_loop(0, boxes.shape[1], paint, image)
