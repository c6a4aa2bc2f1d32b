"""Weights in: a file of anybody's becomes a workdir like that of a pretraining run."""

import ast
import collections
import hashlib
import pathlib

import numpy as np
from ml_collections import ConfigDict

from sslx import checkpoint, config as configs, data as datasets, encoders, errors, paths, run
from sslx.interop import architectures, files, sources
from sslx.interop.table import to_ours, to_theirs

SHOWN = 3                                                   # keys in a line of an error


def import_weights(path, workdir, *, encoder=None, source=None, size=0, options=None, data=None, prefix=None, heads=()):
  """Reads the encoder of a state dict into `workdir`; returns its Encoder, whose spec["source"] says what was found.

  Args:
    path: a .safetensors, .npz or PyTorch file. Of one that sslx exported nothing else need be said.
    workdir: folder to be made; one that holds an imported encoder is made anew.
    encoder: name of a built-in encoder.
    source: one of SOURCES; None: the first in whose files the encoder lies where it does in this one.
    size: side of the images, for evaluations; 0: 224, or what our record says.
    options: {option: value} of the encoder, beside those that the file shows by itself.
    data: name of the data set that evaluations use by default.
    prefix: of the encoder's keys, in place of the source's.
    heads: prefixes of keys that need no place, beside the source's.

  Raises:
    errors.UsageError: keys that are missing, not used or of another shape, an unknown name, a file with code in it.
    errors.RunError: a damaged file.
  """
  if source is not None and source not in sources.SOURCES:
    raise errors.unknown("source of weights", source, sources.SOURCES)
  free(workdir)
  arrays, record = files.read(path)
  if record:
    checkpoint.recorded(path, record)                       # no code is run that it names
    origin = record
    encoder, own = record["encoder"]["name"], {k: v for k, v in record["encoder"].items() if k != "name"}
    options, size = own | (options or {}), size or record["shape"][0]
    if record["layout"] == "sslx":
      module = encoders.make(encoder, **options)
      checkpoint.check_fit(path, arrays, module, record)
      return keep(workdir, path, module, checkpoint.nested(arrays), record["shape"], encoder, options, data,
                  {"layout": "sslx"}, origin)
  else:
    origin, arrays = None, sources.plain(arrays)
  if not encoder:
    raise errors.UsageError(f"give the encoder that {path} holds: --encoder NAME, one of {', '.join(encoders.names())}")
  table, size = architectures.named(encoder), size or 224
  source, prefix, theirs, layout, shown = find(path, arrays, encoder, table, source, prefix)
  known = shown | (options or {} if record else sources.norm(source) | (options or {}))
  module = encoders.make(encoder, **known)
  shape = image_shape(table, module, layout, theirs, size)
  rows = list(table.rows(module, layout, shape))
  check(path, encoder, module, table, layout, known, rows, theirs, shape, lambda k: sources.is_head(source, k)
        or k.startswith(tuple(heads)))
  wide = {k: a.astype(np.float32) if np.issubdtype(a.dtype, np.inexact) or a.dtype.kind == "V" else a
          for k, a in theirs.items()}
  ours = architectures.together(to_ours(rows, wide), module)
  used = {k for row in rows for k in row.theirs}
  counters = {row.counter: int(theirs[row.theirs[0]].ravel()[0]) for row in rows
              if row.counter and row.theirs[0] in theirs}
  beside = sorted(k for k in arrays if not k.startswith(prefix)) if prefix else []
  found = {"from": source, "layout": layout, "prefix": prefix, "keys": len(used & set(theirs)),
           "heads": sorted(set(theirs) - used), "beside": beside, "counters": counters}
  return keep(workdir, path, module, checkpoint.nested(ours), shape, encoder, known, data, found, origin)


def free(workdir):
  """A UsageError where `workdir` holds something else than an imported encoder."""
  path = paths.path(workdir)
  record = path / "config.json"
  imported = record.exists() and checkpoint.read_json(record).get("method", {}).get("name") == "imported"
  if (checkpoint.folders(path) or record.exists() or (path / "encoder").exists()) and not (
      imported and not checkpoint.folders(path)):
    raise errors.UsageError(f"{path} holds a run already: give another --workdir")


def find(path, arrays, encoder, table, source, prefix):
  """(source, prefix, {key below it: array}, layout, options that the file shows) of where the encoder lies."""
  def tried(table, names):
    for name in names:
      for place in sources.places(name) if prefix is None else [prefix]:
        below = {k.removeprefix(place): a for k, a in arrays.items() if k.startswith(place)}
        below = table.named_alike(below) if hasattr(table, "named_alike") else below
        found = table.recognised({k: a.shape for k, a in below.items()}, name)
        if found:
          return name, place, below, *found
    return None
  found = tried(table, [source] if source else sources.SOURCES)
  if found:
    return found
  if source and (hit := tried(table, sources.SOURCES)):
    raise errors.UsageError(f"{path} holds no {encoder} as {source} saves it; --from {hit[0]} fits")
  for other in architectures.ALL:
    if other is not table and (hit := tried(other, sources.SOURCES)):
      name, _, below, layout, shown = hit
      names = fitting(other, layout, shown, below, lambda k: sources.is_head(name, k))
      raise errors.UsageError(f"{path} holds no {encoder}, it holds a {other.MODULE.__name__}"
                              + (f": did you mean --encoder {' or '.join(names)}?" if names else ""))
  raise errors.UsageError(f"{path} holds no {encoder} in any layout that is known; its keys are "
                          f"{listed(arrays) or 'none'}: --prefix names what stands before the encoder's")


def image_shape(table, module, layout, theirs, size):
  """(H, W, C) of the images, with as many channels as the first convolution reads."""
  stem = next(iter(table.rows(module, layout, (size, size, 3))))
  first = theirs[stem.theirs[0]]
  try:
    return size, size, stem.into(first)[0].shape[2]
  except (ValueError, IndexError):
    raise errors.UsageError(f"{stem.theirs[0]} is {list(first.shape)}: that is no kernel over images") from None


def fitting(table, layout, options, theirs, head, size=224):
  """The names of the encoders that a file fits."""
  found = []
  for name in table.FAMILY.VARIANTS:
    module = encoders.make(name, **options)
    shape = image_shape(table, module, layout, theirs, size)
    if not misfits(module, list(table.rows(module, layout, shape)), theirs, shape, head):
      found.append(name)
  return found


def listed(keys):
  """The first keys and how many more."""
  keys = list(keys)
  return ", ".join(keys[:SHOWN]) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")


def expected(module, rows, shape):
  """{their key: shape} that an encoder needs, and the keys among them that a file may lack."""
  zeros = {k: np.broadcast_to(np.float32(0), v) for k, v in architectures.shapes(module, shape).items()}
  return ({k: a.shape for k, a in to_theirs(rows, zeros).items()},
          {k for row in rows if not row.ours for k in row.theirs})


def misfits(module, rows, theirs, shape, head):
  """A line for each kind of misfit between an encoder and a file."""
  wanted, optional = expected(module, rows, shape)
  wrong = [f"{k} is {list(theirs[k].shape)}, not {list(s)}" for k, s in wanted.items()
           if k in theirs and theirs[k].shape != s and k not in optional]
  missing = [k for k in wanted if k not in theirs and k not in optional]
  unused = [k for k in theirs if k not in wanted and not head(k)]
  return [text + listed(keys) for text, keys in (("", wrong), ("missing: ", missing), ("not used: ", unused)) if keys]


def check(path, encoder, module, table, layout, options, rows, theirs, shape, head):
  """A UsageError that says where a file does not fit an encoder, and which one it does fit."""
  found = misfits(module, rows, theirs, shape, head)
  if not found:
    return
  others = fitting(table, layout, options, theirs, head, shape[0])
  raise errors.UsageError(f"{path} does not fit {encoder}: {'; '.join(found)}"
                          + (f". It fits {' and '.join(others)}" if others else
                             ". --options KEY=VALUE sets the encoder's options, --heads names keys to leave out"))


def keep(workdir, path, module, variables, shape, encoder, options, data, found, origin):
  """Writes the workdir and returns its Encoder."""
  c = configs.default().unlock()
  c.encoder = encoders.options(encoder, **options)
  if origin:
    c.seed = origin["config"]["seed"]
    c.data.update({k: v for k, v in origin["config"]["data"].items() if v is not None})
    found = found | {"origin": {k: origin[k] for k in ("method", "config", "data", "versions", "step", "metrics")
                                if k in origin}}
  c.data.name = datasets.absolute(data) if data else c.data.name if origin else "given"
  if tuple(shape[:2]) != (c.data.size, c.data.size) and not (origin and not c.data.size):
    c.data.size = shape[0]
  content = pathlib.Path(path).read_bytes()
  found = {"file": pathlib.Path(path).name, "sha256": hashlib.sha256(content).hexdigest(), **found}
  c.method = ConfigDict({"name": "imported", "file": found["file"], "from": found.get("from", "sslx")})
  known = origin["data"] if origin and not data else {
      "name": c.data.name, "examples": 0, "dtype": "uint8", "classes": None, "fingerprint": None, "skipped": 0}
  environment = run.machine() | {"data": known | {"shape": list(shape)}}
  workdir, plain = paths.path(workdir), configs.plain(c)
  spec = checkpoint.spec_of(plain, environment) | {"step": 0, "source": found}
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "evaluation.json").unlink(missing_ok=True)                                   # of weights before
  except OSError as e:
    raise errors.RunError(f"cannot make the workdir {workdir}: {e.strerror}") from e
  checkpoint.export_encoder(workdir / "encoder", variables, spec)
  checkpoint.write_json(workdir / "environment.json", environment)
  checkpoint.write_json(workdir / "config.json", plain)
  return checkpoint.Encoder(module, variables, tuple(shape), spec)


def grouped(keys):
  """Keys by their first part, "student. (150)"."""
  counts = collections.Counter(k.partition(".")[0] for k in keys)
  return [f"{k} ({n})" for k, n in counts.items()]


def parsed(texts):
  """{option: value} of KEY=VALUE texts; values are Python's, or else words."""
  out = {}
  for text in texts:
    key, equals, value = text.partition("=")
    if not equals:
      raise errors.UsageError(f"--options takes KEY=VALUE, not {text}: patch=14, pool=mean, \"mean=(0.5,)\"")
    try:
      out[key] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      out[key] = value
  return out
