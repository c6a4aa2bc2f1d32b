"""The train states of a run, through Orbax: saved while it goes on, kept by number, the newest whole one restored."""

import contextlib
import gc
import logging
import pathlib
import sys
import time

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from sslx import errors

logging.getLogger("absl").setLevel(logging.CRITICAL)        # Orbax logs tracebacks of errors that it raises as well


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
