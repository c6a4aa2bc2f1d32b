"""Recordings in folders, of one channel, of one rate and length.

  PATH/{train,test}/CLASS/**/FILE    labelled; without train/ and test/ every fifth recording is held out
  PATH/{train,test}/FILE, PATH/FILE  unlabelled

WAV files of 8 or 16 bits are read as they are; others, FLAC, Ogg, MP3 and the like need soundfile: `pip install
'sslx[audio]'`.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import wave

import numpy as np

from sslx import errors
from sslx.data import decode, layout, source

OTHERS = frozenset((".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"))
LENGTH = 1.0                 # seconds of an example


@dataclasses.dataclass(frozen=True)
class Head:
  """What a file says of itself: samples a second, their number, and whether they fit in 16 bits."""
  rate: int
  count: int
  short: bool


def load(path, split, *, length=0.0, rate=0, on_error="raise"):
  """The Source of recordings {"audio": [T]} of one split: int16 where all files have 16 bits, else float32 in [-1, 1].

  Args:
    length: seconds of an example; longer recordings are cut, shorter ones end in silence. 0 for one second.
    rate: samples a second, to which all are resampled; 0 for the files' own, which must be alike.
    on_error: raise | skip: recordings that cannot be opened or are cut short are an error, or left out and counted.

  Several channels become their mean. Raises errors.UsageError for folders without recordings or of several rates,
  errors.RunError for corrupt files.
  """
  if length < 0 or rate < 0:
    raise errors.UsageError(f"data.length is {length:g} and data.rate {rate:g}: give seconds and Hz, or 0")
  files, names = layout.files(path, split, OTHERS | {".wav"}, "recordings", "WAV, FLAC, Ogg or MP3 files")
  heads = decode.parallel(lambda part: [head(f, on_error) for f, _ in part], files, 0)
  skipped = heads.count(None)
  if skipped == len(files):
    raise errors.RunError(f"all {skipped} recordings of {path}, {split}, are corrupt")
  files, heads = ([x for x, h in zip(rows, heads, strict=True) if h] for rows in (files, heads))
  rates = {h.rate: f for (f, _), h in zip(files, heads, strict=True)}
  if not rate and len(rates) > 1:
    (a, f), (b, g), *_ = sorted(rates.items())
    raise errors.UsageError(f"recordings have several rates ({f} {a} Hz, {g} {b} Hz): set data.rate")
  rate = int(rate) or next(iter(rates))
  count, dtype = round((length or LENGTH) * rate), np.int16 if all(h.short for h in heads) else np.float32
  if not count:
    raise errors.UsageError(f"data.length is {length:g} seconds: not one sample at {rate} Hz")
  labels = names and np.array([names.index(c) for _, c in files], np.int32)
  paths = [f for f, _ in files]
  mark = source.digest(*(f"{os.path.relpath(f, path)} {os.path.getsize(f)} {h.count}".encode()
                         for f, h in zip(paths, heads, strict=True)), f"{count} {rate}".encode())
  return source.Source(f"audio:{path}", functools.partial(_rows, paths, rate, count, dtype), np.arange(len(paths)),
                       (count,), np.dtype(dtype).name, labels, names, paths, mark, skipped, key="audio")


def read(path):
  """(samples [T, channels], int16 or floats in [-1, 1], rate) of a file; RunError where it is corrupt."""
  with _corrupt(path):
    if found := _pcm(path, whole=True):
      return found
    soundfile = _soundfile()
    return soundfile.read(path, dtype="int16" if _short(soundfile.info(path)) else "float32", always_2d=True)


def mono(x, rate, new, count, dtype):
  """Samples [T, channels] at `rate` -> [count] of one channel at the `new` rate, int16 or float32; silence behind."""
  if x.shape[1] > 1 or rate != new or x.dtype != dtype:
    from scipy import signal
    x = x[:-(-count * rate // new) + rate]                     # what is needed, and a second for the filter
    x = x.mean(1, dtype=np.float64) / (32768 if x.dtype == np.int16 else 1)
    x = x if rate == new else signal.resample_poly(x, new, rate)
    x = np.rint(32768 * x).clip(-32768, 32767) if dtype == np.int16 else x.clip(-1, 1)
  x = x.reshape(-1)[:count].astype(dtype)
  return np.pad(x, (0, count - len(x)))


def _rows(paths, rate, count, dtype, rows):
  """The recordings of some rows, read by all cores."""
  def one(part):
    found = [read(path) for path in part]
    return [mono(x, old, rate, count, dtype) for x, old in found]
  chosen = [paths[int(i)] for i in rows]
  return {"audio": np.stack(decode.parallel(one, chosen, sum(os.path.getsize(p) for p in chosen)))}


def head(path, on_error="raise"):
  """The Head of a file; None of a corrupt one with on_error "skip"; "raise" says that there is such a thing."""
  try:
    with _corrupt(path):
      if found := _pcm(path, whole=False):
        return Head(found[1], found[0], True)
      info = _soundfile().info(path)
      return Head(info.samplerate, info.frames, _short(info))
  except errors.RunError as e:
    if on_error == "skip":
      return None
    advice = ", or set data.on_error=skip" if on_error == "raise" else ""
    raise errors.RunError(f"{e}; mend or remove it{advice}") from e


def _pcm(path, whole):
  """(samples int16 [T, channels], or their number, and the rate) of a WAV file of 8 or 16 bits; None for others."""
  if pathlib.Path(path).suffix.lower() != ".wav":
    return None
  try:
    with wave.open(str(path)) as file:
      width, channels, count, rate = (file.getsampwidth(), file.getnchannels(), file.getnframes(), file.getframerate())
      if width > 2:
        return None
      if os.path.getsize(path) < count * width * channels:
        raise ValueError(f"it is cut short, of {count} samples")
      x = np.frombuffer(file.readframes(count), "<i2" if width == 2 else "u1") if whole else None
  except wave.Error as e:
    if "unknown format" in str(e):                         # floats, or a longer head
      return None
    raise
  if x is None:
    return count, rate
  x = x.astype(np.int16) if width == 2 else (x.astype(np.int16) - 128) * 256
  return x.reshape(-1, channels), rate


def _short(info):
  return info.subtype in ("PCM_16", "PCM_S8", "PCM_U8")


@contextlib.contextmanager
def _corrupt(path):
  """Any error of a decoder as a RunError that names the file."""
  try:
    yield
  except (OSError, ValueError, RuntimeError, EOFError, wave.Error) as e:
    if isinstance(e, errors.UsageError | errors.RunError):
      raise
    raise errors.RunError(f"the recording {path} is corrupt: {errors.first_line(e)}") from e


def _soundfile():
  try:
    import soundfile
  except ImportError as e:
    raise errors.UsageError("recordings other than WAV files of 8 or 16 bits need soundfile: pip install 'sslx[audio]'"
                            ) from e
  return soundfile
