"""Image files for the tests of data, made here."""

import io

import numpy as np
from PIL import Image


def pixels(seed, *shape, dtype=np.uint8):
  return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def encoded(array, format="PNG", **options):
  out = io.BytesIO()
  Image.fromarray(array).save(out, format, **options)
  return out.getvalue()


def write(path, array, format="PNG", **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(encoded(array, format, **options))
  return path


def classes(root, names=("a", "b"), each=5, side=8, first=0):
  """root/CLASS/I.png, random RGB images; the folder as str."""
  for k, name in enumerate(names):
    for i in range(each):
      write(root / name / f"{i}.png", pixels(first + 100 * k + i, side, side, 3))
  return str(root)
