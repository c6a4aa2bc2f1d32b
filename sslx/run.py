"""What surrounds a run: its workdir and whether it may go on there, what it ran on, the signals that stop it."""

import fcntl
import importlib.metadata
import os
import pathlib
import platform
import signal
import subprocess

import jax
import numpy as np

from sslx import checkpoint, config as configs, data, errors, paths, tokens
from sslx.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scikit-learn")


def resolve(config, examples, extend=None):
  """A copy of `config` in which everything that depends on something else is set: total_steps, the encoder's dtype."""
  c = config.copy_and_resolve_references().unlock()
  if extend:
    c.total_steps, c.total_epochs = int(extend["total_steps"]), 0.0
  if min(c.total_steps, c.total_epochs, c.init_frozen, c.log.every - 1, c.checkpoint.every, c.evaluate.every) < 0:
    raise errors.UsageError("total_steps, total_epochs, init_frozen, checkpoint.every and evaluate.every cannot be "
                            "negative, and log.every is at least 1")
  if (c.init_frozen or c.init_rate != 1) and not c.init:
    raise errors.UsageError("init_frozen and init_rate are of an encoder that comes from elsewhere: set init, too")
  if c.init_rate <= 0:
    raise errors.UsageError(f"init_rate is {c.init_rate}; give a share of the learning rate, such as 0.1")
  if c.seeds != 1 or c.rates:
    raise errors.UsageError("seeds and rates are of `sslx pretrain` alone: leave them out")
  if bool(c.total_steps) == bool(c.total_epochs):
    raise errors.UsageError(f"set one of total_steps ({c.total_steps}) and total_epochs ({c.total_epochs}), not "
                            f"{'both' if c.total_steps else 'neither'}")
  if not 1 <= c.batch_size <= examples:
    raise errors.UsageError(f"batch_size {c.batch_size} does not fit a data set of {examples} examples: it must be "
                            f"from 1 to {examples}")
  if c.total_epochs:
    c.total_steps, c.total_epochs = max(1, int(c.total_epochs * examples) // c.batch_size), 0.0
  if c.dispatch < 1:
    raise errors.UsageError(f"dispatch is {c.dispatch}: it is the number of steps at once, at least 1")
  for key, every in {"total_steps": c.total_steps, "log.every": c.log.every, "checkpoint.every": c.checkpoint.every,
                     "evaluate.every": c.evaluate.every}.items():
    if every % c.dispatch:
      raise errors.UsageError(f"{key} is {every}, which is no multiple of dispatch={c.dispatch}: change either")
  if c.precision not in ("float32", "bfloat16"):
    raise errors.unknown("precision", c.precision, ("float32", "bfloat16"))
  c.data.name = data.absolute(c.data.name)                  # so that later commands find it
  c.evaluate.data = tuple(map(data.absolute, c.evaluate.data))
  if c.init:
    c.init = paths.absolute(c.init)
  if c.data.unlabelled and not c.data.labels:
    raise errors.UsageError("data.unlabelled brings the rest along where data.labels takes some: set data.labels, too")
  for key in ("votes", "labels", "tokenizer", "dir"):
    paths.here(c.data.get(key) or "", f"data.{key}")
  if c.data.votes:
    c.data.votes = os.path.abspath(os.path.expanduser(c.data.votes))
  if c.data.labels and os.path.exists(os.path.expanduser(c.data.labels)):
    c.data.labels = os.path.abspath(os.path.expanduser(c.data.labels))
  if os.path.exists(os.path.expanduser(c.data.get("tokenizer", ""))):
    c.data.tokenizer = os.path.abspath(os.path.expanduser(c.data.tokenizer))
  if c.data.dir:
    c.data.dir = os.path.abspath(os.path.expanduser(c.data.dir))
  if c.precision == "bfloat16" and c.encoder and c.encoder.get("dtype") is None:
    c.encoder.dtype = "bfloat16"
  return c


def fill(config, examples, classes):
  """Sets what a method must know of the data, num_examples and num_classes, where the config leaves it at 0.

  A method and an encoder of text get the tokenizer of the data, and its vocabulary.
  """
  known = {"num_examples": examples, "num_classes": classes}
  for option, value in known.items():
    if config.method.get(option) == 0:
      if value is None:
        raise errors.UsageError(f"the method {config.method.name} learns from labels, and these data have none: "
                                "choose another method, or other data")
      config.method[option] = value
  if "tokenizer" in config.method:
    config.method.tokenizer = config.data.tokenizer
  for tower in (config.encoder, config.method.get("text")):
    if hasattr(tower, "get") and tower.get("vocab") == 0:
      tower.vocab = tokens.coder(config.data.tokenizer).vocab


def prefer_determinism(config):
  """Asks XLA for exact operations on GPU, which resuming to the bit needs; in force if no device was used before."""
  flag = "--xla_gpu_deterministic_ops=true"
  if config.deterministic and flag not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()


def environment(source, classes):
  """Versions, devices, commit and data of a run, as JSON; with `spec_of`, all that a checkpoint needs to be read."""
  return machine() | {
      "data": {"name": source.name, "examples": len(source), "shape": list(source.shape), "dtype": str(source.dtype),
               "key": source.key, **members(source),
               "classes": classes, "fingerprint": source.fingerprint, "skipped": source.skipped}}


def members(source):
  """{"members": {name: shape}} of examples that have several, else {}."""
  found = {k: list(v.shape[1:]) for k, v in source.batch(np.arange(1)).items() if k in data.pairs.MEMBERS}
  return {"members": found} if len(found) > 1 else {}


def machine():
  """Versions, devices and commit, as JSON."""
  device = jax.local_devices()[0]
  return {
      "versions": {"sslx": __version__, "python": platform.python_version(),
                   **{p: importlib.metadata.version(p) for p in PACKAGES}},
      "devices": {"kind": device.device_kind, "platform": device.platform, "count": jax.device_count(),
                  "processes": jax.process_count()},
      "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
      "commit": commit(),
      "x64": bool(jax.config.jax_enable_x64)}


def commit():
  """The git commit of the code that runs, marked when there are changes, or None outside a repository."""
  here = pathlib.Path(__file__).parent
  git = lambda *a: subprocess.run(["git", "-C", str(here), *a], capture_output=True, text=True, timeout=10)
  try:
    head = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", ".").stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return None
  return head.stdout.strip() + ("+changes" if changed else "") if head.returncode == 0 else None


def enter(workdir, config, now, extend=None):
  """Makes `workdir` the run's: writes config.json and environment.json, or checks that the run there is the same one.

  Returns a lock, to be closed at the end of the run.

  config: the resolved ConfigDict, which `extend` may change; now: environment(...). Raises errors.UsageError with the
  difference for a run of other numbers, errors.RunError where the folder cannot be written.
  """
  workdir, wanted = paths.path(workdir), configs.plain(config)
  make(workdir)
  checkpoint.single(workdir)
  lock = _lock(workdir)
  try:
    if checkpoint.folders(workdir):
      now = {**now, **_same_run(workdir, wanted, now, extend)}
    elif extend:
      raise errors.UsageError(f"there is no run in {workdir} to extend")
    checkpoint.write_json(workdir / "environment.json", now)
    checkpoint.write_json(workdir / "config.json", wanted)
  except BaseException:
    lock.close()
    raise
  return lock


def make(workdir):
  """Makes the folder, if need be."""
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except Exception as e:  # file systems of buckets have errors of their own
    raise errors.RunError(f"cannot make the workdir {workdir}: {getattr(e, 'strerror', None) or e}") from e


def _same_run(workdir, wanted, now, extend):
  """{"earlier": other environments that the run in `workdir` has seen, "lengths": its total_steps before extensions}.

  A UsageError with the differences, where the run or one of its checkpoints is of other numbers than those wanted.
  """
  run = checkpoint.run_of(workdir)
  old, then = run["config"], dict(run["environment"])
  earlier, lengths = then.pop("earlier", []), then.pop("lengths", [])
  if extend and wanted["total_steps"] < old["total_steps"]:
    raise errors.UsageError(f"--extend total_steps={wanted['total_steps']} is less than the {old['total_steps']} "
                            f"steps of the run in {workdir}")
  if extend and old["total_steps"] not in (wanted["total_steps"], *lengths):
    lengths = [*lengths, old["total_steps"]]
  _compare(workdir, run, wanted, now, lengths if extend else [])
  for folder in checkpoint.folders(workdir):
    record = checkpoint.record_of(folder)
    if "config" in record:                                  # those of before 0.1.0 do not say
      _compare(folder, record, wanted, now, lengths)
  return {"earlier": earlier if then == now else [*earlier, then], "lengths": lengths}


def _compare(where, run, wanted, now, lengths):
  """A UsageError with the differences, where `run` (of a workdir or checkpoint) is not that wanted; lengths: other
  total_steps that it may have."""
  old, then = run["config"], run["environment"]
  apart = configs.difference(old, wanted)
  if old["total_steps"] in lengths:
    apart.pop("total_steps", None)
  if then.get("x64") != now["x64"]:
    apart["JAX_ENABLE_X64"] = (then.get("x64"), now["x64"])
  for key in ("fingerprint", "shape", "examples"):
    if then["data"][key] != now["data"][key]:
      apart[f"data ({key})"] = (then["data"][key], now["data"][key])
  if apart:
    lines = "; ".join(f"{k} was {a!r}, is {b!r}" for k, (a, b) in apart.items())
    raise errors.UsageError(f"{where} holds another run: {lines}. Give a new --workdir, or the old settings "
                            "(only --extend total_steps=N may change the length)")


def _lock(workdir):
  """An open file that keeps a second process out of `workdir` until it is closed or its process ends, however.

  A bucket has no locks: there it keeps nobody out.
  """
  if paths.remote(workdir):
    return open(os.devnull)  # noqa: SIM115
  lock = open(workdir / ".lock", "w")  # noqa: SIM115
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    lock.close()
    raise errors.UsageError(f"another process is training in {workdir}: wait, or give another --workdir") from None
  except OSError:                                           # a file system without locks
    pass
  return lock


class Signals:
  """Within it SIGTERM and SIGINT set `received` instead of ending the process; a second SIGINT interrupts as usual."""

  def __enter__(self):
    self.received = None
    try:
      self.old = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:                                   # not in the main thread: the caller's own signals stay
      self.old = {}
    return self

  def _note(self, number, frame):
    if self.received == number == signal.SIGINT:
      raise KeyboardInterrupt
    self.received = number

  def __exit__(self, *_):
    for number, handler in self.old.items():
      signal.signal(number, handler)
