"""The train states of a run, through Orbax: saved while it goes on, kept by number, the newest whole one restored."""

import contextlib
import gc
import itertools
import json
import logging
import sys
import time

import jax
import orbax.checkpoint as ocp

from sslx import errors, paths, processes
from sslx.checkpoint.files import read_json

for name in ("absl", "gcsfs"):                              # both log tracebacks of errors that they raise as well
  logging.getLogger(name).setLevel(logging.CRITICAL)


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


METADATA = "_CHECKPOINT_METADATA"                           # Orbax's file beside a step's arrays, JSON


class Checkpoints:
  """The checkpoints of a workdir: asynchronous saves, the last n and the best kept.

  record: {"config", "environment"} of the run, which every checkpoint then holds. metric: what "best" is measured in;
  numbers of another metric, from before it was changed, do not count (None: that of the newest checkpoint with one).
  """

  def __init__(self, workdir, *, keep=2, metric=None, record=None, create=True):
    self.path = paths.path(paths.absolute(workdir)) / "checkpoints"
    self.keep, self.metric, self.record = max(1, keep), metric, record or {}
    self.manager = ocp.CheckpointManager(
        self.path, item_handlers=ocp.StandardCheckpointHandler(), options=ocp.CheckpointManagerOptions(
            create=create, cleanup_tmp_directories=create, read_only=not create, preservation_policy=self))
    self.best = {s: record_of(self.path / str(s)).get("best") for s in self.steps()}

  def steps(self):
    """Steps that can be restored, oldest first."""
    return sorted(self.manager.all_steps())

  def best_step(self):
    """The step with the highest value of the metric, the latest of equals, or None."""
    return self._best(self.steps())

  def _best(self, steps):
    scored = {s: best for s in steps if (best := self.best.get(s))}
    metric = self.metric or (scored[max(scored)]["metric"] if scored else None)
    return max(((b["value"], s) for s, b in scored.items() if b["metric"] == metric), default=(None, None))[1]

  def should_preserve(self, checkpoints, *, context):
    """Which checkpoints stay: Orbax asks this after every save."""
    steps = [c.step for c in checkpoints]
    return [s in sorted(steps)[-self.keep:] or s == self._best(steps) for s in steps]

  def save(self, step, train, best=None):
    """Starts saving; the arrays are copied before this returns. Saving a step twice does nothing."""
    if step in self.manager.all_steps():
      return
    self.best[step] = None if best is None else {"metric": self.metric, "value": float(best)}
    try:
      self.manager.save(step, args=ocp.args.StandardSave(train), force=True,
                        custom_metadata={**self.record, "best": self.best[step]})
    except (OSError, ValueError) as e:
      raise errors.RunError(f"cannot save step {step} to {self.path}: {e}") from e

  def wait(self):
    """Until every save is on disk."""
    try:
      self.manager.wait_until_finished()
    except Exception as e:  # Orbax hands on whatever its background thread met
      raise errors.RunError(f"saving to {self.path} failed: {errors.first_line(e)}") from e

  def restore(self, like, warn=lambda line: None, among=None):
    """(step, train) of the newest checkpoint that can be read; `like` gives shapes, types and shardings.

    Damaged ones are passed over and renamed, so that their steps can be saved again, with a line to `warn` for each;
    (None, None) when there is none at all. among: only checkpoints of these steps.
    """
    read = lambda s: processes.all_or_none(lambda: self.manager.restore(s, args=ocp.args.StandardRestore(like)))
    step, train, damaged = self._newest(read, [s for s in self.steps() if among is None or s in among])
    for s, reason in damaged:
      warn(f"checkpoint {s} cannot be read ({reason}): kept as {self._aside(s)}")
    return step, train

  def restore_plain(self, step=None):
    """(step, nested dicts of arrays) of `step`, or as `restore`; on one device, without knowing the run's structure."""
    available = self.steps()
    if step is not None and step not in available:
      raise errors.UsageError(f"no checkpoint of step {step} in {self.path}: there are {available or 'none'}")
    return self._newest(lambda s: restore_folder(self.path / str(s)), available if step is None else [step])[:2]

  def _newest(self, read, steps):
    if not steps:
      return None, None, []
    damaged = []
    with _quiet():
      for s in steps[::-1]:
        try:
          return s, read(s), damaged
        except Exception as e:  # Orbax raises many types for a damaged folder
          damaged.append((s, errors.first_line(e)[:80]))
          time.sleep(1)                                     # its other reads end meanwhile, unheard
    if damaged:
      raise errors.RunError(f"no checkpoint in {self.path} can be read: steps {[s for s, _ in damaged]} are damaged "
                            f"({damaged[0][1]}); restore them from a copy, or start again with a new --workdir")
    return None, None, []

  def _aside(self, step):
    """Renames the checkpoint of `step`, which makes room for another; its new folder (the first process knows it)."""
    def rename():
      free = (self.path / f"damaged-{step}{f'-{n}' if n else ''}" for n in itertools.count())
      new = next(p for p in free if not p.exists())
      try:
        (self.path / str(step)).rename(new)
      except Exception as e:  # file systems of buckets have errors of their own
        raise errors.RunError(f"cannot rename the damaged {self.path / str(step)}: "
                              f"{getattr(e, 'strerror', None) or errors.first_line(e)}") from e
      return new
    new = processes.by_first(rename)
    self.manager.reload()
    return new

  def close(self):
    self.wait()
    self.manager.close()


def record_of(folder):
  """What a checkpoint's folder says of itself: {"config", "environment", "best"}; {} where it says nothing."""
  try:
    return dict(json.loads((paths.path(folder) / METADATA).read_text())["custom_metadata"])
  except Exception:  # whatever is wrong with it
    return {}


def run_of(workdir):
  """{"config", "environment"} of the run in `workdir`: its two files or, where there are none, its newest checkpoint's.

  Raises errors.UsageError for the workdir of no run, or of several.
  """
  single(workdir)
  kept = next((r for f in folders(workdir)[::-1] if "config" in (r := record_of(f))), {})
  files = {k: paths.path(workdir) / f"{k}.json" for k in ("config", "environment")}
  return {k: kept[k] if k in kept and not f.exists() else read_json(f) for k, f in files.items()}


def config_of(workdir):
  """The config of the run, or of the several runs, in `workdir`."""
  path = paths.path(workdir) / "config.json"
  return read_json(path) if path.exists() else run_of(workdir)["config"]


def single(workdir):
  """A UsageError for the folder of several runs (config.seeds, config.rates), each in a folder of its own in it."""
  path = paths.path(workdir)
  found = read_json(path / "config.json") if (path / "config.json").exists() else {}
  if isinstance(found, dict) and (found.get("seeds", 1) != 1 or found.get("rates")):
    names = sorted(p.parent.name for p in path.glob("*/config.json"))
    raise errors.UsageError(f"{workdir} holds several runs, each a workdir by itself: give that of one, or a new one; "
                            f"there are {', '.join(names) or 'none yet'}")


def folders(workdir):
  """The folders of a workdir's checkpoints that are whole, oldest first; in a bucket a file of Orbax's says so."""
  inside = paths.path(workdir) / "checkpoints"
  found = [p for p in (inside.iterdir() if inside.is_dir() else ()) if p.name.isdigit() and (
      not paths.remote(p) or (p / "commit_success.txt").exists())]
  return sorted(found, key=lambda p: int(p.name))


def alone():
  """Orbax's reader and writer for this process, which waits for no other."""
  me = jax.process_index()
  options = {} if jax.process_count() == 1 else {"multiprocessing_options": ocp.options.MultiprocessingOptions(
      primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process_{me}")}
  return ocp.StandardCheckpointer(**options)


def restore_folder(folder):
  """What one checkpoint's folder holds, as nested dicts of arrays on one device."""
  one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  item = paths.path(paths.absolute(folder)) / "default"
  with alone() as reader:
    like = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=one),
                        reader.metadata(item).item_metadata.tree)
    return reader.restore(item, like)
