"""Data sets -> a Source (random access to examples) -> a deterministic, resumable iterator of batches.

  source = data.load("folder:flowers", split="train", size=64)
  for batch in data.batches(source, batch_size=256, seed=0): ...   # {"image": [B, H, W, C], "label": [B], "index": [B]}
"""

import importlib
import os

import numpy as np

from sslx import errors, options, paths
from sslx.data import boxes, decode, masks, memory, pairs, prepared, source as sources, tfds, toy
from sslx.data.loader import arrays as arrays, batches as batches, drawn as drawn, parts as parts
from sslx.data.prepared import directory as directory
from sslx.data.source import Source as Source, beside as beside, from_array as from_array, numbered as numbered
from sslx.data.text import learn_tokenizer as learn_tokenizer
from sslx.data.votes import voted as voted

BUILT_IN = ("digits", "fashion_mnist", *toy.SETS)
FILES = ("folder", "npz", "masks", "boxes", "text", "audio", "video", "voxels", "points", "pairs")    # KIND:PATH
FORMS = ("tfds:NAME", *(f"{kind}:PATH" for kind in FILES), "package.module")
OTHERS = ("length", "rate", "tokenizer", "key")              # options of what are no images, and of pairs
READ = {"text": ("length", "tokenizer"), "audio": ("length", "rate", "on_error"),
        "video": ("length", "rate", "size", "fit"), "voxels": ("size", "on_error"),
        "points": ("length", "size", "key", "on_error")}
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test",
          "val": "validation", "valid": "validation", "validation": "validation"}


def load(name, *, split="train", dir=None, size=0, fit="crop", channels=0, limit=0, on_error="raise", seed=0,
         length=0, rate=0, tokenizer="bytes", key="", progress=None):
  """A data set as a Source of images, or of text, audio, video, voxels or points (see Source), with labels if it has
  them.

  Args:
    name: digits | fashion_mnist | digits_text, digits_audio, digits_video, digits_voxels, digits_points, digits_pairs |
      tfds:NAME | folder:, npz:, masks:, boxes:, text:, audio:, video:, voxels:, points: or pairs:PATH | the name of a
      prepared folder | a dotted name of your own `load(*, split="train", ...)`, which returns a Source or any sequence
      of dicts of arrays.
    split: train | test | validation (val, valid). A set with only one held-out part gives it for both names; one with
      none is split 80 to 20, stratified when labelled, the same way everywhere and whatever the seed.
    dir: where prepared sets live; else $TFDS_DATA_DIR, else the user's cache folder.
    size: side in pixels that images are resized to; 0 keeps them, then all must have one shape; side of voxel grids.
    fit: crop (short side to size, middle kept) | squash (both sides to size).
    channels: 3 makes RGB of grey images; 0 keeps the channels.
    limit: only the first N examples of a shuffle by `seed`; 0 = all.
    on_error: raise | skip: corrupt images, found once when a folder is prepared; recordings that cannot be opened;
      images whose masks or boxes are not whole, and boxes that are not.
    length, rate, tokenizer: of text, audio, video and points; see config.data.
    key: of pairs, the member that the others belong to, one of pairs.MEMBERS, "" for the image; of points "image" for
      pictures of them, size pixels wide, in front.
    progress: called with (files done, files in all) while a folder is prepared.

  Raises:
    UsageError: an unknown name, a missing path, options that do not fit the images.
    RunError: corrupt images, a full disk.
  """
  if split not in SPLITS:
    raise errors.unknown("split", split, SPLITS)
  if fit not in ("crop", "squash"):
    raise errors.unknown("data.fit", fit, ("crop", "squash"))
  if on_error not in ("raise", "skip"):
    raise errors.unknown("data.on_error", on_error, ("raise", "skip"))
  if channels not in (0, 3):
    raise errors.UsageError(f"data.channels is {channels}; give 3 to make RGB of grey images, or 0 to keep them")
  if size < 0:
    raise errors.UsageError(f"data.size is {size}; give a side in pixels, or 0 to keep the images as they are")
  split, (kind, path) = SPLITS[split], _kind(name, dir)
  if kind == "folder":
    meta = prepared.prepare(path, dir, progress=progress)
    prepared.check(meta, on_error)
    source = prepared.load(meta, split, size, fit)
  elif kind == "prepared":
    meta = prepared.current(name, dir, progress)
    prepared.check(meta, on_error)
    source = prepared.load(meta, split, size, fit)
  elif kind == "masks":
    source = masks.load(path, split, size, fit, on_error)
  elif kind == "boxes":
    source = boxes.load(path, split, size, fit, on_error)
  elif kind == "tfds":
    source = tfds.load(path, split, dir, size, fit)
  elif kind in READ:
    source = importlib.import_module(f"sslx.data.{kind}").load(
        path, split, **{k: v for k, v in {"size": size, "fit": fit, "length": length, "rate": rate, "key": key,
                                          "tokenizer": tokenizer, "on_error": on_error}.items() if k in READ[kind]})
  elif kind == "pairs":
    source = pairs.load(path, split, key=key or "image", size=size, fit=fit, length=length, rate=rate,
                        tokenizer=tokenizer)
  elif kind == "digits_pairs":
    source = toy.pairs(split, key or "image")
  elif kind in toy.SETS:
    source = toy.SETS[kind](split)
  elif kind == "own":
    source = _own(name, {"split": split, "size": size, "fit": fit}, {"dir": dir, "seed": seed, "on_error": on_error})
  else:
    source = _resized({"digits": lambda: memory.digits(split), "fashion_mnist": lambda: _fashion(split, dir, size, fit),
                       "npz": lambda: memory.npz(path, split)}[kind](), size, fit)
  return sources.subset(sources.coloured(source, channels), limit, seed)


def prepare(name, *, dir=None, as_name=None, on_error="raise", progress=None):
  """Gets a data set ready to be read: copies and checks a folder's images, downloads a TFDS set. Nothing to do else.

  Args:
    name, dir, on_error: as in `load`.
    as_name: a folder can be loaded by this name afterwards.
    progress: called with (files done, files in all).

  Returns:
    {"name": what to load it as, "path": where it lies or None, "splits": {"train": N, "test": N}, "shape", "dtype",
    "classes": names or None, "skipped": corrupt images, "ignored": files that are no images, "notes": [str]}
  """
  kind, path = _kind(name, dir)
  if as_name is not None:
    if kind != "folder":
      raise errors.UsageError(f"as_name names a prepared folder; '{name}' already has a name")
    if not as_name.replace("-", "").replace("_", "").isalnum() or not as_name.isascii() or as_name in BUILT_IN:
      raise errors.UsageError(f"as_name '{as_name}' must be letters, digits, - and _, and not "
                              f"{' or '.join(BUILT_IN)}")
  if kind in ("folder", "prepared"):
    meta = prepared.prepare(path, dir, as_name, progress) if kind == "folder" else prepared.current(name, dir, progress)
    prepared.check(meta, on_error)
    return prepared.describe(meta)
  if kind == "tfds":
    return tfds.prepare(path, dir)
  parts = {split: load(name, split=split, dir=dir) for split in ("train", "test")}
  return _describe(parts, None)


def listing(dir=None):
  """What can be loaded without a download: [dict as `prepare` returns], the built-in sets, then all prepared in dir."""
  out = []
  for name in BUILT_IN:
    try:
      parts = {split: load(name, split=split, dir=dir) for split in ("train", "test")}
    except errors.UsageError:
      continue
    out.append(_describe(parts, None if name == "digits" else memory.FASHION))
  out += tfds.listing(dir)
  return out + [prepared.describe(meta) for meta in prepared.sets(dir).values()]


def given(sequence, name="given"):
  """A Source over your own sequence (`len` and `[i]`) of dicts of equally shaped arrays: "image", "label", ..."""
  return sources.labelled(sources.from_sequence(name, sequence))


def absolute(name):
  """The name of a data set, a folder or file with its whole path, so that it is found from anywhere."""
  kind, _, path = name.partition(":")
  return f"{kind}:{paths.absolute(path)}" if kind in FILES else name


def _kind(name, dir):
  """("folder", PATH) or another of FILES, ("tfds", NAME), ("prepared" | "own" | a built-in, name)."""
  kind, colon, path = str(name).partition(":")
  if colon and kind in ("tfds", *FILES):
    if not path:
      raise errors.UsageError(f"'{name}' is not whole: write {kind}:{'NAME' if kind == 'tfds' else 'PATH'}")
    if path == "PATH":
      raise errors.UsageError(f"data.name is still '{name}': set it to where your data lie, {kind}:FOLDER_OR_FILE")
    if kind == "tfds":
      return kind, path
    if paths.remote(path):
      return kind, str(paths.fetched(path, os.path.join(prepared.directory(dir), "fetched"), _tell))
    return kind, os.path.expanduser(path)
  if name in BUILT_IN:
    return name, None
  known = prepared.sets(dir)
  if name in known:
    return "prepared", None
  if options.is_own(name) and all(part.isidentifier() for part in name.split(".")):
    return "own", None
  if os.path.exists(os.path.expanduser(name)):
    raise errors.UsageError(f"'{name}' is a path: write {'npz' if os.path.isfile(name) else 'folder'}:{name}")
  raise options.unknown("data set", name, (*BUILT_IN, *FORMS[:-1], *known))


def _tell(line):
  from sslx import log
  log.say(line)


def _own(name, strict, soft):
  """The Source of a user's own factory; it need not know options that are left at their defaults."""
  factory = options.imported("data set", name, "load")
  known = options.known(factory)
  default = {"split": "train", "size": 0, "fit": "crop"}
  wanted = {k: v for k, v in strict.items() if k in known or (v != default[k] and k != "size")}
  soft = {k: v for k, v in soft.items() if k in known}
  source, size = given(options.call("data set", name, factory, **wanted, **soft), name), strict["size"]
  if size and "size" not in known and source.shape[:2] != (size, size):
    raise errors.UsageError(f"data.size is {size}, but the images of '{name}' are {source.shape[0]}x{source.shape[1]} "
                            "and its `load` has no option size: give it one, or set data.size=0")
  return source


def _fashion(split, dir, size, fit):
  source = (tfds.load("fashion_mnist", split, dir, size, fit) if tfds.find("fashion_mnist", dir)
            else memory.fashion_mnist(split))
  if source is None:
    raise errors.UsageError("fashion_mnist is not on this machine: `apt install dataset-fashion-mnist`, or "
                            "`pip install 'sslx[tfds-prepare]'` and then `sslx data prepare tfds:fashion_mnist`")
  return source


def _resized(source, size, fit):
  """An in-memory Source with all images resized, once."""
  if not size or not source.in_memory or source.shape[:2] == (size, size):
    return source
  images = np.stack([decode.resize(source[i]["image"], size, fit) for i in range(len(source))])
  return sources.from_array(source.name, images, source.labels, source.class_names)


def _describe(parts, path):
  train = parts["train"]
  return {"name": train.name, "path": path, "splits": {split: len(s) for split, s in parts.items()},
          "shape": train.shape, "dtype": train.dtype, "classes": train.class_names, "skipped": 0, "ignored": 0,
          "notes": []}
