"""Examples of every kind as pictures: images, clips, sounds, text, objects as data URIs that a page holds in itself."""

import base64
import functools
import html
import io
import wave

import jax
import numpy as np
from PIL import Image

from sslx import errors, tokens
from sslx.augment import to_float
from sslx.methods.solid import pictures
from sslx.report import figures

SMALL, LARGE = 96, 128                   # pixels: smaller images are enlarged, larger ones reduced
FRAMES = 4                               # of a clip
LINE, LINES = 32, 12                     # letters and lines of a text
WINDOW = 64                              # samples, of the picture of a sound


def rgb(image):
  """[H, W] or [H, W, C], integers or floats in [0, 1] -> uint8 [H, W] or [H, W, 3]; see `channels`."""
  x = np.asarray(image)
  x = x / np.iinfo(x.dtype).max if np.issubdtype(x.dtype, np.integer) else x.astype(np.float32)
  x = np.nan_to_num(np.clip(x, 0, 1))
  if x.ndim == 3:
    x = x[..., :3] if x.shape[2] >= 3 else x.mean(2)
  return np.rint(255 * x).astype(np.uint8)


def channels(count):
  """How images of that many channels are shown, or None where there is nothing to say."""
  if count in (1, 3):
    return None
  return f"Of the {count} channels " + ("the mean is shown." if count < 3 else
                                        "the first three are shown as red, green and blue.")


def thumbnail(image):
  """An image as a PNG data URI: small ones enlarged so that each pixel is a square, large ones reduced."""
  return figures.png(sized(rgb(image)))


def sized(x):
  side = max(x.shape[:2])
  if side > LARGE:
    new = (max(1, round(x.shape[1] * LARGE / side)), max(1, round(x.shape[0] * LARGE / side)))
    return np.asarray(Image.fromarray(x).resize(new, Image.Resampling.LANCZOS))
  factor = -(-SMALL // side)
  return x.repeat(factor, 0).repeat(factor, 1)


def crisp(shape):
  """Whether images are so small that a browser that enlarges them should keep their pixels square."""
  return max(shape[:2]) <= 16


def picture(key, x, tokenizer="bytes"):
  """One example of a Source of that key, or the member of one, as a data URI."""
  read = lambda ids: text(tokens.coder(tokenizer).decode(ids))
  solids = {k: functools.partial(solid, k) for k in ("voxels", "points")}
  kinds = {"image": thumbnail, "video": film, "audio": sound, "text": read, "depth": depth, **solids}
  if key not in kinds:
    raise errors.UsageError(f"there is no picture of {key}: those of {', '.join(kinds)} are known")
  return kinds[key](x)


def depth(x):
  """[H, W, 1], of any unit -> grey: near is light, between the nearest and the farthest 2 %; unknown, 0, is black."""
  x = np.asarray(x, np.float32)
  low, high = np.percentile(x[x > 0], (2, 98)) if (x > 0).any() else (0, 1)
  return thumbnail(np.where(x > 0, 1 - (x - low) / max(high - low, 1e-6), 0))


def captioned(shown):
  """base.Captioned -> [(data URI of an image, the lines below it)]."""
  return [(thumbnail(image), [clean(line) for line in own]) for image, own in zip(
      np.asarray(shown.images, np.float32), shown.lines, strict=True)]


def solid(key, x):
  """Voxels [D, H, W, 1] or points [M, 3] as they are seen from one side, the third axis up."""
  return thumbnail(np.asarray(_rendered(key)(to_float(np.asarray(x)[None])))[0])


@functools.cache
def _rendered(key):
  return jax.jit(functools.partial(pictures, key, size=SMALL))


def film(clip):
  """[T, H, W, C] -> some of its frames in a row, as one picture."""
  chosen = np.linspace(0, len(clip) - 1, min(FRAMES, len(clip))).round().astype(int)
  frames = [rgb(clip[i]) for i in chosen]
  return figures.png(np.concatenate([sized(f) for f in frames], 1))


def sound(samples):
  """[T] -> the spectrogram, 60 dB of it, low notes below."""
  x = np.asarray(samples, np.float32)
  if len(x) < 2 * WINDOW:
    x = np.pad(x, (0, 2 * WINDOW - len(x)))
  frames = np.lib.stride_tricks.sliding_window_view(x, 2 * WINDOW)[::max(1, len(x) // 256)] * np.hanning(2 * WINDOW)
  power = np.log10(np.abs(np.fft.rfft(frames)[:, :WINDOW]) ** 2 + 1e-12).T[::-1]                     # [frequency, time]
  return thumbnail(np.clip((power - power.max()) / 6 + 1, 0, 1))


def player(samples, rate):
  """[T] floats in [-1, 1] or int16 -> a WAV data URI."""
  x = np.asarray(samples)
  x = x if x.dtype == np.int16 else np.rint(32767 * np.clip(np.nan_to_num(x), -1, 1)).astype(np.int16)
  buffer = io.BytesIO()
  with wave.open(buffer, "wb") as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(int(rate))
    file.writeframes(x.astype("<i2").tobytes())
  return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def text(line):
  """Text as an SVG data URI of a few short lines."""
  rows = [row[i:i + LINE] for row in line.split("\n") for i in range(0, max(1, len(row)), LINE)][:LINES]
  spans = "".join(f'<text x="4" y="{14 * (n + 1)}" xml:space="preserve">{html.escape(clean(row))}</text>'
                  for n, row in enumerate(rows))
  svg = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{8 * LINE}" height="{14 * len(rows) + 8}" '
         f'font-family="monospace" font-size="12" fill="#111"><rect width="100%" height="100%" fill="#f4f4f0"/>'
         f'{spans}</svg>')
  return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def clean(line):
  """A line without characters that XML cannot hold."""
  return "".join(c if c >= " " and c.isprintable() else "\ufffd" for c in line)
