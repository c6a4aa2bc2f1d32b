"""A transfer from start to end: the strategy chosen, the run and the one from scratch beside it, both tested."""

import importlib
import math
import os
import pathlib

import numpy as np

from sslx import checkpoint, data as datasets, encoders, errors, evaluate, log, train
from sslx.evaluate import split
from sslx.transfer import choice, downstream, stages

IMAGES, PIXELS = 1024, 2**19  # on the host, and in a pass through the network, at once
SCRATCH = "scratch"          # the folder of the comparison, in the run's own


def onto(config, source):
  """A copy of a transfer config for the pretrained encoder at `source`, a run's workdir or what load_encoder takes.

  It takes over the encoder and its options, the channels and, where data.size is 0, the size of the images.
  """
  record = checkpoint.load_encoder(source)
  c = config.copy_and_resolve_references().unlock()
  if "source" not in c.method:
    raise errors.UsageError(f"the method {c.method.name} is no transfer task: start from a config in configs/transfer")
  c.encoder = encoders.options(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.spec["encoder"].items()})
  c.method.source, c.method.weights = os.path.abspath(source), downstream.digest(record.variables)
  resized = getattr(importlib.import_module(c.method.name), "RESIZED", False)
  if resized and c.data.size == 0 and record.shape[0] == record.shape[1]:
    c.data.size = record.shape[0]
  c.data.channels = 3 if record.shape[2] == 3 else 0
  return c.lock()


def transfer(config, workdir, *, source=None, scratch=True, scratch_lr=None, log_to=None):
  """Trains and tests the task of `config` in the folder `workdir`; returns what it writes to workdir/transfer.json.

  Args:
    config: of configs/transfer; method.strategy says what moves.
    workdir: folder of the run, made if need be; the same call goes on with what is there.
    source: where the pretrained encoder is, see `onto`; None if `config` came from there.
    scratch: also train the same network from random weights, with the same recipe, in workdir/scratch.
    scratch_lr: its peak learning rate, where it shall not be the run's own.
    log_to: called with every record of the run's log.

  Returns:
    {"task", "strategy", "source", "choice": why "auto" chose that, "labels": N, "runs": {strategy: measures}}.
    With data.labels the positions of the labelled examples are in workdir/labelled.txt, for use as data.labels.
  """
  c = onto(config, source) if source is not None else config.copy_and_resolve_references()
  c.unlock()
  if not c.method.get("weights"):
    raise errors.UsageError("no pretrained encoder was named: give --from RUN, or source from Python")
  stages.parse(c.method.strategy)
  labelled, test = train.load(c, "train"), train.load(c, "test")
  used = positions(c)
  task = importlib.import_module(c.method.name)
  if hasattr(task, "prepare"):
    task.prepare(c, labelled, test)
  path = pathlib.Path(workdir) / "transfer.json"
  record = {"task": c.method.name.rpartition(".")[2], "source": c.method.source, "labels": len(labelled)}
  if c.method.strategy == "auto":
    known = checkpoint.read_json(path).get("choice") if path.exists() else None
    record["choice"] = chosen = known or choice.choose(c, labelled)
    log.say(f"strategy {chosen['strategy']}{', layer ' + chosen['layer'] if chosen['layer'] else ''}: {chosen['why']}")
    c.method.strategy = chosen["strategy"]
    if "layer" in c.method:
      c.method.layer = chosen["layer"]
  record |= {"strategy": c.method.strategy, "layer": c.method.get("layer", ""), "runs": {}}
  first = True
  for folder, strategy in [(workdir, c.method.strategy)] + [(pathlib.Path(workdir) / SCRATCH, SCRATCH)] * (
      scratch and c.method.strategy != SCRATCH):
    run = c.copy_and_resolve_references()
    run.method.strategy = strategy
    if strategy == SCRATCH:
      run.optim.layer_decay = 1.0
      if "layer" in run.method:
        run.method.layer = ""
      run.optim.lr = run.optim.lr if scratch_lr is None else scratch_lr
    log.say(f"{strategy}: {folder}")
    train.train(run, folder, data=None, log=log_to if first else None)
    if first and "choice" in record:
      checkpoint.write_json(path, record)
    if first and used is not None:
      split.write(path.with_name("labelled.txt"), used)
    record["runs"][strategy] = task.measure(predictor(folder), labelled, test, run.method)
    first = False
  checkpoint.write_json(path, record)
  return record


def positions(config):
  """The positions of the labelled examples in the training split, or None where all are."""
  if not config.data.labels:
    return None
  whole = config.copy_and_resolve_references()
  whole.data.labels = ""
  return split.labelled(config.data.labels, train.load(whole, "train").labels, config.seed)


def predictor(folder):
  """The function images -> output of the network that a run of a task trained, as numpy; `shape` are the images'."""
  record = checkpoint.load_encoder(folder, read="z")
  size = min(256, max(1, PIXELS // math.prod(record.shape[:2])))
  return lambda images: evaluate.embed(record, images, batch_size=size)


def outputs(predict, source):
  """The predictor's output [N, ...] for all images of a Source, read in parts."""
  return np.concatenate([predict(part["image"]) for part in datasets.parts(source, IMAGES)])


def rows(record):
  """[(measure, {strategy: value})] of transfer's result, for a table."""
  names = list(dict.fromkeys(k for r in record["runs"].values() for k, v in r.items()
                             if isinstance(v, float) and k != "standard_error"))
  return [(name, {s: r.get(name) for s, r in record["runs"].items()}) for name in names]
