import io
import struct
import zlib

import images
import numpy as np
import pytest
import tifffile
from PIL import Image

from sslx.data import decode


def png16(array):
  """A PNG of uint16 [H, W, 1 | 2 | 3 | 4], written by hand: the reference for exactness."""
  h, w, c = array.shape
  chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
  rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
  head = struct.pack(">IIBBBBB", w, h, 16, {1: 0, 2: 4, 3: 2, 4: 6}[c], 0, 0, 0)
  return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(array, **options):
  out = io.BytesIO()
  tifffile.imwrite(out, array, **options)
  return out.getvalue()


def npy(array):
  out = io.BytesIO()
  np.save(out, array)
  return out.getvalue()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_keeps_16_bits(channels):
  x = images.pixels(channels, 7, 5, channels, dtype=np.uint16)
  y = decode.decode(png16(x))
  assert y.dtype == np.uint16
  np.testing.assert_array_equal(y, x[..., :3])             # alpha is dropped


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True},
                                     {"byteorder": ">"}, {"planarconfig": "separate"}])
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_tiff_keeps_bits_and_channels(channels, options):
  x = images.pixels(channels, 7, 9, channels, dtype=np.uint16)
  options = {} if channels == 1 and "planarconfig" in options else options       # one plane has nothing to part
  raw = np.moveaxis(x, -1, 0).copy() if "planarconfig" in options else x
  kind = {1: "minisblack", 3: "rgb", 4: "minisblack", 7: "minisblack"}[channels]
  y = decode.decode(tiff(raw[..., 0] if channels == 1 else raw, photometric=kind,
                         **({"planarconfig": "contig"} if channels > 1 else {}) | options))
  assert y.dtype == np.uint16
  np.testing.assert_array_equal(y, x)


def test_tiff_of_8_bits_and_7_channels():
  x = images.pixels(0, 6, 5, 7)
  np.testing.assert_array_equal(decode.decode(tiff(x, photometric="minisblack", planarconfig="contig")), x)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_npy(dtype):
  x = images.pixels(0, 6, 5, 9) if dtype == np.uint8 else images.pixels(0, 6, 5, 9, dtype=np.uint16)
  x = (x / 65535).astype(np.float32) if dtype == np.float32 else x
  np.testing.assert_array_equal(decode.decode(npy(x)), x)
  assert decode.decode(npy(x[..., 0])).shape == (6, 5, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
  x = images.pixels(0, 6, 9, 3)
  exif = Image.Exif()
  exif[0x0112] = orientation
  data = images.encoded(x, "PNG", exif=exif)
  with Image.open(io.BytesIO(data)) as image:
    from PIL import ImageOps
    want = np.asarray(ImageOps.exif_transpose(image))
  got = decode.decode(data)
  np.testing.assert_array_equal(got, want)
  assert got.flags.c_contiguous
  wide = tiff(images.pixels(0, 6, 9, 7, dtype=np.uint16), photometric="minisblack", planarconfig="contig",
              extratags=[(274, 3, 1, orientation, True)])
  assert decode.decode(wide).shape == ((6, 9, 7) if orientation < 5 else (9, 6, 7))


@pytest.mark.parametrize(("mode", "shape"), [("L", 1), ("LA", 1), ("1", 1), ("P", 3), ("RGBA", 3), ("RGB", 3)])
def test_modes(mode, shape):
  out = io.BytesIO()
  image = Image.fromarray(images.pixels(0, 6, 5, 3))
  image = image.convert(mode)
  image.save(out, "PNG", **({"transparency": b"\x00\x80"} if mode == "P" else {}))
  y = decode.decode(out.getvalue())
  assert y.shape == (6, 5, shape) and y.dtype == np.uint8
  if mode == "RGBA":
    np.testing.assert_array_equal(y, images.pixels(0, 6, 5, 3))


def test_cmyk_jpeg_becomes_rgb_and_grey_can():
  out = io.BytesIO()
  Image.fromarray(images.pixels(0, 16, 16, 3)).convert("CMYK").save(out, "JPEG")
  assert decode.decode(out.getvalue()).shape == (16, 16, 3)
  grey = images.encoded(images.pixels(0, 6, 5))
  np.testing.assert_array_equal(decode.decode(grey, channels=3), np.repeat(decode.decode(grey), 3, axis=-1))


@pytest.mark.parametrize(("data", "match"), [
    (b"", "empty"),
    (b"this is text, whatever its name says", "not an image"),
    (images.encoded(images.pixels(0, 64, 64, 3), "JPEG")[:-900], "truncated"),
    (images.encoded(images.pixels(0, 64, 64, 3))[:-900], "truncated|broken"),
    (tiff(images.pixels(0, 9, 9, 7), photometric="minisblack", planarconfig="contig")[:-99], "."),
    (npy(images.pixels(0, 4, 4))[:-3], "."),
    (npy(np.array([{}])), "pickle"),
    (npy(np.full((4, 4), 2.0)), r"\[0, 1\]"),
    (npy(np.full((4, 4), np.nan)), r"\[0, 1\]"),
    (npy(np.zeros((4, 4), np.int64)), "int64"),
    (npy(np.zeros((2, 4, 4, 3), np.uint8)), "shape"),
    (tiff(np.zeros((4, 4), np.int32)), "32 bits|int32"),
    (png16(images.pixels(0, 4, 4, 2, dtype=np.uint16)), "16-bit PNG"),
    (b"P6 2 2 65535\n" + bytes(24), "16-bit PPM"),
])
def test_what_is_no_image_says_why(data, match):
  with pytest.raises(ValueError, match=match) as e:
    decode.decode(data)
  assert "\n" not in str(e.value)


def test_grey_pgm_of_16_bits():
  x = images.pixels(0, 3, 4, dtype=np.uint16)
  y = decode.decode(b"P5 4 3 65535\n" + x.astype(">u2").tobytes())
  assert y.dtype == np.uint16
  np.testing.assert_array_equal(y[..., 0], x)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_resize(dtype, channels):
  x = np.zeros((10, 20, channels), dtype)
  x[:, 3:17] = 1 if dtype == np.float32 else 200
  crop, squash = decode.resize(x, 5, "crop"), decode.resize(x, 5, "squash")
  assert crop.shape == squash.shape == (5, 5, channels) and crop.dtype == squash.dtype == dtype
  assert (crop == x.max()).all()                           # the middle
  assert squash[0, 0, 0] < crop[0, 0, 0] and squash[0, 2, 0] == x.max()
  assert decode.resize(x[:, :10], 10) is not None and (decode.resize(x[:, :10], 10) == x[:, :10]).all()


def test_large_jpegs_are_decoded_small():
  x = np.asarray(Image.fromarray(images.pixels(0, 8, 8, 3)).resize((640, 480), Image.Resampling.BICUBIC))
  data = images.encoded(x, "JPEG", quality=95)
  small, full = decode.decode(data, size=32), decode.resize(decode.decode(data), 32)
  assert small.shape == (32, 32, 3) and np.abs(small.astype(int) - full).mean() < 2
