"""The run around the training step: pretrain, save, stop, resume."""

import contextlib
import functools
import json
import signal
import time

import jax
import numpy as np

from sslx import (
  checkpoint,
  config as configs,
  cost,
  data as datasets,
  encoders,
  epochs,
  errors,
  initial,
  inputs,
  log as logs,
  mesh as meshes,
  methods,
  optim,
  paths,
  processes,
  run,
  watching,
)
from sslx.evaluate.watch import watcher
from sslx.mesh import make_mesh, place
from sslx.methods import probe
from sslx.step import TrainState as TrainState, init_state, make_step


def build(config):
  """(encoder module, Method) of a resolved config."""
  name, options = methods.split(config.encoder)
  encoder = encoders.make(name, **options)
  name, options = methods.split(config.method)
  return encoder, methods.make(name, encoder, **options)


def train(config, workdir, *, data=None, test=None, method=None, tx=None, log=None, extend=None, profile=0):
  """Pretrains as `config` says in the folder `workdir`, going on with the run that is there; returns its Encoder.

  Args:
    config: see config.py. Anything that changes the numbers must be as it was when the run began.
    workdir: folder of the run, made if need be; one that all processes see, if there are several (processes.join).
    data, test: sequences of {"image", "label", ...} in place of config.data. Methods see classes numbered from 0 on.
    method: (encoder module, Method) in place of config.encoder and config.method.
    tx: an optax transformation in place of config.optim.
    log: called with every record {"step", "loss", ...}.
    extend: {"total_steps": N} takes a run past its planned end.
    profile: so many steps of this start are traced to workdir/profile.

  Raises:
    errors.UsageError: wrong config or workdir.
    errors.RunError: a non-finite loss, a full disk; the last good checkpoint stays.
    errors.Stopped: SIGTERM or SIGINT asked the run to end; all is saved, the same call goes on.
  """
  run.prefer_determinism(config)
  load = lambda split, **options: processes.in_turn(functools.partial(inputs.load, config, split, **options))
  source = load("train", rest=True) if data is None else datasets.given(data)
  paths.path(workdir)                                       # refused at once, if it cannot be
  if profile:
    paths.here(workdir, "the workdir of a run with --profile")
  config = run.resolve(config, len(source), extend)
  total, size, mesh = config.total_steps, config.batch_size, make_mesh(config)
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
  tx = tx or optim.make(config.optim, total, size)
  if data is None and test is None and config.evaluate.every:
    test = load("test")
  watch, metric = watcher(config, source, test, encoder, watched) if config.evaluate.every else (None, None)

  def batches(start):
    found = datasets.batches(examples, batch_size=size, seed=config.seed, start=start, workers=config.data.workers,
                             process_index=jax.process_index(), process_count=jax.process_count())
    return (place({k: batch[k] for k in method.reads}, mesh) for batch in found)

  first = examples.batch(np.arange(1))
  inputs.check_reads(method, first)
  inputs.check_images(source)
  key_init, key = jax.random.split(jax.random.key(config.seed))
  if config.init_frozen or config.init_rate != 1:
    places = initial.places(method, key_init, first, source.key)
    tx = optim.held(tx, places, steps=config.init_frozen, rate=config.init_rate)
    method = initial.still(method, key_init, first, source.key, share=(config.init_frozen - 0.5) / total)
  state = init_state(method, tx, key_init, first)
  fresh = not checkpoint.folders(workdir)
  if config.init and fresh:
    state = initial.start(method, state, checkpoint.load_encoder(config.init).variables, source.key)
  where = meshes.of(config, state, mesh)
  state = meshes.put(state, where)
  step = make_step(method, tx, total, where, config.slices)

  now = run.environment(source, classes)
  with contextlib.ExitStack() as stack:                     # closes all, the last first, whatever happens
    signals = stack.enter_context(run.Signals())
    processes.alike("the config, the workdir or the data", json.dumps(
        [configs.plain(config), str(workdir), now["data"], now["x64"]], sort_keys=True, default=str))
    if lock := processes.by_first(lambda: run.enter(workdir, config, now, extend)):
      stack.enter_context(lock)
    saved = stack.enter_context(contextlib.closing(checkpoint.Checkpoints(
        workdir, keep=config.checkpoint.keep, metric=metric, record=checkpoint.run_of(workdir))))
    done, restored = saved.restore(state, warn=logs.say)
    if restored is None:
      done = 0
      if config.init and not fresh:
        raise errors.RunError(f"no checkpoint in {workdir} could be restored: give a new --workdir")
      logs.say(f"{len(source)} examples, {total} steps of {size} on {mesh.size} device(s)"
               + (f", {meshes.share(state, where) / 2**20:.0f} MB of state each" if config.mesh.fsdp > 1 else "")
               + (f", peak learning rate {optim.peak(config.optim, size):g}" if rate else ""))
      if config.slices > 1 and "batch_stats" in str(jax.tree.structure(state.state)):
        logs.say(f"batch norm is of each of the {config.slices} slices by itself (ghost batch norm)")
    else:
      state = restored
      logs.say(f"going on from step {done} of {total} in {workdir}")
    record = stack.enter_context(contextlib.closing(logs.Log(workdir, start=done, total=total, unit=size, also=log,
                                                        silent=not processes.first())))

    agreed, stop, overdue = processes.Agreement(), False, False
    ended, last_save = None if extend else logs.plateau(record.losses()), time.monotonic()
    pending, ahead = [], batches(done)                      # pending: steps whose numbers nobody has looked at yet
    pace = stack.enter_context(contextlib.closing(watching.Pace(device=jax.local_devices()[0])))
    if done < total:
      begun = time.monotonic()
      with pace.waiting("input"):
        batch = next(ahead)
      traced = step.trace(state, key, batch)
      step, pace.flops = traced.lower().compile(), cost.flops(traced.jaxpr) / mesh.size     # another shape is an error
      logs.say(f"compiled in {time.monotonic() - begun:.0f} s")
      record.pause(time.monotonic() - begun)
      pace.restart()
    traces = stack.enter_context(contextlib.closing(watching.Profile(paths.path(workdir) / "profile", profile, done)))
    alarm = watching.Alarm(config.method.name)

    @contextlib.contextmanager
    def aside(what="evaluating"):                           # no part of the steps' time
      begun = time.monotonic()
      with pace.waiting(what):
        yield
      record.pause(time.monotonic() - begun)
      pace.restart()

    while done < total and not stop and not (ended and config.stop.plateau):
      if method.epoch and done % epochs.length(source, size) == 0:
        if pending:
          with pace.waiting("compute"):
            watching.check_finite(pending, saved.steps())
          pace.step(done, count=min(2, len(pending)))
          pending = []
        with aside():
          state = epochs.between(method, tx, encoder, source, state, key, where)
      state, metrics = step(state, key, batch)
      done += 1
      pending.append((done, metrics["loss"], metrics["grad_norm"], metrics.pop("param_norm")))
      with pace.waiting("input", idle=metrics["loss"].is_ready):
        batch = next(ahead) if done < total else None       # while the step runs
      if len(pending) > 2:
        with pace.waiting("compute"):
          pending[-3][1].block_until_ready()                # the host is never more than two steps ahead
        pace.step(done)
      traces(done)

      due = lambda every: every and done % every == 0
      evaluate_now = watch and due(config.evaluate.every)
      log_now = evaluate_now or due(config.log.every) or done == total
      save_now = evaluate_now or overdue or due(config.checkpoint.every)
      if log_now or save_now:
        with pace.waiting("compute"):
          watching.check_finite(pending, saved.steps())
        pace.step(done, count=min(2, len(pending)))         # those that nobody has waited for yet
        pending = []
      values, best = {}, None
      if evaluate_now:
        with aside():
          values, best = watch(state.params, state.state)
      if log_now:
        alarm(record.train(done, jax.device_get(metrics) | values | ({"lr": rate(done - 1)} if rate else {})
                           | pace.values()))
        since = logs.plateau(record.losses())
        if since and not ended:
          logs.say(f"the loss has not fallen since step {since}"
                   + (": the run ends here (stop.plateau)" if config.stop.plateau else ""))
        ended = since
      if save_now:
        with aside("saving"):
          record.flush()
          saved.save(done, state, best)
        last_save = time.monotonic()
      late = 0 < 60 * config.checkpoint.minutes < time.monotonic() - last_save
      stop, overdue = agreed(bool(signals.received), late)

    watching.check_finite(pending, saved.steps())
    saved.save(done, state)
    saved.wait()
    if stop and done < total:
      by = signal.Signals(signals.received).name if signals.received else "a signal to another process"
      raise errors.Stopped(f"stopped by {by} at step {done} of {total}; all is saved in {workdir}: the same command "
                           "goes on")
    spec = checkpoint.spec_of(configs.plain(config), now) | {"step": done}
    towers = meshes.whole(method.encoder(state.params, state.state))
    for tower, variables in towers.items():
      x = first[tower] if tower in first else first[source.key][:, 0]                   # a frame of a clip
      mine = spec if tower == source.key else checkpoint.spec_of_tower(spec, tower, x.shape)
      folder = paths.path(workdir) if tower == source.key else paths.path(workdir) / "towers" / tower
      export = functools.partial(checkpoint.export_encoder, folder / "encoder", variables, mine)
      processes.by_first(export)
    return checkpoint.Encoder(encoder, towers[source.key], tuple(source.shape), spec)
