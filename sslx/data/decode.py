"""Encoded bytes -> pixels. 8-bit images come out grey or RGB; 16-bit, many-channel and float images stay as they are.

Pixels are uint8, uint16 or float32 in [0, 1], [H, W, C], turned as their EXIF orientation says. An alpha channel is
dropped, palettes become RGB, and of several frames or pages the first counts. 16 bits are kept from PNG, TIFF, grey PGM
and .npy; the other formats reach Pillow with 8.
"""

import concurrent.futures
import functools
import io
import os
import sys

import numpy as np
from PIL import Image

from sslx import errors

EXTENSIONS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".avif", ".avifs", ".tif",
    ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".pcx", ".sgi", ".rgb", ".bw",
    ".dds", ".icns", ".qoi", ".npy"))
SMALL = 4096                 # bytes of an encoded image that is not worth a thread
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NATIVE = "L" if sys.byteorder == "little" else "B"          # Pillow's name of this machine's byte order
_TURNS = {                                               # EXIF orientation -> the upright image
    2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud, 5: lambda x: np.swapaxes(x, 0, 1),
    6: lambda x: np.rot90(x, -1), 7: lambda x: np.swapaxes(np.rot90(x, 2), 0, 1), 8: np.rot90,
}


def decode(data, *, channels=0, size=0, fit="crop"):
  """Encoded bytes -> [H, W, C].

  Args:
    data: the bytes of one file, .npy included ([H, W] or [H, W, C]).
    channels: 3 turns a grey image into RGB; 0 keeps the channels.
    size, fit: see `resize`; 0 keeps the size.

  Raises:
    ValueError: these bytes are no image, or not a whole one; the message says why.
  """
  if not data:
    raise ValueError("the file is empty")
  try:
    pixels = np.load(io.BytesIO(data), allow_pickle=False) if data[:6] == b"\x93NUMPY" else _pixels(data, size)
  except Image.UnidentifiedImageError as e:
    raise ValueError("not an image, or of a format that is not known") from e
  except Exception as e:  # decoders of broken files raise anything: OSError, SyntaxError, struct.error, IndexError ...
    raise ValueError(" ".join(str(e).split()) or type(e).__name__) from e
  pixels = checked(pixels[..., None] if pixels.ndim == 2 else pixels)
  if channels == 3 and pixels.shape[-1] == 1:
    pixels = np.repeat(pixels, 3, axis=-1)
  return resize(pixels, size, fit) if size else pixels


def shape_of(file):
  """(H, W) of an image file, turned as its EXIF orientation says, from its head; OSError for what is none."""
  with Image.open(file) as opened:
    return opened.size if opened.getexif().get(0x0112, 1) >= 5 else opened.size[::-1]


def checked(pixels):
  """An image [H, W, C] as uint8, uint16 or float32 in [0, 1]; ValueError for what cannot be one."""
  if pixels.ndim != 3 or not pixels.size:
    raise ValueError(f"an image has the shape [H, W] or [H, W, C], this one has {list(pixels.shape)}")
  if pixels.dtype.kind == "f":
    if not (pixels.min() >= 0 and pixels.max() <= 1):    # false for NaN too
      raise ValueError(f"float images lie in [0, 1], this one in [{pixels.min():g}, {pixels.max():g}]")
    return np.ascontiguousarray(pixels, np.float32)
  if pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
    raise ValueError(f"images are uint8, uint16 or float in [0, 1], this one is {pixels.dtype}")
  return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def resize(pixels, size, fit="crop"):
  """[H, W, C] -> [size, size, C], or [h, w, C] for a size of (h, w); bilinear with antialiasing, dtype kept.

  fit: "crop" brings the short side to `size` and keeps the middle; "squash" brings both sides to it.
  """
  h, w, c = pixels.shape
  high, wide = (size, size) if isinstance(size, int) else size
  if (h, w) == (high, wide):
    return pixels
  box = window(h, w, (high, wide), fit)
  scaled = lambda x: np.asarray(Image.fromarray(x).resize((wide, high), Image.Resampling.BILINEAR, box))
  if pixels.dtype == np.uint8 and c == 3:
    return scaled(pixels)
  planes = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
  out = np.stack([scaled(np.ascontiguousarray(planes[..., i])) for i in range(c)], axis=-1)
  return np.rint(out).astype(np.uint16) if pixels.dtype == np.uint16 else out


def window(h, w, size, fit):
  """(left, top, right, bottom) of what an image of h x w keeps when it is resized to size = (h, w)."""
  high, wide = size
  kept = (min(h, w * high / wide), min(w, h * wide / high)) if fit == "crop" else (h, w)
  top, left = (h - kept[0]) / 2, (w - kept[1]) / 2
  return left, top, w - left, h - top


def _pixels(data, size):
  """What Pillow reads, and through tifffile the TIFFs that it does not, or not exactly."""
  try:
    image = Image.open(io.BytesIO(data))
  except Image.UnidentifiedImageError:
    if data[:4] in _TIFF:
      return _tiff(data)
    raise
  modes = [t.args if isinstance(t.args, str) else str(t.args[0]) for t in image.tile]
  deep = image.format == "TIFF" and max(image.tag_v2.get(258, (1,))) > 8 and (
      image.tag_v2.get(277, 1) > 1 or not image.mode.startswith("I;16"))
  if modes and all(m in ("RGB;16B", "RGB;16L", "RGB;16N", "RGBA;16B", "RGBA;16L", "RGBA;16N") for m in modes):
    pixels = _sixteen(data)
  elif deep:
    return _tiff(data)
  else:
    pixels = _eight(image, modes, size)
  turn = image.getexif().get(0x0112, 1) if image.info or image.format == "TIFF" else 1
  return _TURNS[turn](pixels) if turn in _TURNS else pixels


def _eight(image, modes, size):
  """Grey, RGB, 16-bit grey and float images, which Pillow holds exactly."""
  if "LA;16B" in modes or (image.format == "PPM" and image.mode == "RGB" and image.tile[0].args != "RGB"
                           and int(image.tile[0].args[-1]) > 255):
    raise ValueError(f"this kind of 16-bit {image.format} cannot be kept exactly; save it as an RGB or grey PNG")
  if size and image.format == "JPEG":            # photographs are decoded at 1/2, 1/4 or 1/8, never below twice `size`
    image.draft(None, (2 * size, 2 * size))
  image.load()
  if image.mode == "I" and image.format == "PPM":
    return np.asarray(image).astype(np.uint16)
  if image.mode == "I":
    raise ValueError("it has 32 bits a pixel; save it with 16, or as a float .npy in [0, 1]")
  if image.mode in ("1", "LA", "La"):
    image = image.convert("L")
  elif not (image.mode in ("L", "RGB", "F") or image.mode.startswith("I;16")):
    image = (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
  return np.asarray(image)


def _sixteen(data):
  """RGB(A) with all 16 bits, which Pillow reduces to 8: it keeps the high bytes; asked for the other byte order, the
  low ones."""
  passes = []
  for other in (False, True):
    image = Image.open(io.BytesIO(data))
    tiles = []
    for tile in image.tile:
      raw, *rest = (tile.args,) if isinstance(tile.args, str) else tile.args
      order = _NATIVE if raw[-1] == "N" else raw[-1]
      raw = raw[:-1] + ({"B": "L", "L": "B"}[order] if other else order)
      tiles.append(tile._replace(args=raw if isinstance(tile.args, str) else (raw, *rest)))
    image.tile = tiles
    passes.append(np.asarray(image)[..., :3].astype(np.uint16))
  return passes[0] << 8 | passes[1]


def _tiff(data):
  """Many channels, planes, floats; of the first page."""
  import tifffile

  with tifffile.TiffFile(io.BytesIO(data)) as file:
    page = file.pages[0]
    if "imagecodecs" not in sys.modules and page.compression not in (1, 8, 32773, 32946, 50000, 34925):
      raise ValueError(f"this TIFF is compressed with {page.compression.name}; save it uncompressed or with deflate")
    pixels, turn = page.asarray(), page.tags.valueof(0x0112, 1)
    axes = page.axes
    pixels = np.moveaxis(pixels, axes.index("S"), -1) if "S" in axes else pixels
    if page.photometric == tifffile.PHOTOMETRIC.RGB and len(page.extrasamples):
      pixels = pixels[..., :3]
  return _TURNS[turn](pixels) if turn in _TURNS else pixels


def batch(data, options, where):
  """Encoded images -> {"image": [b, H, W, C]}, decoded by all cores; RunError, saying `where`, if corrupt."""
  def images(part):
    try:
      return [decode(d, **options) for d in part]
    except ValueError as e:
      raise errors.RunError(f"an image in {where} is corrupt: {e}; delete that to prepare it again") from e

  return {"image": np.stack(parallel(images, data, sum(map(len, data))))}


def parallel(function, items, size):
  """function(items) -> a list, with all cores at work on consecutive parts of the items, which have `size` bytes.

  Threads only take the interpreter from each other where an image is decoded in a fraction of a millisecond.
  """
  step = -(-len(items) // (os.cpu_count() or 1))
  if step < 2 or size < SMALL * len(items):
    return function(items)
  return [x for part in _pool().map(function, [items[i:i + step] for i in range(0, len(items), step)]) for x in part]


@functools.cache
def _pool():
  return concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1, "sslx-decode")
