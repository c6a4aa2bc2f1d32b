"""Things that belong together, an example a line of a JSON file: an image and its captions, its sound, its depth.

  pairs:FILE.jsonl              {"image": "images/1.jpg", "text": ["a dog", "two dogs"], "label": "dog"}, a line each
  pairs:PATH                    {train,test}.jsonl in the folder; train.jsonl by itself has test.jsonl beside it, too

  image   path of an image                text    a text, or a list of several that say the same
  audio   path of a recording             depth   path of an image of one channel, 16 bits, or 8, which count 257 each
  points  path of a .npy array [N, 3]     voxels  path of a .npy array [D, H, W]
  label   a class, by name or number

Paths are relative to the file. All members but the one that is looked at first (`key`) may be missing: such ones are
all zeros. Where there is no test part, every fifth example is held out.
"""

import functools
import json
import os
import pathlib

import numpy as np
from PIL import Image

from sslx import errors, tokens
from sslx.data import audio, decode, points, solid, source
from sslx.data.folder import PARTS

MEMBERS = ("image", "text", "audio", "depth", "points", "voxels")
LONGEST = 256                                                # tokens of a text


def load(path, split, *, key="image", size=0, fit="crop", length=0.0, rate=0, tokenizer="bytes"):
  """The Source of {member: array}: "image" [H, W, C], "text" int32 [n, T], "audio" [S], "depth" [H, W, 1], "points"
  [M, 3], "voxels" [D, H, W, 1], these as solid.py has them, M the fewest that an example of the training part has.

  Args:
    key: the member that every example has, the Source's key; examples without it are left out and counted.
    size, fit: of images, as in data.load; depth is resized by nearest pixels.
    length, rate: of recordings: seconds, and samples a second.
    tokenizer: of text: n texts, those of the example over and over, of T tokens, as many as the longest of the training
      part has, 256 at most.

  Raises errors.UsageError for files that are missing or not as they should be, errors.RunError for corrupt ones.
  """
  if key not in MEMBERS:
    raise errors.unknown("data.key", key, MEMBERS)
  if length < 0 or rate < 0:
    raise errors.UsageError(f"data.length is {length:g} and data.rate {rate:g}: give seconds and Hz, or 0")
  here, parts = files(path)
  first = records(parts["train"])
  held = next((parts[p] for p in (split, "test", "validation") if p in parts and p != "train"), None)
  rows = first if split == "train" or held is None else records(held)
  names = sorted({str(r["label"]) for r in (*first, *rows) if "label" in r}, key=lambda n: (not n.isdigit(), len(n), n))
  has = [m for m in MEMBERS if any(m in r for r in first)]
  if key not in has:
    raise errors.UsageError(f"{path} has no {key}: its examples have {', '.join(has) or 'nothing'} (data.key)")
  if held is None:
    rows = [first[i] for i in source.split(len(first))[split != "train"]]
  found = [r for r in rows if key in r]
  if lost := next((r[m] for r in found for m in r if m not in ("text", "label") and not (here / r[m]).exists()), None):
    raise errors.UsageError(f"there is no {here / lost}, which the examples of {path} name")
  coder, texts = tokens.coder(tokenizer), [t for r in first for t in r.get("text", ())]
  longest = max((len(coder.encode(t.encode())) for t in texts), default=0)
  words = {"count": 1 if key == "text" else max((len(r.get("text", ())) for r in first), default=0),
           "length": min(LONGEST, longest), "tokenizer": tokenizer}
  holders = [r for r in found if "audio" in r] or [r for r in first if "audio" in r]
  heads = [audio.head(here / r["audio"], on_error="") for r in holders]
  rates = {h.rate for h in heads}
  if not rate and len(rates) > 1:
    raise errors.UsageError(f"recordings have several rates, {min(rates)} and {max(rates)} Hz: set data.rate")
  rate = int(rate) or next(iter(rates), 0)
  sounds = {"rate": rate, "count": round((length or audio.LENGTH) * rate), "dtype": np.int16}
  of = lambda member: [here / r[member] for r in first if member in r]
  solids = {"points": functools.partial(solid.cloud, count=points.fewest(of("points"))), "voxels": solid.grid}
  shapes = {m: solids[m](of(m)[0]) for m in solids if m in has}
  for member in {"image", "depth"} & set(has):
    holders = [r for r in found if member in r] or [r for r in first if member in r]
    sizes = {_size(here / r[member]): r[member] for r in holders}
    if not size and len(sizes) > 1:
      (a, f), (b, g), *_ = sizes.items()
      raise errors.UsageError(f"images have several sizes ({f} {a[1]}x{a[0]}, {g} {b[1]}x{b[0]}): set data.size")
    shapes[member] = (size, size) if size else next(iter(sizes))
  read = functools.partial(_read, here, found, key, has, shapes, size, fit, words, sounds, solids)
  labels = np.array([names.index(str(r["label"])) if "label" in r else -1 for r in found], np.int32) if names else None
  example = read(np.arange(1))[key][0]
  shape = example.shape[-1:] if key == "text" else example.shape
  bytes_ = [os.path.getsize(here / r[m]) for r in found for m in r if m not in ("text", "label")]
  mark = source.digest(json.dumps([found, bytes_, size, fit, words, {k: str(v) for k, v in sounds.items()},
                                   *(list(shapes[m].shape) for m in solids if m in has)]).encode())
  return source.Source(f"pairs:{path}", read, np.arange(len(found)), shape, str(example.dtype), labels,
                       tuple(names) or None, [str(here / r[key]) if key != "text" else None for r in found], mark,
                       len(rows) - len(found), key=key)


def files(path):
  """(the folder that paths are relative to, {part: file})."""
  path = pathlib.Path(path)
  folder = path if path.is_dir() else path.parent
  known = {PARTS[p.stem.lower()]: p for p in sorted(folder.glob("*.jsonl")) if p.stem.lower() in PARTS}
  if path.is_dir():
    if "train" not in known:
      raise errors.UsageError(f"{path} has no train.jsonl: pairs:PATH needs one, or pairs:FILE.jsonl")
    return folder, known
  if not path.is_file():
    raise errors.UsageError(f"no such file or folder: {path}")
  return folder, known if path in known.values() and path == known.get("train") else {"train": path}


def texts(path):
  """All texts of the training part, as bytes."""
  return [t.encode() for r in records(files(path)[1]["train"]) for t in r.get("text", ())]


def records(file):
  """The examples of a file, [{member: value}], texts as lists."""
  out = []
  for n, line in enumerate(pathlib.Path(file).read_text(encoding="utf-8").splitlines(), 1):
    if not line.strip():
      continue
    try:
      found = {k: v for k, v in json.loads(line).items() if v not in (None, "", [])}
    except (ValueError, AttributeError) as e:
      raise errors.UsageError(f"{file}, line {n}: it must be a JSON object: {errors.first_line(e)}") from e
    if unknown := set(found) - {*MEMBERS, "label"}:
      raise errors.UsageError(f"{file}, line {n}: {errors.unknown('member', sorted(unknown)[0], (*MEMBERS, 'label'))}")
    text = found.get("text", [])
    text = [text] if isinstance(text, str) else text
    if not all(isinstance(v, str) for v in (*text, *(found[k] for k in found if k not in ("text", "label")))):
      raise errors.UsageError(f"{file}, line {n}: members are strings, and text may be a list of such")
    out.append(found | ({"text": text} if text else {}))
  if not out:
    raise errors.UsageError(f"{file} is empty")
  return out


def _size(file):
  try:
    return decode.shape_of(file)
  except OSError as e:
    raise errors.RunError(f"{file} cannot be read: {e.strerror or 'it is no image'}") from e


def _read(here, found, first, has, shapes, size, fit, words, sounds, solids, rows):
  """Some rows of all members, decoded by all cores; with texts first, one of each example."""
  chosen = [found[int(i)] for i in rows]
  out = {}
  for member in has:
    one = {"image": lambda r: _image(here / r["image"], size, fit),
           "depth": lambda r: _depth(here / r["depth"], size, fit),
           "audio": lambda r: _sound(here / r["audio"], **sounds), "text": lambda r: ids(r["text"], **words),
           **{m: lambda r, m=m: _solid(here / r[m], solids[m], shapes[m]) for m in solids}}[member]
    there = [r for r in chosen if member in r]
    cost = 0 if member == "text" else sum(os.path.getsize(here / r[member]) for r in there)
    arrays = iter(decode.parallel(lambda part, one=one: [one(r) for r in part], there, cost))
    blank = {"image": ((*shapes.get("image", ()), 3), np.uint8), "depth": ((*shapes.get("depth", ()), 1), np.uint16),
             "audio": ((sounds["count"],), sounds["dtype"]), "text": ((words["count"], words["length"]), np.int32),
             **{m: (shapes[m].shape, shapes[m].dtype) for m in solids if m in has}}
    out[member] = np.stack([next(arrays) if member in r else np.zeros(*blank[member]) for r in chosen])
  return out | ({"text": out["text"][:, 0]} if first == "text" else {})


def ids(texts, *, count, length, tokenizer):
  """Texts as int32 [count, length], over and over; zeros behind each one's end."""
  coder, out = tokens.coder(tokenizer), np.zeros((count, length), np.int32)
  for row, text in zip(out, (texts * count)[:count], strict=True):
    found = coder.encode(text.encode())[:length]
    row[:len(found)] = found
  return out


def _image(path, size, fit):
  try:
    return decode.decode(path.read_bytes(), size=size, fit=fit, channels=3)
  except ValueError as e:
    raise errors.RunError(f"the image {path} is corrupt: {e}") from e


def _depth(path, size, fit):
  try:
    with Image.open(path) as opened:
      if opened.mode == "P" or opened.mode.startswith("F"):
        kind = "a palette" if opened.mode == "P" else "floats"
        raise errors.UsageError(f"the depth map {path} has {kind}: it must be of one channel, 8 or 16 bits")
      if size:
        box = decode.window(opened.height, opened.width, (size, size), fit)
        opened = opened.resize((size, size), Image.Resampling.NEAREST, box)
      pixels = np.asarray(opened)
  except OSError as e:
    raise errors.RunError(f"the depth map {path} is corrupt: {errors.first_line(e)}") from e
  if pixels.ndim != 2:
    raise errors.UsageError(f"the depth map {path} has {pixels.shape[-1]} channels: it must have one")
  if pixels.max() > 65535 or pixels.min() < 0:
    raise errors.UsageError(f"the depth map {path} goes from {pixels.min()} to {pixels.max()}: 16 bits end at 65535")
  return (pixels.astype(np.uint16) * (257 if pixels.dtype == np.uint8 else 1))[..., None]


def _solid(path, read, like):
  x = read(path)
  if (x.shape, x.dtype) != (like.shape, like.dtype):
    raise errors.UsageError(f"{path} is {list(x.shape)} {x.dtype}, others are {list(like.shape)} {like.dtype}: they "
                            "must be alike")
  return x


def _sound(path, *, rate, count, dtype):
  samples, old = audio.read(path)
  return audio.mono(samples, old, rate, count, dtype)
