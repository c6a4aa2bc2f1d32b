"""Encoders that were trained: exported, loaded, and their twins at random initialisation."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx import encoders, errors, methods, paths
from sslx.checkpoint.files import read_json, write_json
from sslx.checkpoint.states import METADATA, Checkpoints, alone, folders, record_of, restore_folder, run_of, single
from sslx.checkpoint.tensors import flat, nested, read_safetensors


@dataclasses.dataclass(frozen=True)
class Encoder:
  """An encoder ready for use: module.apply(variables, x, train=False) -> [B, D] for x [B, H, W, C] in [0, 1].

  shape is the (H, W, C) it was trained on, spec the JSON record it came with: encoder, method, config, data, versions;
  reads says what x is where it is no image, another of data.source.KEYS, of another shape.
  """
  module: Any
  variables: Any
  shape: tuple
  spec: dict

  @property
  def reads(self):
    return reads(self.spec)


def of(module, variables, source):
  """The Encoder of variables in training, for examples like those of a Source."""
  return Encoder(module, variables, tuple(source.shape), {"data": {"key": source.key}})


def digest(variables):
  """16 hex digits of an encoder's variables, by their paths and values."""
  h = hashlib.blake2b(digest_size=8)
  for path, x in jax.tree_util.tree_leaves_with_path(variables):
    h.update(f"{jax.tree_util.keystr(path)}{x.dtype}{x.shape}".encode())
    h.update(np.ascontiguousarray(x).tobytes())
  return h.hexdigest()


def reads(spec):
  """What the encoder of a record reads, one of data.source.KEYS."""
  return spec.get("data", {}).get("key", "image")


def blank(shape, reads="image"):
  """A batch of one blank example of what an encoder reads."""
  return jnp.zeros((1, *shape), jnp.int32 if reads == "text" else float)


def export_encoder(path, variables, spec):
  """Writes variables and spec.json to the folder `path`, whole or not at all; in a bucket spec.json comes last."""
  path = paths.path(paths.absolute(path))
  if paths.remote(path):
    try:
      (path / "spec.json").unlink(missing_ok=True)
      with alone() as saver:
        saver.save(path / "variables", jax.tree.map(np.asarray, variables), force=True)
    except Exception as e:  # each file system has errors of its own
      raise errors.RunError(f"cannot export the encoder to {path}: {errors.first_line(e)}") from e
    write_json(path / "spec.json", spec)
    return
  part = path.with_name(f".{path.name}.part")
  shutil.rmtree(part, ignore_errors=True)
  try:
    with alone() as saver:
      saver.save(part / "variables", jax.tree.map(np.asarray, variables))
    write_json(part / "spec.json", spec)
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
      os.replace(path, old)
    os.replace(part, path)
    shutil.rmtree(old, ignore_errors=True)
  except (OSError, ValueError) as e:
    raise errors.RunError(f"cannot export the encoder to {path}: {errors.first_line(e)}") from e


def load_encoder(path, *, step=None, module=None, read="h"):
  """The Encoder of a workdir, of its encoder/ folder, of a checkpoint's folder, wherever that was copied to, or of a
  file that `sslx export --to safetensors` wrote, all of which say what they are.

  Args:
    path: a workdir; an unfinished run gives the encoder of its newest checkpoint.
    step: a checkpoint's step, or "best"; None for the exported encoder.
    module: the Flax module, where the run used one of the user's own that has no name.
    read: "h", the representation, or "z", the projection that the loss compares, from a checkpoint; to see what it
      is worth to throw the projector away.

  Raises errors.UsageError for a path that holds no run, a step that is not there.
  """
  if read not in ("h", "z"):
    raise errors.unknown("output to read", read, ("h", "z"))
  path = paths.path(path)
  if path.is_file():
    arrays, spec = _file(path)
    module = module or recorded(path, spec)
    check_fit(path, arrays, module, spec)
    return Encoder(module, nested(arrays), tuple(spec["shape"]), spec)
  folder = path if (path / "spec.json").exists() else path / "encoder"
  newest = max((int(p.name) for p in folders(path)), default=0)
  spec = read_json(folder / "spec.json") if step is None and (folder / "spec.json").exists() else None
  if spec and spec["step"] >= newest and read == "h":
    module = module or module_of(spec)
    abstract = jax.eval_shape(module.init, jax.random.key(0), blank(spec["shape"], reads(spec)))
    one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=one), abstract)
    try:
      with alone() as loader:
        variables = loader.restore(paths.path(paths.absolute(folder)) / "variables", like)
    except Exception as e:  # Orbax raises many types for a damaged folder
      raise errors.RunError(f"the encoder in {folder} cannot be read: {errors.first_line(e)}") from e
    return Encoder(module, variables, tuple(spec["shape"]), spec)
  return _from_checkpoint(path, step, module, read)


def read_spec(path):
  """The JSON record of an encoder that load_encoder reads from `path`, without its weights."""
  path = paths.path(path)
  if path.is_file():
    return _file(path)[1]
  found = next((f for f in (path / "spec.json", path / "encoder" / "spec.json") if f.exists()), None)
  if found:
    return read_json(found)
  record = record_of(path) if (path / METADATA).exists() else run_of(path)
  return spec_of(record["config"], record["environment"])


def random_encoder(encoder, seed=None):
  """The same encoder at random initialisation, from the seed of its run or another one."""
  key = jax.random.key(encoder.spec["config"]["seed"] if seed is None else seed)
  x = blank(encoder.shape, encoder.reads)
  return dataclasses.replace(encoder, variables=jax.jit(encoder.module.init)(key, x))


def _file(path):
  """(variables by name, spec) of a file that we exported."""
  arrays, spec = read_safetensors(path) if path.suffix == ".safetensors" else ({}, None)
  if not isinstance(spec, dict) or spec.get("layout") != "sslx":
    raise errors.UsageError(f"{path} is not in our layout: `sslx import {path} --encoder NAME --workdir DIR` makes a "
                            "workdir of it")
  return arrays, spec


def recorded(path, record):
  """The module of the record in a file of weights: a built-in one, for no code is run that a file names."""
  wanted = ("encoder", "shape", "config", "data", "layout")
  if not isinstance(record, dict) or any(k not in record for k in wanted) or "name" not in (record["encoder"] or {}):
    raise errors.UsageError(f"the record in {path} is not whole: one of ours has {', '.join(wanted)}, and a name "
                            "of the encoder")
  name, options = methods.split(record["encoder"])
  if name not in encoders.names():
    raise errors.UsageError(f"{path} names the encoder {name}, which is none of sslx's: what a file names is not run; "
                            "if it is yours, load_encoder(path, module=that_module)")
  return encoders.make(name, **options)


def check_fit(path, arrays, module, record):
  """A UsageError where {name: array} are not the variables of a module."""
  tree = jax.eval_shape(module.init, jax.random.key(0), blank(record["shape"], reads(record)))
  wanted = {k: v.shape for k, v in flat(tree).items()}
  wrong = [f"{k} is {list(arrays[k].shape)}, not {list(s)}" for k, s in wanted.items() if k in arrays
           and arrays[k].shape != s]
  missing, unused = sorted(set(wanted) - set(arrays)), sorted(set(arrays) - set(wanted))
  found = [f"{text}{keys[0]}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
           for text, keys in (("", wrong), ("missing: ", missing), ("not used: ", unused)) if keys]
  if found:
    raise errors.UsageError(f"{path} does not fit the encoder {record['encoder']['name']} of its record: "
                            f"{'; '.join(found)}")


def _from_checkpoint(path, step, module, read):
  step, tree, record = _lone(path, step) if (path / METADATA).exists() else of_workdir(path, step)
  spec = spec_of(record["config"], record["environment"])
  module = module or module_of(spec)
  name, options = methods.split(spec["config"]["method"])
  method = methods.make(name, module, **options)
  variables = method.encoder(tree["params"], tree["state"])[reads(spec)]
  if read == "z":
    if method.project is None:
      raise errors.UsageError(f"the method {name} has no projection to read: leave out --read, or give h")
    module, variables = method.project(tree["params"], tree["state"])
    spec["read"] = read
  return Encoder(module, variables, tuple(spec["shape"]), spec | {"step": step})


def of_workdir(path, step):
  """(step, arrays, record) of one of a workdir's checkpoints."""
  single(path)
  if not (path / "checkpoints").is_dir():
    raise errors.UsageError(f"{path} holds no encoder and no checkpoints: give the --workdir of a pretraining run")
  with contextlib.closing(Checkpoints(path, create=False)) as saved:
    if step == "best":
      step = saved.best_step()
      if step is None:
        raise errors.UsageError(f"{path} recorded no best checkpoint: set evaluate.every, or give a step")
    if not saved.steps():
      raise errors.UsageError(f"{path} has no checkpoint yet: let the run reach its first one")
    step, tree = saved.restore_plain(step)
    record = record_of(saved.path / str(step))
  return step, tree, record if "config" in record else run_of(path)


def _lone(path, step):
  """(step, arrays, record) of the folder of one checkpoint."""
  record = record_of(path)
  if "config" not in record:
    raise errors.UsageError(f"the checkpoint {path} does not say what run it is of: give the --workdir of that run")
  try:
    tree = restore_folder(path)
  except Exception as e:  # Orbax raises many types for a damaged folder
    raise errors.RunError(f"the checkpoint {path} cannot be read: {errors.first_line(e)}") from e
  if step not in (None, int(tree["step"])):
    raise errors.UsageError(f"{path} is the checkpoint of step {int(tree['step'])}, not {step}")
  return int(tree["step"]), tree, record


def spec_of(config, environment):
  """The JSON record that travels with an encoder, from a workdir's two files."""
  return {"encoder": config["encoder"], "shape": environment["data"]["shape"], "method": config["method"]["name"],
          "config": config, "data": environment["data"], "versions": environment["versions"]}


def module_of(spec):
  """The Flax module that a record tells."""
  if not spec["encoder"]:
    raise errors.UsageError("this run used an encoder object of its own: load_encoder(path, module=that_module)")
  name, options = methods.split(spec["encoder"])
  return encoders.make(name, **options)
