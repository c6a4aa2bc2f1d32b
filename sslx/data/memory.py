"""Data sets that are arrays in memory: scikit-learn's digits, .npz files, Fashion-MNIST's IDX files."""

import gzip
import os
import zipfile

import numpy as np

from sslx import errors
from sslx.data import decode, source

FASHION = "/usr/share/datasets/fashion-mnist"           # where Debian's dataset-fashion-mnist puts it
FASHION_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                   "Ankle boot")


def digits(split):
  """scikit-learn's 1,797 scans of digits: uint8 [8, 8, 1]; a fixed stratified split, 1,437 to 360."""
  from sklearn.datasets import load_digits

  data = load_digits()
  rows = source.split(len(data.target), data.target)[split != "train"]
  images = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
  return source.from_array("digits", images[rows], data.target[rows], map(str, range(10)))


def fashion_mnist(split):
  """Zalando's articles, 60,000 and 10,000, uint8 [28, 28, 1], from Debian's gzipped IDX files; None if not there."""
  part = "train" if split == "train" else "t10k"
  files = [f"{FASHION}/{part}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
  if not all(map(os.path.exists, files)):
    return None
  return source.from_array("fashion_mnist", idx(files[0])[..., None], idx(files[1]), FASHION_CLASSES)


def idx(path):
  """A gzipped IDX file of bytes -> its uint8 array."""
  try:
    with gzip.open(path) as f:
      data = f.read()
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
  except (OSError, EOFError, ValueError, IndexError) as e:
    raise errors.RunError(f"{path} is not a whole gzipped IDX file: {e}") from e


def npz(path, split):
  """Images and labels of an .npz file.

  Keys: image(s) or x or data, and label(s) or y or target(s), each also with train_ or test_ (val_, valid_,
  validation_) before it or _train, _test behind it. Without a test part, a fixed split of 80 to 20. Images are
  [N, H, W, C] or [N, H, W]; uint8, uint16, or float in [0, 1].
  """
  name = f"npz:{path}"
  try:
    with open(path, "rb") as opened:
      file = np.load(opened, allow_pickle=False)
      if not hasattr(file, "files"):
        raise errors.UsageError(f"{path} is a single array; save it with np.savez(path, images=..., labels=...)")
      parts = {part: _part(file, part) for part in ("", "train", "test", "val", "valid", "validation")}
  except FileNotFoundError as e:
    raise errors.UsageError(f"no such file: {path}") from e
  except (OSError, EOFError, zipfile.BadZipFile, ValueError) as e:
    if isinstance(e, errors.UsageError):
      raise
    raise errors.UsageError(f"{path} cannot be read as .npz without pickles: {' '.join(str(e).split())}") from e
  parts = {part: keys for part, keys in parts.items() if keys}
  whole = parts.get("train") or parts.get("")
  held = next((parts[p] for p in ("test", "val", "valid", "validation") if p in parts), None)
  if not whole:
    raise errors.UsageError(f"{path} has no images: it needs the keys images, labels or train_images, train_labels, "
                            f"test_images, test_labels")
  images, labels = held if held and split != "train" else whole
  images = _images(path, images)
  if labels is not None:
    labels = _labels(path, labels, len(images))
  if not held:
    rows = source.split(len(images), labels)[split != "train"]
    images, labels = images[rows], None if labels is None else labels[rows]
  return source.from_array(name, images, labels)


def _part(file, part):
  """(images, labels or None) of one part of an .npz file, or None."""
  styles = ("{1}",) if not part else ("{0}_{1}", "{1}_{0}")
  find = lambda names: next((k for n in names for s in styles if (k := s.format(part, n)) in file.files), None)
  images = find(("images", "image", "x", "data", "X"))
  labels = find(("labels", "label", "y", "targets", "target", "Y"))
  return images and (file[images], None if labels is None else file[labels])


def _images(path, images):
  images = images[..., None] if images.ndim == 3 else images
  if images.ndim != 4 or not images.size:
    raise errors.UsageError(f"{path}: images must be [N, H, W] or [N, H, W, C], these are {list(images.shape)}")
  try:
    return decode.checked(images.reshape(len(images), -1, 1)).reshape(images.shape)
  except ValueError as e:
    raise errors.UsageError(f"{path}: {e}") from e


def _labels(path, labels, count):
  labels = labels.reshape(len(labels), -1) if labels.ndim else labels.reshape(1, 1)
  if labels.shape != (count, 1) or labels.dtype.kind not in "iub":
    raise errors.UsageError(f"{path}: labels must be {count} integers, one an image; these are {labels.dtype} "
                            f"{list(labels.shape)}")
  return labels[:, 0].astype(np.int32)
