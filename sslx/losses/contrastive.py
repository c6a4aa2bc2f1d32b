"""Contrastive losses: the positive is told from all other candidates, by cosine similarity where not said otherwise.

The negatives of all rows go through one kernel (tiled.py), so that memory is linear in the batch where it is large:
`chunk` is the most candidates a tile, None chooses.
"""

import chex
import jax
import jax.numpy as jnp

from sslx.losses import tiled
from sslx.losses.batch import average, count, everywhere, index, unit, wide


def info_nce(query, positive, negatives=None, *, temperature, chunk=None, axis_name=None):
  """InfoNCE (He et al., "Momentum Contrast ...", 2020, eq. 1), the mean over queries.

  Args:
    query, positive: [B, D]; row i of one belongs to row i of the other.
    negatives: [M, D], a queue, the same for all queries and whole on every device; None: the positives of the other
      queries of the batch.
    temperature: of the cosine similarities.
    chunk: the most negatives a tile.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_equal_shape([query, positive])
  chex.assert_rank(query, 2)
  query, positive, own, ids = unit(query), unit(positive), None, None
  if negatives is None:
    if count(query, axis_name) < 2:
      raise ValueError("info_nce needs negatives: a batch of one has none, and no queue was given")
    own = index(query, axis_name)
    negatives, ids = everywhere(positive, axis_name), everywhere(own, axis_name)
  else:
    chex.assert_rank(negatives, 2)
    if not len(negatives):
      raise ValueError("info_nce needs negatives: the queue is empty")
    negatives = unit(negatives)
  total = tiled.logsumexp(query / temperature, negatives, own, ids, chunk=chunk)        # [B]
  return average(jax.nn.softplus(total - jnp.sum(query * positive, -1) / temperature), axis_name)


def ntxent(z1, z2, *, temperature, chunk=None, axis_name=None):
  """NT-Xent (Chen et al., 2020, eq. 1), the mean over all 2B anchors: each has 1 positive among 2B - 1 candidates.

  Args:
    z1, z2: [B, D], two views of the same examples; row i of one is the positive of row i of the other.
    temperature: of the cosine similarities.
    chunk: the most candidates a tile.
    axis_name: mapped axis that the batch is spread over.
  """
  return average(jax.nn.softplus(decoupled("ntxent", z1, z2, temperature, chunk, axis_name)), axis_name)


def dcl(z1, z2, *, temperature, chunk=None, axis_name=None):
  """DCL (Yeh et al., "Decoupled Contrastive Learning", 2022): NT-Xent without the positive in the denominator.

  The mean over all 2B anchors, each with 2B - 2 negatives. It has no lower bound at 0. Arguments as ntxent's.
  """
  return average(decoupled("dcl", z1, z2, temperature, chunk, axis_name), axis_name)


def decoupled(name, z1, z2, temperature, chunk, axis_name):
  """log of the sum of exp over the negatives - the positive, for all anchors: [2B]."""
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  if count(z1, axis_name) < 2:
    raise ValueError(f"{name} needs at least two examples: with one there is no negative")
  z1, z2 = unit(z1), unit(z2)
  rows = jnp.stack([z1, z2], 1).reshape(-1, z1.shape[1])                                # [2B, D], view after view
  ids = jnp.repeat(index(z1, axis_name), 2)
  total = tiled.logsumexp(rows / temperature, everywhere(rows, axis_name), ids, everywhere(ids, axis_name), chunk=chunk)
  return total - jnp.repeat(jnp.sum(z1 * z2, -1) / temperature, 2)


def supcon(z, labels, *, temperature, chunk=None, axis_name=None):
  """SupCon (Khosla et al., "Supervised Contrastive Learning", 2020, eq. 2, L_out), the mean over anchors.

  Args:
    z: [N, D], all views of all examples.
    labels: [N], whole numbers; rows of one label are each other's positives. Anchors without any are left out.
    temperature: of the cosine similarities.
    chunk: the most candidates a tile.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_rank([z, labels], [2, 1])
  chex.assert_equal_shape_prefix([z, labels], 1)
  if count(z, axis_name) < 2:
    raise ValueError("supcon needs at least two examples: with one there is neither positive nor negative")
  z, labels, ids = unit(z), jnp.asarray(labels).astype(int), index(z, axis_name)
  columns, every = everywhere(z, axis_name), everywhere(labels, axis_name)
  total = tiled.logsumexp(z / temperature, columns, ids, everywhere(ids, axis_name), chunk=chunk)      # [N]
  order = jnp.sort(every)
  first = lambda labels: jnp.searchsorted(order, labels)                                # a number for each label
  others = jnp.searchsorted(order, labels, side="right") - first(labels) - 1            # [N]
  sums = jax.ops.segment_sum(columns, first(every), len(columns))                       # [N, D], of each label
  mean = jnp.sum(z * (sums[first(labels)] - z), -1) / jnp.maximum(others, 1)
  loss = average(jnp.where(others > 0, total - mean / temperature, 0), axis_name)
  share = average((others > 0).astype(loss.dtype), axis_name)
  return loss / jnp.where(share > 0, share, 1)


def clip(image, text, *, scale, whole=None, chunk=None, axis_name=None):
  """CLIP (Radford et al., 2021, fig. 3): each image finds its text among all, and each text its image.

  Args:
    image, text: [B, D]; row i of one belongs to row i of the other.
    scale: of the cosine similarities, 1 / temperature.
    whole: [B], True where both are there; other pairs count in nothing. None: all are.
    chunk: the most candidates a tile.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_rank([image, text], 2)
  chex.assert_equal_shape([image, text])
  if count(image, axis_name) < 2:
    raise ValueError("clip needs at least two pairs: with one there is no negative")
  image, text, ids = unit(image), unit(text), index(image, axis_name)
  columns = everywhere(ids if whole is None else jnp.where(whole, ids, -1), axis_name)
  positive = scale * jnp.sum(image * text, -1)
  texts = tiled.logsumexp(scale * image, everywhere(text, axis_name), ids, columns, chunk=chunk)
  images = tiled.logsumexp(scale * text, everywhere(image, axis_name), ids, columns, chunk=chunk)
  return of_whole((jax.nn.softplus(texts - positive) + jax.nn.softplus(images - positive)) / 2, whole, axis_name)


def of_whole(value, whole, axis_name):
  """The mean of a value [B] over the pairs of the global batch that are `whole` [B], 0 without any; None: all are."""
  if whole is None:
    return average(value, axis_name)
  share = average(whole.astype(value.dtype), axis_name)
  return average(jnp.where(whole, value, 0), axis_name) / jnp.where(share > 0, share, 1)


def cola(query, positive, *, chunk=None, axis_name=None):
  """COLA (Saeed et al., 2021, eq. 1 and 2): each query's positive is told among all, by the plain product of the two.

  Args:
    query, positive: [B, K]; row i of one belongs to row i of the other. In the paper a bilinear map takes the first.
    chunk: the most candidates a tile.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_rank([query, positive], 2)
  chex.assert_equal_shape([query, positive])
  if count(query, axis_name) < 2:
    raise ValueError("cola needs at least two pairs: with one there is no negative")
  query, positive, own = wide(query), wide(positive), index(query, axis_name)
  total = tiled.logsumexp(query, everywhere(positive, axis_name), own, everywhere(own, axis_name), chunk=chunk)  # [B]
  return average(jax.nn.softplus(total - jnp.sum(query * positive, -1)), axis_name)


def siglip(image, text, *, scale, bias, whole=None, chunk=None, axis_name=None):
  """SigLIP (Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023): every pair by itself.

  The sum over all pairs of -log sigmoid(+-(scale * cosine + bias)), + where they belong together, over B.

  Args:
    image, text: [B, D]; row i of one belongs to row i of the other.
    scale, bias: of the cosine similarities; the paper starts at 10 and -10.
    whole: [B], True where both are there; other pairs count in nothing. None: all are.
    chunk: the most candidates a tile.
    axis_name: mapped axis that the batch is spread over.
  """
  chex.assert_rank([image, text], 2)
  chex.assert_equal_shape([image, text])
  image, text, ids = unit(image), unit(text), index(image, axis_name)
  positive = scale * jnp.sum(image * text, -1) + bias
  one = jnp.ones_like(image[:, :1])
  rows, columns = jnp.concatenate([scale * image, bias * one], 1), jnp.concatenate([text, one], 1)      # [B, D + 1]
  there = everywhere(ids if whole is None else jnp.where(whole, ids, -1), axis_name)
  negatives = tiled.softplus(rows, everywhere(columns, axis_name), ids, there, chunk=chunk)
  return of_whole(jax.nn.softplus(-positive) + negatives, whole, axis_name)
