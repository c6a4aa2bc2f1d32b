"""The data as they are as a contender: what an encoder has to beat."""

import functools

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from sslx.encoders import audio
from sslx.evaluate.embed import checked, fit_of, fraction, prepared, reads, taken

CELLS, RANKS = 16, 16                                       # along each side of a grid; of points
SIDE = 64                                                  # larger images are resized to this side, antialiased


def raw(examples, encoder):
  """Features [N, D], float32, of examples as `embed` takes them for the encoder, without one: see FORMS."""
  if reads(encoder) in ("image", "depth"):
    return pixels(examples, encoder.shape, fit_of(encoder))
  form = FORMS[reads(encoder)]
  if form is log_mel:
    form = functools.partial(log_mel, picture=getattr(encoder.module, "picture", None))
  if form is counts:
    form = functools.partial(counts, vocab=getattr(encoder.module, "vocab", 1024))
  return np.asarray(form(np.asarray(fraction(taken(examples, encoder)[0]))), np.float32)


def pixels(images, shape, fit="crop"):
  """Images, as `embed` takes them for an encoder of that shape, flattened: float32 [N, min(H, 64) min(W, 64) C].

  fit: how others come to that shape, as for the encoder.
  """
  small = (min(shape[0], SIDE), min(shape[1], SIDE), shape[2])
  images, dtype = checked(images, shape)
  seen = (prepared(images[i:i + 256], shape, dtype, fit) for i in range(0, len(images), 256))
  x = np.concatenate([prepared(x, small, dtype, "squash") for x in seen])
  x = x.reshape(len(x), -1)
  return x / np.float32(np.iinfo(x.dtype).max) if np.issubdtype(x.dtype, np.integer) else x


def counts(tokens, vocab):
  """Text [N, T] -> how often each of `vocab` tokens, the first 1024 at most, is there, as a share of the text."""
  width = min(vocab, 1024)
  seen = np.stack([np.bincount(row[(row > 0) & (row < width)], minlength=width) for row in tokens])
  return seen / np.maximum(seen.sum(1, keepdims=True), 1)


def mean_frame(clips):
  """Video [N, T, H, W, C] -> its frames' mean, flattened."""
  return clips.mean(1).reshape(len(clips), -1)


def log_mel(samples, picture):
  """Audio [N, T] -> its spectrograms, flattened: by the encoder's `picture`, or, if that is None, of 40 mel bands."""
  picture = picture or audio.on(None, rate=8000, window=256, hop=128, mels=40, low=0.0, high=0.0).picture
  seen = [picture(jnp.asarray(samples[i:i + 256])) for i in range(0, len(samples), 256)]
  return np.concatenate(seen).reshape(len(samples), -1)


def pooled(grids):
  """Voxels [N, D, H, W, C] -> the means over CELLS cells along each side (fewer of smaller grids), flattened."""
  for axis in (1, 2, 3):
    n = grids.shape[axis]
    starts = np.unique(np.linspace(0, n, CELLS, endpoint=False).astype(int))
    sizes = np.diff(np.append(starts, n)).reshape(-1, *(1,) * (4 - axis))
    grids = np.add.reduceat(grids, starts, axis) / sizes
  return grids.reshape(len(grids), -1)


def ranked(points):
  """Points [N, M, 3] -> their x, y, z and distances to the centre, each sorted: RANKS quantiles, [N, 4 RANKS]."""
  x = np.concatenate([points, np.linalg.norm(points, axis=-1, keepdims=True)], -1)
  return np.moveaxis(np.quantile(x, np.linspace(0, 1, RANKS), axis=1), 0, -1).reshape(len(x), -1)


FORMS = {"text": counts, "audio": log_mel, "video": mean_frame, "voxels": pooled, "points": ranked}
NAMES = {"image": "raw pixels", "text": "token counts", "audio": "log-mel spectrograms", "video": "mean frames",
         "depth": "raw depth maps", "voxels": "pooled voxels", "points": "sorted coordinates"}


def principal(train_x, test_x, width):
  """Both on the first `width` principal components of train_x [N, D] (fewer if N or D is), on one common scale."""
  width = min(width, *train_x.shape)
  mean = train_x.mean(0)
  a, b = train_x - mean, test_x - mean
  n, d = a.shape
  with threadpool_limits(1):                               # as in linear
    if n >= d:
      v = scipy.linalg.eigh(a.T @ a, subset_by_index=(d - width, d - 1))[1][:, ::-1]                # [D, width]
    else:
      v = np.linalg.svd(a, full_matrices=False)[2][:width].T
    a, b = a @ v, b @ v
  scale = a.std() or 1.0
  return a / scale, b / scale
