"""A transfer from start to end: the strategy chosen, the run and the one from scratch beside it, both tested."""

import copy
import importlib
import math

import numpy as np

from sslx import checkpoint, config as configs, data as datasets, errors, evaluate, inputs, log, paths, seeds, train
from sslx.evaluate import split
from sslx.transfer import choice, stages

IMAGES, PIXELS = 1024, 2**19  # on the host, and in a pass through the network, at once
SCRATCH = "scratch"          # the folder of the comparison, in the run's own


def onto(config, source):
  """A copy of a transfer config for the pretrained encoder at `source`, a run's workdir or what load_encoder takes.

  It takes over the encoder and its options, the channels and, where data.size is 0, the size of the images; of other
  data their length, rate and tokenizer.
  """
  record = checkpoint.load_encoder(source)
  c = copy.deepcopy(config).unlock()                         # keys that are None keep the type they wait for
  if "source" not in c.method:
    raise errors.UsageError(f"the method {c.method.name} is no transfer task: start from a config in configs/transfer")
  configs.onto(c, record.spec, source)
  c.method.source, c.method.weights = paths.absolute(source), checkpoint.digest(record.variables)
  if record.reads != "image":
    if "reads" not in c.method:
      raise errors.UsageError(f"the encoder in {source} reads {record.reads}, and {c.method.name} needs images: take "
                              "configs/transfer/classify.py")
    c.method.reads = record.reads
    c.data.update({k: v for k, v in record.spec["config"]["data"].items() if k in datasets.OTHERS})
    if record.reads == "voxels":
      c.data.size = c.data.size or record.shape[0]
    if record.reads == "points":
      c.data.length = float(record.shape[0])
    return c.lock()
  resized = getattr(importlib.import_module(c.method.name), "RESIZED", False)
  if resized and c.data.size == 0 and record.shape[0] == record.shape[1]:
    c.data.size = record.shape[0]
  return c.lock()


def transfer(config, workdir, *, source=None, scratch=True, scratch_lr=None, log_to=None, extend=None):
  """Trains and tests the task of `config` in the folder `workdir`; returns what it writes to workdir/transfer.json.

  Args:
    config: of configs/transfer; method.strategy says what moves.
    workdir: folder of the run, made if need be; the same call goes on with what is there.
    source: where the pretrained encoder is, see `onto`; None if `config` came from there.
    scratch: also train the same network from random weights, with the same recipe, in workdir/scratch, unless that is
      no part of the task.
    scratch_lr: its peak learning rate, where it shall not be the run's own.
    log_to: called with every record of the run's log.
    extend: {"total_steps": N} takes the run, and the one from scratch, past their planned end.

  Returns:
    {"task", "strategy", "source", "choice": why "auto" chose that, "labels": N, "runs": {strategy: measures}}.
    With data.labels the positions of the labelled examples are in workdir/labelled.txt, for use as data.labels.
  """
  c = onto(config, source) if source is not None else config.copy_and_resolve_references()
  c.unlock()
  if seeds.several(c):
    raise errors.UsageError("seeds and rates are of `sslx pretrain` alone: give --config.seed=N and another --workdir")
  if not c.method.get("weights"):
    raise errors.UsageError("no pretrained encoder was named: give --from RUN, or source from Python")
  stages.parse(c.method.strategy)
  check_channels(c)
  labelled, test, used = inputs.load(c, "train"), inputs.load(c, "test"), positions(c)
  task, path = importlib.import_module(c.method.name), paths.path(workdir) / "transfer.json"
  task.prepare(c, labelled, test)
  scratch = scratch and getattr(task, "SCRATCH", True)
  record = {"task": c.method.name.rpartition(".")[2], "source": c.method.source, "labels": len(labelled)}
  if c.method.strategy == "auto":
    record["choice"] = decided(c, labelled, path)
  record |= {"strategy": c.method.strategy, "layer": c.method.get("layer", ""), "runs": {}}
  for strategy in dict.fromkeys([c.method.strategy, *[SCRATCH] * scratch]):
    first = strategy == c.method.strategy
    run = c if first else from_scratch(c, scratch_lr)
    folder = path.parent if first else path.parent / SCRATCH
    log.say(f"{strategy}: {folder}")
    train.train(run, folder, log=log_to if first else None, extend=extend)
    record["runs"][strategy] = task.measure(predictor(folder), labelled, test, run.method)
    checkpoint.write_json(path, record)
    if first and used is not None:
      split.write(path.with_name("labelled.txt"), used)
  return record


def check_channels(config):
  """A UsageError, before any data are read, where the encoder sees one channel and the images will have three."""
  name, source = str(config.data.name), config.method.source
  if name.startswith(("masks:", "boxes:")) and checkpoint.read_spec(source)["shape"][-1] == 1:
    raise errors.UsageError(f"the encoder in {source} reads grey images, and {name} is read in colour: pretrain with "
                            "data.channels=3")


def decided(config, labelled, path):
  """What "auto" stands for, put into the config: as in transfer.json at `path`, if that is there, else chosen now."""
  known = checkpoint.read_json(path).get("choice") if path.exists() else None
  found = known or choice.choose(config, labelled)
  log.say(f"strategy {found['strategy']}{', layer ' + found['layer'] if found['layer'] else ''}: {found['why']}")
  config.method.strategy = found["strategy"]
  if "layer" in config.method:
    config.method.layer = found["layer"]
  return found


def from_scratch(config, lr):
  """The config of the same network from random weights, all of it at one learning rate; lr: None for the same one."""
  c = config.copy_and_resolve_references()
  c.method.strategy, c.optim.layer_decay = SCRATCH, 1.0
  c.optim.lr = c.optim.lr if lr is None else lr
  if "layer" in c.method:
    c.method.layer = ""
  return c


def positions(config):
  """The positions of the labelled examples in the training split, or None where all are."""
  if not config.data.labels:
    return None
  whole = config.copy_and_resolve_references()
  whole.data.labels = ""
  source = inputs.load(whole, "train")
  return split.labelled(config.data.labels, source.labels, config.seed, source.paths)


def predictor(folder):
  """The function images -> output, as numpy, of the network that a run of a task trained."""
  record = checkpoint.load_encoder(folder, read="z")
  size = min(256, max(1, PIXELS // math.prod(record.shape[:2])))
  return lambda images: evaluate.embed(record, images, batch_size=size)


def outputs(predict, source):
  """The predictor's output [N, ...] for all examples of a Source, read in parts."""
  return np.concatenate([predict(part[source.key]) for part in datasets.parts(source, IMAGES)])


def rows(record):
  """[(measure, {strategy: value})] of transfer's result, for a table."""
  names = list(dict.fromkeys(k for r in record["runs"].values() for k, v in r.items()
                             if isinstance(v, float) and k != "standard_error"))
  return [(name, {s: r.get(name) for s, r in record["runs"].items()}) for name in names]
