"""Examples through a frozen encoder: `embed`, and `Embedder`, the same as a scikit-learn transformer."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from sslx import checkpoint, errors, mesh
from sslx.data import decode


def embed(encoder, images, *, batch_size=None, layer=None):
  """Features of images under an encoder record: numpy float32 [N, D], in the order of the images.

  images: an array [N, H, W, C], or a list of arrays [h, w] or [h, w, C] of any sizes; uint8, uint16, floats in [0, 1].
  What is not of the encoder's size is brought to it as the data of its run were (data.fit), grey becomes RGB by
  repetition: the same numbers as from a folder of these images. (A folder reads a JPEG of four times the size or more
  at 1/2, 1/4 or 1/8; that is a grey level or two away from its full pixels.) For an encoder that reads something else:
  an array [N, *encoder.shape], text of int32 tokens, audio of int16 or floats in [-1, 1], points of such floats, video
  and voxels of what images are.
  layer: None for the representation, or a name of the encoder's features, averaged over space or tokens if it has any.
  batch_size: examples in a forward pass; None for 256, or fewer of long texts, as attention takes their length squared,
    and of large voxel grids and point sets.
  A batch is split over all devices if they divide it; of several processes each gives the same images, and gets all
  features. The last batch is padded: one compile for one encoder, size and batch_size, kept for later calls.
  """
  images, ready = taken(images, encoder)
  batch_size = usual(encoder) if batch_size is None else batch_size
  if batch_size < 1:
    raise errors.UsageError(f"batch_size is {batch_size}; it must be at least 1")
  batches, variables = placement(batch_size, encoder.variables)
  if layer is not None:
    known = layers(encoder, variables)
    if layer not in known:
      raise errors.unknown("layer", layer, known)
  forward = compiled(encoder.module, layer)
  out, pending = [], None
  for i in range(0, len(images), batch_size):
    x = ready(images[i:i + batch_size])
    x = np.concatenate([x, np.zeros((batch_size - len(x), *x.shape[1:]), x.dtype)]) if len(x) < batch_size else x
    y = forward(variables, mesh.put(x, batches))           # runs while the next batch is prepared
    if pending is not None:
      out.append(np.asarray(mesh.whole(pending), np.float32))
    pending = y
  return np.concatenate([*out, np.asarray(mesh.whole(pending), np.float32)])[:len(images)]


def usual(encoder):
  """How many examples go through an encoder at once."""
  of = {"text": lambda s: 2**22 // s[0] ** 2, "voxels": lambda s: 2**21 // math.prod(s),
        "points": lambda s: 2**17 // s[0]}
  return min(256, max(1, of[reads(encoder)](encoder.shape))) if reads(encoder) in of else 256


def compiled(module, layer):
  """The jitted forward pass, the same object for equal modules, so that each shape compiles once."""
  try:
    return _compiled(module, layer)
  except TypeError:                                        # a field that cannot be hashed: compiled for this call alone
    return _compiled.__wrapped__(module, layer)


@functools.lru_cache(maxsize=32)
def _compiled(module, layer):
  def forward(variables, x):
    x = fraction(x)
    if layer is None:
      return module.apply(variables, x, train=False)
    y = module.apply(variables, x, train=False, method="features")[layer]
    return jnp.mean(y, axis=range(1, y.ndim - 1), dtype=jnp.promote_types(y.dtype, jnp.float32))

  return jax.jit(forward)


def fraction(x):
  """Integers as fractions of their type's maximum; floats as they are, and int32, which are tokens."""
  signal = jnp.issubdtype(x.dtype, jnp.integer) and x.dtype != jnp.int32
  return x.astype(jnp.float32) / jnp.iinfo(x.dtype).max if signal else x


def layers(encoder, variables):
  """{name: shape} of what the encoder's `features` gives, without running it."""
  if not hasattr(encoder.module, "features"):
    raise errors.UsageError(f"{type(encoder.module).__name__} has no `features`, so no layers to choose from")
  x = checkpoint.blank(encoder.shape, reads(encoder))
  features = functools.partial(encoder.module.apply, train=False, method="features")
  return {k: v.shape for k, v in jax.eval_shape(features, variables, x).items()}


def placement(batch_size, variables):
  """(where a batch goes, variables beside it): spread over all devices if they divide it; else whole, on the first one
  or, if there are several processes, on every device."""
  devices = mesh.ordered()
  spread = batch_size % len(devices) == 0
  over = mesh.arranged(devices if spread or jax.process_count() > 1 else devices[:1])
  beside = mesh.put(variables, jax.tree.map(lambda _: mesh.everywhere(over), variables))
  return mesh.rows(over) if spread else mesh.everywhere(over), beside


def taken(examples, encoder):
  """(the examples as an array or a list, a function that makes some of them a batch for the encoder)."""
  if reads(encoder) == "image":
    images, dtype = checked(examples, encoder.shape)
    return images, lambda some: prepared(some, encoder.shape, dtype, fit_of(encoder))
  examples = np.asarray(examples)
  if examples.shape[1:] != tuple(encoder.shape) or not len(examples):
    raise errors.UsageError(f"the array has shape {list(examples.shape)}; this encoder of {reads(encoder)} needs "
                            f"{['N', *encoder.shape]}, N at least 1")
  if (examples.dtype == np.int32) != (reads(encoder) == "text"):
    raise errors.UsageError(f"the array is of {examples.dtype}: text is int32 tokens, audio int16 or floats, all "
                            "else uint8 or floats")
  return examples, lambda some: some


def checked(images, shape):
  """(images as an array or a list of arrays, the type that batches will have); UsageError for what is no image."""
  if not (isinstance(images, (list, tuple)) or (isinstance(images, np.ndarray) and images.dtype == object)):
    images = np.asarray(images)
    if images.ndim != 4:
      raise errors.UsageError(f"images have shape {images.shape}; they must be [N, H, W, C] or a list of [h, w, C]")
  else:
    images = [np.asarray(x) for x in images]
  if not len(images):
    raise errors.UsageError("no images to embed")
  for i, x in enumerate(images if isinstance(images, list) else images[:1]):
    channels = x.shape[2] if x.ndim == 3 else 1
    if x.ndim not in (2, 3) or not x.size or channels not in (1, shape[2]):
      raise errors.UsageError(f"image {i} has shape {x.shape}; the encoder needs [h, w, {shape[2]}], or grey [h, w, 1]")
    if x.dtype not in (np.uint8, np.uint16) and not jnp.issubdtype(x.dtype, jnp.floating):
      raise errors.UsageError(f"image {i} is of type {x.dtype}; images are uint8, uint16 or floats in [0, 1]")
  types = {images.dtype} if isinstance(images, np.ndarray) else {x.dtype for x in images}
  return images, types.pop() if types in ({np.dtype(np.uint8)}, {np.dtype(np.uint16)}) else np.dtype(np.float32)


def prepared(images, shape, dtype, fit="crop"):
  """Images as one array [n, *shape] of `dtype`: resized, grey repeated, floats checked to be in [0, 1]."""
  if not isinstance(images, np.ndarray) or images.shape[1:3] != tuple(shape[:2]):
    images = np.stack([resized(x, shape, dtype, fit) for x in images])
  elif images.dtype != dtype:
    images = images.astype(dtype)
  if dtype == np.float32 and not (images.min() >= -0.01 and images.max() <= 1.01):
    raise errors.UsageError(f"float images go from {images.min():g} to {images.max():g}; they must be in [0, 1]")
  return coloured(images, shape)


def reads(encoder):
  """What an encoder reads: image, text, audio, video, voxels or points."""
  return getattr(encoder, "reads", "image")


def fit_of(encoder):
  """How the images of the encoder's run were brought to its size: crop or squash."""
  return getattr(encoder, "spec", {}).get("config", {}).get("data", {}).get("fit", "crop")


def coloured(x, shape):
  """Images [..., C] with as many channels as `shape` has: one grey channel is repeated."""
  return np.repeat(x, shape[2], axis=-1) if x.shape[-1] != shape[2] else x


def resized(x, shape, dtype, fit):
  """One image [h, w] or [h, w, C] at the size of `shape`, of `dtype`; see decode.resize."""
  x = decode.resize(coloured(x[..., None] if x.ndim == 2 else x, shape), shape[:2], fit)
  if dtype == np.float32 and np.issubdtype(x.dtype, np.integer):
    x = x / np.float32(np.iinfo(x.dtype).max)
  return x.astype(dtype)


class Embedder(TransformerMixin, BaseEstimator):
  """`embed` as a scikit-learn transformer; nothing is fitted: make_pipeline(Embedder(workdir), LogisticRegression()).

  encoder: an encoder record, or the workdir of a run, whose encoder is loaded when first used.
  """

  def __init__(self, encoder, *, layer=None, batch_size=None):
    self.encoder = encoder
    self.layer = layer
    self.batch_size = batch_size

  def fit(self, X, y=None):
    return self

  def transform(self, X):
    return embed(self._record(), X, batch_size=self.batch_size, layer=self.layer)

  def get_feature_names_out(self, input_features=None):
    record = self._record()
    if self.layer is None:
      x = checkpoint.blank(record.shape, reads(record))
      width = jax.eval_shape(compiled(record.module, None), record.variables, x).shape[1]
    else:
      known = layers(record, record.variables)
      if self.layer not in known:
        raise errors.unknown("layer", self.layer, known)
      width = known[self.layer][-1]
    return np.array([f"embedder{i}" for i in range(width)], dtype=object)

  def _record(self):
    if hasattr(self.encoder, "module"):
      return self.encoder
    if getattr(self, "_loaded", (None,))[0] != self.encoder:
      self._loaded = self.encoder, checkpoint.load_encoder(self.encoder)
    return self._loaded[1]

  def __sklearn_is_fitted__(self):
    return True

  def __sklearn_tags__(self):
    tags = super().__sklearn_tags__()
    tags.requires_fit = False
    tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
    return tags
