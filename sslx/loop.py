"""The loop around the training step: log, evaluate, save, stop, resume; of one run or of several in one program."""

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
  seeds,
  watching,
)


@dataclasses.dataclass
class Member:
  """A run in the loop.

  now: its environment                     saved: its Checkpoints                  alarm: its watching.Alarm
  failed: why it is not trained any more, or ""                                    record: its Log
  ended: the step since which its loss has stopped falling, or None
  """
  ready: Any
  now: Any
  saved: Any
  alarm: Any
  failed: str = ""
  record: Any = None
  ended: Any = None


def opened(stack, ready, several, extend):
  """The Member of a Ready run: its folder is entered, and left when the ExitStack closes."""
  config, workdir, now = ready.config, ready.workdir, run.environment(ready.source, ready.classes)
  processes.alike("the config, the workdir or the data", json.dumps(
      [configs.plain(config), str(workdir), now["data"], now["x64"]], sort_keys=True, default=str))
  if lock := processes.by_first(lambda: run.enter(workdir, config, now, extend)):
    stack.enter_context(lock)
  saved = stack.enter_context(contextlib.closing(checkpoint.Checkpoints(
      workdir, keep=max(config.checkpoint.keep, 1 + several),                  # a step that all of several have
      metric=ready.metric, record=checkpoint.run_of(workdir))))
  return Member(ready, now, saved, watching.Alarm(config.method.name, ready.name),
                seeds.ended(workdir) if several else "")


def resumed(members, where):
  """(the newest step that all of the runs can go on from, their TrainStates there), or (0, None) for a start.

  One that has diverged stays in the program, so that its numbers are those of before, with its first state.
  """
  like = lambda m: jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), m.ready.state, where)
  alive = [m for m in members if not m.failed]
  while True:
    shared = set.intersection(*(set(m.saved.steps()) for m in alive))
    found = {id(m): m.saved.restore(like(m), warn=logs.say, among=shared) for m in alive}
    steps = {step for step, _ in found.values()}
    if len(steps) == 1:                                     # else one was damaged, and is out of the way now
      break
  if None not in steps:
    return steps.pop(), [found[id(m)][1] if id(m) in found else m.ready.state for m in members]
  for m in alive:
    if m.ready.config.init and not m.ready.fresh:
      raise errors.RunError(f"no checkpoint in {m.ready.workdir} could be restored: give a new --workdir")
  return 0, None


def begin(runs, mesh, where):
  """Says how runs start."""
  first, c = runs[0], runs[0].config
  logs.say(f"{len(first.source)} examples, {c.total_steps} steps of {c.batch_size} on {mesh.size} device(s)"
           + (f", {meshes.share(first.state, where) / 2**20:.0f} MB of state each" if c.mesh.fsdp > 1 else "")
           + (f", {len(runs)} runs at once: {', '.join(r.name for r in runs)}" if len(runs) > 1 else
              f", peak learning rate {optim.peak(c.optim, c.batch_size):g}" if first.rate else ""))
  if c.slices > 1 and "batch_stats" in str(jax.tree.structure(first.state.state)):
    logs.say(f"batch norm is of each of the {c.slices} slices by itself (ghost batch norm)")


def loop(runs, workdir, *, log=None, extend=None, profile=0):
  """Trains Ready runs by one program; {name: Encoder} of those that do not diverge.

  Arguments and errors are those of train.train; errors.Diverged where all of them do.
  """
  config, method, several = runs[0].config, runs[0].method, len(runs) > 1
  at_once, epoch = config.dispatch, epochs.length(runs[0].source, config.batch_size)
  if method.epoch and epoch % at_once:
    raise errors.UsageError(f"an epoch has {epoch} steps, which is no multiple of dispatch={at_once}: change either")
  total, size, mesh = config.total_steps, config.batch_size, meshes.make_mesh(config)
  where = meshes.of(config, runs[0].state, mesh)
  with contextlib.ExitStack() as stack:                     # closes all, the last first, whatever happens
    signals = stack.enter_context(run.Signals())
    members = [opened(stack, ready, several, extend) for ready in runs]
    done, states = resumed(members, where)
    program = programs.together(runs, mesh) if several else programs.alone(runs[0], mesh, where)
    if states is None:
      begin(runs, mesh, where)
      state = program.start([r.state for r in runs])
    else:
      state = program.join(states)
      logs.say(f"going on from step {done} of {total} in {workdir}")
    del states
    for m in members:
      m.ready.state = None                                  # the loop's is the only one
      m.record = stack.enter_context(contextlib.closing(logs.Log(
          m.ready.workdir, start=done, unit=size, also=told(log, m.ready.name), silent=not processes.first())))
      m.ended = None if extend else logs.plateau(m.record.losses())
    shown = stack.enter_context(contextlib.closing(logs.Shown(total, done)))

    agreed, stop, overdue, last_save = processes.Agreement(), False, False, time.monotonic()
    pending, ahead, step = [], program.batches(done), program.step      # pending: steps that nobody has looked at yet
    pace = stack.enter_context(contextlib.closing(watching.Pace(device=jax.local_devices()[0])))
    traces = stack.enter_context(contextlib.closing(watching.Profile(
        paths.path(workdir) / "profile", profile, done, at_once)))
    alive = lambda: [(i, m) for i, m in enumerate(members) if not m.failed]

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
      pace.step(done, count=at_once * min(2, len(pending)))  # those that nobody has waited for yet
      pending.clear()
      for i, m in alive():
        try:
          watching.check_finite([(n - at_once + 1 + j, *now) for n, values in found
                                 for j, now in enumerate(zip(*values[i], strict=True))], m.saved.steps())
        except errors.Diverged as e:
          m.failed = str(e)
          if m.ready.name:
            seeds.end(m.ready.workdir, e)
          if not alive():
            raise
          logs.say(f"{m.ready.name}: {e}. The others go on")

    if done < total:
      with aside("input"):
        batch = next(ahead)
      begun = time.monotonic()
      traced = step.trace(state, program.fixed, batch)
      step = traced.lower().compile()                       # another shape is an error
      pace.flops = cost.flops(traced.jaxpr) / mesh.size / at_once
      logs.say(f"compiled in {time.monotonic() - begun:.0f} s")
      for m in members:
        m.record.pause(time.monotonic() - begun)
      pace.restart()

    while done < total and not stop and not (config.stop.plateau and all(m.ended for m in members)):
      if method.epoch and done % epoch == 0:
        if pending:
          check()
        with aside():
          state = program.join([between(m, program.member(state, i), where) for i, m in enumerate(members)])
      state, metrics = step(state, program.fixed, batch)
      done += at_once
      pending.append((done, (metrics["loss"], metrics["grad_norm"], metrics.pop("param_norm"))))
      with pace.waiting("input", idle=metrics["loss"].is_ready):
        batch = next(ahead) if done < total else None       # while the step runs
      if len(pending) > 2:
        with pace.waiting("compute"):
          pending[-3][1][0].block_until_ready()             # the host is never more than two of them ahead
        pace.step(done, count=at_once)
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
          for i, m in alive():
            now = program.member(state, i)
            found[i] = m.ready.watch(now.params, now.state)
      if log_now:
        numbers, clock, records = program.each(jax.device_get(metrics)), pace.values(), {}
        for i, m in alive():
          rate = {"lr": m.ready.rate(done - 1)} if m.ready.rate else {}
          own = {k: v[-1] for k, v in numbers[i].items()}   # of the last step
          records[m.ready.name] = m.record.train(done, own | found[i][0] | rate | clock)
        shown(done, records, size)
        for _, m in alive():
          m.alarm(records[m.ready.name])
          since = logs.plateau(m.record.losses())
          if since and not m.ended:
            logs.say(f"{m.ready.name and m.ready.name + ': '}the loss has not fallen since step {since}"
                     + (": the run ends here (stop.plateau)" if config.stop.plateau else ""))
          m.ended = since
      if save_now:
        with aside("saving"):
          save(alive(), program, done, state, [best for _, best in found])
        last_save = time.monotonic()
      late = 0 < 60 * config.checkpoint.minutes < time.monotonic() - last_save
      stop, overdue = agreed(bool(signals.received), late)

    check()
    save(alive(), program, done, state)
    for _, m in alive():
      m.saved.wait()
    if stop and done < total:
      by = signal.Signals(signals.received).name if signals.received else "a signal to another process"
      raise errors.Stopped(f"stopped by {by} at step {done} of {total}; all is saved in {workdir}: the same command "
                           "goes on")
    return {m.ready.name: prepare.export(m.ready, program.member(state, i), m.now, done) for i, m in alive()}


def told(log, name):
  """The caller's function of every record, which learns what run it is of."""
  return log and ((lambda record: log({**record, "run": name})) if name else log)


def between(member, state, where):
  """What happens between epochs, unless the run has diverged."""
  r = member.ready
  return state if member.failed else epochs.between(
      r.method, r.optimizer(), r.encoder, r.source, state, r.key, where)


def save(alive, program, step, state, best=None):
  """Starts saving the runs [(i, Member)]; best: their numbers. The step before is on disk then, in all of them."""
  for _, m in alive:
    m.record.flush()
    m.saved.wait()
  for i, m in alive:
    m.saved.save(step, program.member(state, i), best and best[i])
