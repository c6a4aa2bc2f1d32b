"""The run around the training step: pretrain, save, stop, resume."""

import contextlib
import dataclasses
import json
import signal
import time
from typing import Any

import jax

from sslx import (
  checkpoint,
  config as configs,
  cost,
  epochs,
  errors,
  log as logs,
  mesh as meshes,
  optim,
  paths,
  prepare,
  processes,
  programs,
  run,
  watching,
)
from sslx.mesh import make_mesh, place as place
from sslx.prepare import build as build
from sslx.step import TrainState as TrainState, init_state as init_state, make_step as make_step


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
  if profile:
    paths.here(workdir, "the workdir of a run with --profile")
  ready = prepare.prepare(config, workdir, data=data, test=test, method=method, tx=tx, extend=extend)
  encoder, = loop([ready], workdir, log=log, extend=extend, profile=profile)
  return encoder


@dataclasses.dataclass
class Member:
  """A run in the loop.

  now: its environment                                      saved: its Checkpoints
  alarm: watching.Alarm                                     record: its Log
  ended: the step since which its loss has stopped falling, or None
  """
  ready: Any
  now: Any
  saved: Any
  alarm: Any
  record: Any = None
  ended: Any = None


def opened(stack, ready, extend):
  """The Member of a Ready run: its folder is entered, and left when the ExitStack closes."""
  config, workdir, now = ready.config, ready.workdir, run.environment(ready.source, ready.classes)
  processes.alike("the config, the workdir or the data", json.dumps(
      [configs.plain(config), str(workdir), now["data"], now["x64"]], sort_keys=True, default=str))
  if lock := processes.by_first(lambda: run.enter(workdir, config, now, extend)):
    stack.enter_context(lock)
  saved = stack.enter_context(contextlib.closing(checkpoint.Checkpoints(
      workdir, keep=config.checkpoint.keep, metric=ready.metric, record=checkpoint.run_of(workdir))))
  return Member(ready, now, saved, watching.Alarm(config.method.name))


def resumed(members, where):
  """(the step that the runs go on from, their TrainStates), or (0, None) for a start."""
  like = lambda m: jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), m.ready.state, where)
  (done, state), = (m.saved.restore(like(m), warn=logs.say) for m in members)
  if state is not None:
    return done, [state]
  if members[0].ready.config.init and not members[0].ready.fresh:
    raise errors.RunError(f"no checkpoint in {members[0].ready.workdir} could be restored: give a new --workdir")
  return 0, None


def begin(ready, mesh, where):
  """Says how a run starts."""
  c = ready.config
  logs.say(f"{len(ready.source)} examples, {c.total_steps} steps of {c.batch_size} on {mesh.size} device(s)"
           + (f", {meshes.share(ready.state, where) / 2**20:.0f} MB of state each" if c.mesh.fsdp > 1 else "")
           + (f", peak learning rate {optim.peak(c.optim, c.batch_size):g}" if ready.rate else ""))
  if c.slices > 1 and "batch_stats" in str(jax.tree.structure(ready.state.state)):
    logs.say(f"batch norm is of each of the {c.slices} slices by itself (ghost batch norm)")


def loop(runs, workdir, *, log=None, extend=None, profile=0):
  """Trains Ready runs by one program; returns their Encoders. Arguments and errors as those of `train`."""
  config, method = runs[0].config, runs[0].method
  total, size, mesh = config.total_steps, config.batch_size, make_mesh(config)
  where = meshes.of(config, runs[0].state, mesh)
  with contextlib.ExitStack() as stack:                     # closes all, the last first, whatever happens
    signals = stack.enter_context(run.Signals())
    members = [opened(stack, ready, extend) for ready in runs]
    done, states = resumed(members, where)
    program = programs.alone(members[0].ready, mesh, where)
    if states is None:
      begin(runs[0], mesh, where)
      state = program.start([m.ready.state for m in members])
    else:
      state = program.join(states)
      logs.say(f"going on from step {done} of {total} in {workdir}")
    states = runs[0].state = None                           # the loop's is the only one
    for m in members:
      m.record = stack.enter_context(contextlib.closing(logs.Log(
          m.ready.workdir, start=done, unit=size, also=log, silent=not processes.first())))
      m.ended = None if extend else logs.plateau(m.record.losses())
    shown = stack.enter_context(contextlib.closing(logs.Shown(total, done)))

    agreed, stop, overdue, last_save = processes.Agreement(), False, False, time.monotonic()
    pending, ahead, step = [], program.batches(done), program.step      # pending: steps that nobody has looked at yet
    pace = stack.enter_context(contextlib.closing(watching.Pace(device=jax.local_devices()[0])))
    traces = stack.enter_context(contextlib.closing(watching.Profile(paths.path(workdir) / "profile", profile, done)))

    @contextlib.contextmanager
    def aside(what="evaluating"):                           # no part of the steps' time
      begun = time.monotonic()
      with pace.waiting(what):
        yield
      for m in members:
        m.record.pause(time.monotonic() - begun)
      pace.restart()

    def check():
      """Looks at the pending steps."""
      with pace.waiting("compute"):
        found = [(n, program.each(values)) for n, values in jax.device_get(pending)]
      for i, m in enumerate(members):
        watching.check_finite([(n, *values[i]) for n, values in found], m.saved.steps())
      pace.step(done, count=min(2, len(pending)))           # those that nobody has waited for yet
      pending.clear()

    if done < total:
      with aside("input"):
        batch = next(ahead)
      begun = time.monotonic()
      traced = step.trace(state, program.fixed, batch)
      step, pace.flops = traced.lower().compile(), cost.flops(traced.jaxpr) / mesh.size     # another shape is an error
      logs.say(f"compiled in {time.monotonic() - begun:.0f} s")
      for m in members:
        m.record.pause(time.monotonic() - begun)
      pace.restart()

    while done < total and not stop and not (config.stop.plateau and all(m.ended for m in members)):
      if method.epoch and done % epochs.length(runs[0].source, size) == 0:
        if pending:
          check()
        with aside():
          state = program.join([
              epochs.between(method, m.ready.tx, m.ready.encoder, m.ready.source, program.member(state, i),
                             m.ready.key, where) for i, m in enumerate(members)])
      state, metrics = step(state, program.fixed, batch)
      done += 1
      pending.append((done, (metrics["loss"], metrics["grad_norm"], metrics.pop("param_norm"))))
      with pace.waiting("input", idle=metrics["loss"].is_ready):
        batch = next(ahead) if done < total else None       # while the step runs
      if len(pending) > 2:
        with pace.waiting("compute"):
          pending[-3][1][0].block_until_ready()             # the host is never more than two steps ahead
        pace.step(done)
      traces(done)

      due = lambda every: every and done % every == 0
      evaluate_now = runs[0].watch and due(config.evaluate.every)
      log_now = evaluate_now or due(config.log.every) or done == total
      save_now = evaluate_now or overdue or due(config.checkpoint.every)
      if log_now or save_now:
        check()
      found = [({}, None)] * len(members)                   # values for the log, and what "best" compares
      if evaluate_now:
        with aside():
          for i, m in enumerate(members):
            now = program.member(state, i)
            found[i] = m.ready.watch(now.params, now.state)
      if log_now:
        numbers, clock, records = program.each(jax.device_get(metrics)), pace.values(), []
        for m, own, (values, _) in zip(members, numbers, found, strict=True):
          rate = {"lr": m.ready.rate(done - 1)} if m.ready.rate else {}
          records.append(m.record.train(done, own | values | rate | clock))
        shown(done, records[0], size)
        for m, record in zip(members, records, strict=True):
          m.alarm(record)
          since = logs.plateau(m.record.losses())
          if since and not m.ended:
            logs.say(f"the loss has not fallen since step {since}"
                     + (": the run ends here (stop.plateau)" if config.stop.plateau else ""))
          m.ended = since
      if save_now:
        with aside("saving"):
          for i, m in enumerate(members):
            m.record.flush()
            m.saved.save(done, program.member(state, i), found[i][1])
        last_save = time.monotonic()
      late = 0 < 60 * config.checkpoint.minutes < time.monotonic() - last_save
      stop, overdue = agreed(bool(signals.received), late)

    check()
    for i, m in enumerate(members):
      m.saved.save(done, program.member(state, i))
    for m in members:
      m.saved.wait()
    if stop and done < total:
      by = signal.Signals(signals.received).name if signals.received else "a signal to another process"
      raise errors.Stopped(f"stopped by {by} at step {done} of {total}; all is saved in {workdir}: the same command "
                           "goes on")
    return [prepare.export(m.ready, program.member(state, i), m.now, done) for i, m in enumerate(members)]
