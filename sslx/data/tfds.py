"""TensorFlow Datasets without TensorFlow: prepared once as ArrayRecord, read at random, images decoded by us.

TFDS prepares a set without TensorFlow if its generator yields encoded images (bytes or files); raw arrays need it.
"""

import contextlib
import difflib
import functools
import io
import json
import logging
import os
import re

import numpy as np

from sslx import errors
from sslx.data import decode, prepared, source

_SHAPED = re.compile(r"[a-z0-9_]+(/[A-Za-z0-9_.-]+)?(:[0-9.*]+)?")


def load(name, split, dir=None, size=0, fit="crop"):
  """The Source of one split of a TFDS set ("mnist", "mnist:3.0.1", "NAME/CONFIG:VERSION"), prepared now if need be."""
  where = find(name, dir) or _prepare(name, dir)
  info, features, splits = _described(where)
  if "train" not in splits:
    raise errors.UsageError(f"tfds:{name} has no split train, only {', '.join(splits)}")
  part = split if split in splits else next((p for p in ("test", "validation") if p in splits), None)
  (key, shape, dtype), labels = _keys(name, features)
  channels = 1 if shape[2] == 1 else 3           # an alpha channel is dropped
  if not size and None in shape[:2]:
    raise errors.UsageError(f"the images of tfds:{name} differ in size: set data.size to bring them to one")
  with _quiet():
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(where)
    skip = {k: tfds.decode.SkipDecoding() for k, v in builder.info.features.items()
            if isinstance(v, tfds.features.Image)}
    records = builder.as_data_source(part or "train", decoders=skip)
  label = None if labels is None else _labels(records, labels, where, records.split)
  rows = np.arange(len(records))
  if not {"test", "validation"} & set(splits):
    rows = source.split(len(rows), label)[split != "train"]
  label = None if label is None else label[rows]
  read = functools.partial(_read, records, key, {"channels": channels, "size": size, "fit": fit})
  mark = source.digest(json.dumps([info["name"], info["version"], splits], sort_keys=True).encode(), rows,
                       *(() if label is None else (label,)))
  return source.Source(f"tfds:{name}", read, rows, (size or shape[0], size or shape[1], channels), dtype, label,
                       _class_names(where, labels), fingerprint=mark)


def prepare(name, dir=None):
  """Prepares a TFDS set unless it is; describes it."""
  return _describe(find(name, dir) or _prepare(name, dir), f"tfds:{name}")


def listing(dir=None):
  """Every TFDS set prepared in dir as ArrayRecord, as `prepare` describes it."""
  out = []
  for where in _versions(prepared.directory(dir)):
    if _format(where) == "array_record":
      own = os.path.relpath(where, prepared.directory(dir)).split(os.sep)
      out.append(_describe(where, "tfds:" + "/".join(own[:-1])))
  return out


def find(name, dir=None):
  """The folder of a set that is prepared; None if it is not. UsageError if it is, but in another format."""
  if not _SHAPED.fullmatch(name):
    raise errors.UsageError(f"'tfds:{name}' is not a name: write tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:VERSION")
  path, _, version = name.partition(":")
  root = os.path.join(prepared.directory(dir), path)
  found = [w for w in _versions(root) if not version or os.path.basename(w) == version]
  ready = [w for w in found if _format(w) == "array_record"]
  if found and not ready:
    raise errors.UsageError(f"tfds:{name} is prepared in {found[-1]} as {_format(found[-1])}, which needs TensorFlow "
                            f"to be read: {_command(name)}, with data.dir set to another folder")
  own = [w for w in ready if os.path.dirname(w) == root]
  return (own or ready or [None])[-1]


def _command(name):
  return f"`pip install 'sslx[tfds-prepare]'` and then `sslx data prepare tfds:{name}`"


def _prepare(name, dir):
  """Downloads and prepares a set as ArrayRecord; its folder."""
  root = prepared.directory(dir)
  try:
    os.makedirs(root, exist_ok=True)
  except OSError as e:
    raise errors.UsageError(f"cannot write to {root} ({e.strerror}): set data.dir or TFDS_DATA_DIR to a folder that "
                            f"can be written") from e
  prepared.log.warning("preparing tfds:%s in %s", name, root)
  with _quiet():
    import tensorflow_datasets as tfds

    try:
      builder = tfds.builder(name, data_dir=root)
    except tfds.core.DatasetNotFoundError as e:
      known = tfds.list_builders(with_community_datasets=False)
      near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
      hint = f"did you mean {' or '.join(near)}? " if near else ""
      raise errors.UsageError(f"unknown TFDS data set '{name}': {hint}there are {len(known)}, see "
                              "tensorflow.org/datasets/catalog") from e
    except (ValueError, AssertionError) as e:              # an unknown config or version
      reason = re.sub(r'^.*builder_kwargs "[^"]*": |\. Here are .*', "", " ".join(str(e).split()))
      raise errors.UsageError(f"tfds:{name}: {reason}") from e
    except ImportError as e:
      raise errors.UsageError(f"tfds:{name} needs the package '{e.name}': {_command(name)}") from e
    try:
      builder.download_and_prepare(file_format="array_record")
    except ImportError as e:
      missing = re.search(r"No module named '(\w+)|$", str(e))[1] or "tensorflow"
      if missing != "tensorflow":
        raise errors.UsageError(f"tfds:{name} needs the package '{missing}' to be prepared: install it") from e
      raise errors.UsageError(f"tfds:{name} needs TensorFlow to be prepared (only once): {_command(name)}") from e
    except Exception as e:
      last = (str(e).strip().splitlines() or [""])[0][:200]
      kind = "could not be downloaded" if _offline(e) else "could not be prepared"
      raise errors.RunError(f"tfds:{name} {kind} ({type(e).__name__}: {last}); on a machine that can: "
                            f"{_command(name)}, then copy {root}") from e
  return os.fspath(builder.data_dir)


def _offline(e):
  import requests

  return isinstance(e, requests.RequestException | ConnectionError | TimeoutError) or "ownload" in type(e).__name__


@contextlib.contextmanager
def _quiet():
  """Keeps TFDS's progress bars, prints and log lines away."""
  from absl import logging as absl_logging

  loggers = [logging.getLogger(n) for n in ("absl", "urllib3.connectionpool")]
  levels = [logger.level for logger in loggers]
  verbosity = absl_logging.get_verbosity()
  try:
    absl_logging.set_verbosity(absl_logging.FATAL)
    for logger in loggers:
      logger.setLevel(logging.CRITICAL)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
      yield
  finally:
    absl_logging.set_verbosity(verbosity)
    for logger, level in zip(loggers, levels, strict=True):
      logger.setLevel(level)


def _versions(root):
  """Folders under root that hold a prepared set: [CONFIG/]VERSION, in order of version."""
  found = []
  for path, folders, files in os.walk(root):
    folders[:] = [f for f in folders if not f.startswith(("incomplete.", ".")) and f not in ("downloads", "folders")]
    if "dataset_info.json" in files and "features.json" in files:
      found.append(path)
      folders.clear()
    if path.removeprefix(root).count(os.sep) >= 3:
      folders.clear()
  number = lambda path: [int(x) if x.isdigit() else 0 for x in os.path.basename(path).split(".")]
  return sorted(found, key=lambda p: (os.path.dirname(p), number(p)))


def _format(where):
  with open(os.path.join(where, "dataset_info.json")) as f:
    info = json.load(f)
  formats = [info.get("fileFormat", "tfrecord"), *info.get("alternativeFileFormats", ())]
  return "array_record" if "array_record" in formats else formats[0]


def _described(where):
  """(info, features, {split: count}) as TFDS wrote them."""
  with open(os.path.join(where, "dataset_info.json")) as f:
    info = json.load(f)
  with open(os.path.join(where, "features.json")) as f:
    features = json.load(f)
  return info, features, {s["name"]: sum(map(int, s.get("shardLengths", ()))) for s in info["splits"]}


def _keys(name, features):
  """((image key, shape, dtype), label key or None)."""
  fields = features.get("featuresDict", {}).get("features", {})
  images = [k for k, v in fields.items() if v["pythonClassName"].endswith(".Image")]
  labels = [k for k, v in fields.items() if v["pythonClassName"].endswith(".ClassLabel")]
  if not images:
    raise errors.UsageError(f"tfds:{name} has no images: its features are {', '.join(fields) or 'of another kind'}")
  image = "image" if "image" in images else images[0]
  label = "label" if "label" in labels else labels[0] if len(labels) == 1 else None
  feature = fields[image].get("image", {})
  shape = [int(d) if int(d) > 0 else None for d in feature.get("shape", {}).get("dimensions", ("-1", "-1", "3"))]
  return (image, tuple(shape), feature.get("dtype", "uint8")), label


def _describe(where, name):
  info, features, splits = _described(where)
  try:
    (_, shape, dtype), label = _keys(name, features)
  except errors.UsageError:
    shape, dtype, label = None, None, None
  return {"name": name, "path": where, "splits": splits, "shape": shape, "dtype": dtype,
          "classes": _class_names(where, label), "skipped": 0, "ignored": 0, "notes": []}


def _class_names(where, label):
  try:
    with open(os.path.join(where, f"{label}.labels.txt")) as f:
      return tuple(f.read().splitlines()) or None
  except OSError:
    return None


def _labels(records, key, where, split):
  """All labels [N] of a split; read once, then kept beside the set, if that can be written."""
  file = os.path.join(where, f"sslx-{split}-labels.npy")
  with contextlib.suppress(OSError, ValueError):
    labels = np.load(file, allow_pickle=False)
    if len(labels) == len(records):
      return labels
  parts = [records.__getitems__(list(range(i, min(i + 1024, len(records))))) for i in range(0, len(records), 1024)]
  labels = np.array([x[key] for part in parts for x in part], np.int32)
  with contextlib.suppress(OSError):
    with open(f"{file}.{os.getpid()}", "wb") as f:
      np.save(f, labels)
    os.replace(f"{file}.{os.getpid()}", file)
  return labels


def _read(records, key, options, rows):
  return decode.batch([x[key] for x in records.__getitems__([int(i) for i in rows])], options, repr(records))
