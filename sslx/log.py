"""The numbers of a run: metrics.jsonl, TensorBoard, a progress bar, and whether the loss still falls."""

import contextlib
import json
import math
import os
import statistics
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from sslx import errors, paths
from sslx.checkpoint import write_text

CLOCK = ("images_per_s", "step_ms", "step_ms_p95", "data_wait", "memory_gb", "mfu")      # no numbers of the run itself
console = Console(stderr=True, highlight=False)


def say(line):
  """A line for the person at the terminal, on stderr."""
  console.print(line, markup=False, soft_wrap=True)


def read(path):
  """The records of a metrics.jsonl; a last line cut off by a kill is left out."""
  records = []
  path = paths.path(path)
  for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
    try:
      records.append(json.loads(line))
    except ValueError:
      break
  return records


def progress(*columns):
  """A rich progress bar with the time left; nothing where nobody watches."""
  return Progress(TextColumn("{task.description}"), BarColumn(), *columns, TimeElapsedColumn(), TextColumn("left"),
                  TimeRemainingColumn(), console=console, disable=not console.is_terminal)


class Log:
  """Writes records {"step": n, ...} of a run that goes on from `start`: later ones in the file are cut off first.

  silent: keeps them, too, but writes nothing: another process does. In a bucket, where nothing can be appended,
  metrics.jsonl is written anew by `flush`, and there is no TensorBoard.
  """

  def __init__(self, workdir, *, start, unit, also=None, silent=False):
    self.path = paths.path(workdir) / "metrics.jsonl"
    self.records = [r for r in read(self.path) if r["step"] <= start]
    remote = paths.remote(workdir)
    write = lambda: write_text(self.path, "".join(json.dumps(r) + "\n" for r in self.records))
    if not silent:
      write()
    self.flush = write if remote and not silent else lambda: None
    self.file = open(os.devnull if silent or remote else self.path, "a", encoding="utf-8")  # noqa: SIM115
    self.board = None if silent or remote else SummaryWriter(str(workdir), purge_step=start + 1)
    self.unit, self.also, self.tick, self.done = unit, also, time.monotonic(), start

  def write(self, step, values):
    """Appends one record, to the file, TensorBoard and the caller's own function; returns it."""
    record = {"step": step, **{k: float(v) for k, v in values.items()}}
    self.records.append(record)
    try:
      self.file.write(json.dumps(record) + "\n")
      self.file.flush()
    except OSError as e:
      raise errors.RunError(f"cannot write {self.path}: {e.strerror or e}") from e
    if self._listens():
      for k, v in record.items():
        if k != "step":
          self.board.add_scalar(k, v, step)
    if self.also:
      self.also(record)
    return record

  def _listens(self):
    """Whether TensorBoard's own thread lives (a full disk or a jump of the clock ends it); else its queue blocks."""
    return self.board and self.board.file_writer.event_writer._worker.is_alive()

  def train(self, step, metrics):
    """A record of the step's own metrics, with examples/s since the last one."""
    now = time.monotonic()
    rate = (step - self.done) * self.unit / max(1e-9, now - self.tick)
    record = self.write(step, {**metrics, "images_per_s": rate})
    self.tick, self.done = now, step
    return record

  def pause(self, seconds):
    """Leaves `seconds` of evaluation or saving out of examples/s."""
    self.tick += seconds

  def losses(self):
    """[(step, loss)] so far."""
    return [(r["step"], r["loss"]) for r in self.records if "loss" in r]

  def close(self):
    with contextlib.suppress(errors.RunError):              # what ends the run is told, not this
      self.flush()
    with contextlib.suppress(OSError):                      # what could not be written was told by `write`
      self.file.close()
      if self._listens():
        self.board.close()
      elif self.board:                                      # nobody reads its queue: the process shall end all the same
        writer = self.board.file_writer.event_writer
        writer._closed = True
        writer._event_queue.cancel_join_thread()


class Shown:
  """How far a run is, for the person at the terminal: a progress bar, or lines where there is none."""

  def __init__(self, total, start):
    self.total = total
    self.bar = progress(TextColumn("{task.completed}/{task.total}"), TextColumn("{task.fields[note]}"))
    self.bar.start()
    self.task = self.bar.add_task("pretraining", total=total, completed=start, note="")

  def __call__(self, step, records, unit):
    """records: {name of a run: what Log.train gave}; unit: examples a step."""
    record = next(iter(records.values()))
    health = " ".join(f"{k} {record[k]:.3f}" for k in ("z_std", "h_std", "online_accuracy") if k in record)
    loss = f"loss {record['loss']:.4f} {health}"
    if len(records) > 1:
      loss = "loss " + ", ".join(f"{r['loss']:.4f} {name}" for name, r in records.items()) + ";"
    note = f"{loss} {record['images_per_s']:.0f} examples/s"
    self.bar.update(self.task, completed=step, note=note)
    if not console.is_terminal:
      left = (self.total - step) * unit / max(1e-9, record["images_per_s"])
      say(f"step {step}/{self.total}  {note}  {left / 60:.1f} min left")

  def close(self):
    self.bar.stop()


def plateau(losses, *, window=20, share=0.02):
  """The step since which the loss has stopped falling, or None. losses: [(step, loss)].

  The mean of the last window (20 records, or a fifth of all) against the window before it: it has stopped when the
  fall, at the upper end of its uncertainty (two standard errors), is below `share` of all that was gained since the
  start and a thousandth of the loss.
  """
  window = max(window, len(losses) // 5)
  if len(losses) < 3 * window:
    return None
  values = [v for _, v in losses]
  last, before, first = values[-window:], values[-2 * window:-window], values[:window]
  fall = statistics.fmean(before) - statistics.fmean(last)
  error = math.sqrt((statistics.variance(before) + statistics.variance(last)) / window)
  gained = max(0.0, statistics.fmean(first) - statistics.fmean(last))
  enough = share * gained + 0.001 * abs(statistics.fmean(first))
  return losses[-window][0] if fall + 2 * error < enough else None
