"""Checkpoints and exported encoders, through Orbax.

A workdir holds
  config.json, environment.json     what was asked, and where and with what it ran
  metrics.jsonl, events.out.*       the run's numbers, a JSON object a line and for TensorBoard
  checkpoints/STEP/                 train state and metrics; a step's folder appears whole or not at all
  encoder/                          at the end: variables and spec.json, all that `load_encoder` needs
"""

import contextlib
import dataclasses
import gc
import json
import logging
import os
import pathlib
import shutil
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from sslx import encoders, errors, methods

logging.getLogger("absl").setLevel(logging.CRITICAL)        # Orbax logs tracebacks of errors that it raises as well


@dataclasses.dataclass(frozen=True)
class Encoder:
  """An encoder ready for use: module.apply(variables, x, train=False) -> [B, D] for x [B, H, W, C] in [0, 1].

  shape is the (H, W, C) it was trained on, spec the JSON record it came with: encoder, method, config, data, versions.
  """
  module: Any
  variables: Any
  shape: tuple
  spec: dict


def read_json(path):
  """The content of a JSON file, or one clear line."""
  try:
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
  except FileNotFoundError:
    raise errors.UsageError(f"there is no {path}: is this the workdir of a run?") from None
  except (OSError, ValueError) as e:
    raise errors.RunError(f"cannot read {path}: {e}") from e


def write_json(path, content):
  """Writes JSON whole or not at all."""
  write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path, text):
  """Writes a text file whole or not at all: beside it first, then renamed."""
  path = pathlib.Path(path)
  part = path.with_name(f".{path.name}.part")
  try:
    with open(part, "w", encoding="utf-8") as f:
      f.write(text)
      f.flush()
      os.fsync(f.fileno())
    os.replace(part, path)
  except OSError as e:
    with contextlib.suppress(OSError):
      part.unlink(missing_ok=True)
    raise errors.RunError(f"cannot write {path}: {e.strerror or e}") from e


def write_npz(path, arrays):
  """Writes an .npz file whole or not at all."""
  path = pathlib.Path(path)
  part = path.with_name(f".{path.name}.part")
  try:
    with open(part, "wb") as f:
      np.savez(f, **arrays)
    os.replace(part, path)
  except OSError as e:
    with contextlib.suppress(OSError):
      part.unlink(missing_ok=True)
    raise errors.RunError(f"cannot write {path}: {e.strerror or e}") from e


@contextlib.contextmanager
def _quiet():
  """Keeps what the loader's threads would print of a damaged file off the terminal; its own error is raised anyway."""
  hook, logger = sys.unraisablehook, logging.getLogger("asyncio")
  sys.unraisablehook, level = (lambda _: None), logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    yield
  finally:
    gc.collect()
    sys.unraisablehook = hook
    logger.setLevel(level)


class Checkpoints:
  """The checkpoints of a workdir: asynchronous saves, the last n and the best kept."""

  def __init__(self, workdir, *, keep=2, create=True):
    self.path = pathlib.Path(workdir).absolute() / "checkpoints"
    score = lambda metrics: metrics["best"]
    best = policies.BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)
    self.manager = ocp.CheckpointManager(
        self.path, item_handlers=ocp.StandardCheckpointHandler(), options=ocp.CheckpointManagerOptions(
            create=create, cleanup_tmp_directories=create, read_only=not create, best_fn=score,
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(max(1, keep)), best])))

  def steps(self):
    """Steps that can be restored, oldest first."""
    return sorted(self.manager.all_steps())

  def best_step(self):
    """The step with the highest recorded "best" metric, or None."""
    scored = {s: (self.manager.metrics(s) or {}).get("best") for s in self.steps()}
    scored = {s: v for s, v in scored.items() if v is not None}
    return max(scored, key=scored.get) if scored else None

  def save(self, step, train, best=None):
    """Starts saving; the arrays are copied before this returns. Saving a step twice does nothing."""
    if step in self.manager.all_steps():
      return
    try:
      self.manager.save(step, args=ocp.args.StandardSave(train), metrics=None if best is None else {"best": best},
                        force=True)
    except (OSError, ValueError) as e:
      raise errors.RunError(f"cannot save step {step} to {self.path}: {e}") from e

  def wait(self):
    """Until every save is on disk."""
    try:
      self.manager.wait_until_finished()
    except Exception as e:  # Orbax hands on whatever its background thread met
      raise errors.RunError(f"saving to {self.path} failed: {errors.first_line(e)}") from e

  def restore(self, like, step=None, warn=lambda line: None):
    """(step, train) of `step`, or of the newest checkpoint that can be read; `like` gives shapes, types and shardings.

    A damaged checkpoint is passed over with a warning for the one before; (None, None) when there is none at all.
    """
    return self._newest(lambda s: like, step, warn)

  def restore_plain(self, step=None, warn=lambda line: None):
    """(step, nested dicts of arrays) as `restore`, on one device and without knowing the run's structure."""
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = lambda s: jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=one),
                                  self.manager.item_metadata(s).tree)
    return self._newest(like, step, warn)

  def _newest(self, like, step, warn):
    available = self.steps()
    if step is not None and step not in available:
      raise errors.UsageError(f"no checkpoint of step {step} in {self.path}: there are {available or 'none'}")
    failed = []
    with _quiet():
      for s in [step] if step is not None else available[::-1]:
        try:
          return s, self.manager.restore(s, args=ocp.args.StandardRestore(like(s)))
        except Exception as e:  # Orbax raises many types for a damaged folder
          failed.append(s)
          time.sleep(1)                                     # its other reads end meanwhile, unheard
          warn(f"checkpoint {self.path / str(s)} cannot be read ({errors.first_line(e)[:80]})")
    if failed:
      raise errors.RunError(f"no checkpoint in {self.path} can be read: steps {failed} are damaged or from another "
                            "run; restore them from a copy, or start again with a new --workdir")
    return None, None

  def discard_after(self, step):
    """Deletes the damaged checkpoints that `restore` passed over, so that their steps can be saved again."""
    for s in self.steps():
      if s > step:
        self.manager.delete(s)

  def close(self):
    self.wait()
    self.manager.close()


def export_encoder(path, variables, spec):
  """Writes variables and spec.json to the folder `path`, whole or not at all."""
  path = pathlib.Path(path).absolute()
  part = path.with_name(f".{path.name}.part")
  shutil.rmtree(part, ignore_errors=True)
  try:
    with ocp.StandardCheckpointer() as saver:
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


def load_encoder(path, *, step=None, module=None):
  """The Encoder of a workdir (or of its encoder/ folder).

  Args:
    path: a workdir; an unfinished run gives the encoder of its newest checkpoint.
    step: a checkpoint's step, or "best"; None for the exported encoder.
    module: the Flax module, where the run used one of the user's own that has no name.

  Raises errors.UsageError for a path that holds no run, a step that is not there.
  """
  path = pathlib.Path(path)
  folder = path if (path / "spec.json").exists() else path / "encoder"
  newest = max((int(p.name) for p in path.glob("checkpoints/*") if p.name.isdigit()), default=0)
  spec = read_json(folder / "spec.json") if step is None and (folder / "spec.json").exists() else None
  if spec and spec["step"] >= newest:
    module = module or _module(spec)
    abstract = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *spec["shape"]), float))
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=one), abstract)
    try:
      with ocp.StandardCheckpointer() as loader:
        variables = loader.restore((folder / "variables").absolute(), like)
    except Exception as e:  # Orbax raises many types for a damaged folder
      raise errors.RunError(f"the encoder in {folder} cannot be read: {errors.first_line(e)}") from e
    return Encoder(module, variables, tuple(spec["shape"]), spec)
  return _from_checkpoint(path, step, module)


def random_encoder(encoder):
  """The same encoder at random initialisation, from the seed of its run."""
  key = jax.random.key(encoder.spec["config"]["seed"])
  x = jnp.zeros((1, *encoder.shape), float)
  return dataclasses.replace(encoder, variables=jax.jit(encoder.module.init)(key, x))


def _from_checkpoint(path, step, module):
  if not (path / "checkpoints").is_dir():
    raise errors.UsageError(f"{path} holds no encoder and no checkpoints: give the --workdir of a pretraining run")
  spec = spec_of(read_json(path / "config.json"), read_json(path / "environment.json"))
  module = module or _module(spec)
  checkpoints = Checkpoints(path, create=False)
  if step == "best":
    step = checkpoints.best_step()
    if step is None:
      raise errors.UsageError(f"{path} recorded no best checkpoint: set evaluate.every, or give a step")
  if not checkpoints.steps():
    raise errors.UsageError(f"{path} has no checkpoint yet: let the run reach its first one")
  step, tree = checkpoints.restore_plain(step)
  name, options = methods.split(spec["config"]["method"])
  variables = methods.make(name, module, **options).encoder(tree["params"], tree["state"])["image"]
  return Encoder(module, variables, tuple(spec["shape"]), {**spec, "step": step})


def spec_of(config, environment):
  """The JSON record that travels with an encoder, from a workdir's two files."""
  return {"encoder": config["encoder"], "shape": environment["data"]["shape"], "method": config["method"]["name"],
          "config": config, "data": environment["data"], "versions": environment["versions"]}


def _module(spec):
  if not spec["encoder"]:
    raise errors.UsageError("this run used an encoder object of its own: load_encoder(path, module=that_module)")
  name, options = methods.split(spec["encoder"])
  return encoders.make(name, **options)
