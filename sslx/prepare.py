"""A run before its first step and after its last: what a config makes, and the encoder that is left."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from sslx import (
  checkpoint,
  config as configs,
  data as datasets,
  encoders,
  initial,
  inputs,
  mesh as meshes,
  methods,
  optim,
  paths,
  processes,
  run,
)
from sslx.evaluate.watch import watcher
from sslx.methods import probe
from sslx.step import init_state


@dataclasses.dataclass
class Ready:
  """A run that can begin.

  config: resolved and filled                      workdir: its folder
  source: the training data                        examples: the same, classes numbered from 0 on
  classes: how many, or None                       encoder, method: the Flax module; the Method, with its online probe
  rate: step -> learning rate, or None             optimizer: peak learning rate (or None: the config's) -> optax's
  watch, metric: of evaluate.watch, or None        first: a batch of one example
  state: the TrainState before the first step      key: of all steps
  fresh: whether the folder has no checkpoint      name: among several
  """
  config: Any
  workdir: Any
  source: Any
  examples: Any
  classes: Any
  encoder: Any
  method: Any
  rate: Any
  optimizer: Any
  watch: Any
  metric: Any
  first: Any
  state: Any
  key: Any
  fresh: bool
  name: str = ""

  def batches(self, start, readers=1):
    """An endless iterator of host batches from number `start` on: what the method reads, this process's share.

    With data.device only positions, {"index": [b]}. readers: how many iterators share config.data.workers.
    """
    here = self.config.data.device
    examples = dataclasses.replace(self.examples, read=lambda rows: {}, labels=None, in_memory=True) if here else (
        self.examples)
    found = datasets.batches(examples, batch_size=self.config.batch_size, seed=self.config.seed, start=start,
                             workers=-(-self.config.data.workers // readers), process_index=jax.process_index(),
                             process_count=jax.process_count())
    return ({k: batch[k] for k in (["index"] if here else self.method.reads)} for batch in found)


def build(config):
  """(encoder module, Method) of a resolved config."""
  name, options = methods.split(config.encoder)
  encoder = encoders.make(name, **options)
  name, options = methods.split(config.method)
  return encoder, methods.make(name, encoder, **options)


def load(config, split, **options):
  """inputs.load, in the first process before the others."""
  return processes.in_turn(functools.partial(inputs.load, config, split, **options))


def training(config, data=None):
  """The training data of a config, or those that are given."""
  return load(config, "train", rest=True) if data is None else datasets.given(data)


def prepare(config, workdir, *, data=None, test=None, method=None, tx=None, extend=None, source=None, name=""):
  """The Ready run of a config; arguments and errors as those of train.train. Nothing is written.

  source: what `training` gives, if that was done already; name: of the run among several.
  """
  source = training(config, data) if source is None else source
  paths.path(workdir)                                       # refused at once, if it cannot be
  config = run.resolve(config, len(source), extend)
  meshes.make_mesh(config)                                  # refused at once, too
  total, size = config.total_steps, config.batch_size
  if data is not None:
    config.data.name = "given"
  if method:
    config.encoder, config.method = {}, {"name": "given"}
  if tx:
    config.optim = {"name": "given"}
  examples, classes = datasets.numbered(source)             # so that probes are as wide as there are classes
  run.fill(config, len(source), classes)
  encoder, method = method or build(config)
  watched = method
  if config.online_probe and classes:
    method = probe.online(method, encoder, classes, source.key)
  rate = None if tx else optim.schedule(config.optim, total, size)
  if data is None and test is None and config.evaluate.every:
    test = load(config, "test")
  watch, metric = watcher(config, source, test, encoder, watched) if config.evaluate.every else (None, None)
  first = examples.batch(np.arange(1))
  inputs.check_reads(method, first)
  inputs.check_images(source)
  held = None
  key_init, key = jax.random.split(jax.random.key(config.seed))
  if config.init_frozen or config.init_rate != 1:
    held = {"places": initial.places(method, key_init, first, source.key), "steps": config.init_frozen,
            "rate": config.init_rate}
    method = initial.still(method, key_init, first, source.key, share=(config.init_frozen - 0.5) / total)

  def optimizer(peak=None):
    made = tx or optim.make(config.optim, total, size, peak)
    return optim.held(made, **held) if held else made
  state = init_state(method, optimizer(), key_init, first)
  fresh = not checkpoint.folders(workdir)
  if config.init and fresh:
    state = initial.start(method, state, checkpoint.load_encoder(config.init).variables, source.key)
  return Ready(config=config, workdir=workdir, source=source, examples=examples, classes=classes, encoder=encoder,
               method=method, rate=rate, optimizer=optimizer, watch=watch, metric=metric, first=first, state=state,
               key=key, fresh=fresh, name=name)


def export(ready, state, now, step):
  """Writes the encoder, and each tower, of a TrainState to the run's folder; returns the Encoder.

  now: the run's environment; step: how many are done.
  """
  spec, key = checkpoint.spec_of(configs.plain(ready.config), now) | {"step": step}, ready.source.key
  towers = meshes.whole(ready.method.encoder(state.params, state.state))
  for tower, variables in towers.items():
    x = ready.first[tower] if tower in ready.first else ready.first[key][:, 0]          # a frame of a clip
    mine = spec if tower == key else checkpoint.spec_of_tower(spec, tower, x.shape)
    folder = paths.path(ready.workdir) if tower == key else paths.path(ready.workdir) / "towers" / tower
    processes.by_first(functools.partial(checkpoint.export_encoder, folder / "encoder", variables, mine))
  return checkpoint.Encoder(ready.encoder, towers[key], tuple(ready.source.shape), spec)
