"""Pretraining: one run, or several by one command."""

from sslx import errors, log as logs, paths, prepare, programs, run, seeds
from sslx.loop import loop, told
from sslx.mesh import make_mesh as make_mesh, place as place
from sslx.prepare import build as build
from sslx.step import TrainState as TrainState, init_state as init_state, make_step as make_step


def train(config, workdir, *, data=None, test=None, method=None, tx=None, log=None, extend=None, profile=0):
  """Pretrains as `config` says in the folder `workdir`, going on with the run that is there; returns its Encoder.

  With config.seeds or config.rates it is several runs, each in a folder of its own below `workdir` and, but for
  rounding, the one that it would be alone: by one program, or in turn where that is faster (programs.crawls). Returned
  is {name of the folder: Encoder} of those whose numbers stayed finite.

  Args:
    config: see config.py. Anything that changes the numbers must be as it was when the run began.
    workdir: folder of the run, made if need be; one that all processes see, if there are several (processes.join).
    data, test: sequences of {"image", "label", ...} in place of config.data. Methods see classes numbered from 0 on.
    method: (encoder module, Method) in place of config.encoder and config.method.
    tx: an optax transformation in place of config.optim.
    log: called with every record {"step", "loss", ...}; of several runs it has the name of the folder as "run".
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
  given, how = {"data": data, "test": test, "method": method, "tx": tx}, {"extend": extend, "profile": profile}
  if seeds.several(config):
    return several(config, workdir, given, log, how)
  return loop([prepare.prepare(config, workdir, extend=extend, **given)], workdir, log=log, **how)[""]


def several(config, workdir, given, log, how):
  """`train` of several runs: {name: Encoder}. given, how: its arguments."""
  if given["tx"] and config.rates:
    raise errors.UsageError("rates are peak learning rates of config.optim: an optimizer of your own has none")
  configs, extend = seeds.members(config), how["extend"]
  folders = {name: paths.path(workdir) / name for name in configs}

  def ready(name, **source):
    return prepare.prepare(configs[name], folders[name], name=name, extend=extend, **source, **given)
  first, *rest = configs
  runs = [ready(first)]
  if rest and programs.crawls(runs[0]):
    seeds.enter(workdir, config, runs.pop(), extend)
    logs.say(f"{len(configs)} runs, one after the other: with convolutions that is faster on a CPU than all at once")
    return each(configs, folders, given, log, how)
  for name in rest:
    source = prepare.training(configs[name], given["data"])
    same = (r.source for r in runs if r.source.fingerprint == source.fingerprint)        # held once
    runs.append(ready(name, source=next(same, source)))
  seeds.check(runs)
  seeds.enter(workdir, config, runs[0], extend)
  found, failure = {}, errors.RunError(f"all runs in {workdir} have diverged")
  for group in seeds.groups(runs):
    try:
      found |= loop(group, workdir, log=log, **how)
    except errors.Diverged as e:
      failure = e
  if not found:
    raise failure
  return {name: found[name] for name in configs if name in found}


def each(configs, folders, given, log, how):
  """`several`, one after the other."""
  found, failure = {}, errors.RunError(f"all runs have diverged: {', '.join(map(str, folders.values()))}")
  for name, config in configs.items():
    if seeds.ended(folders[name]):
      logs.say(f"{name} has diverged: {seeds.ended(folders[name])}")
      continue
    logs.say(f"{name}: {folders[name]}")
    try:
      found[name] = train(config, folders[name], log=told(log, name), **how, **given)
    except errors.Diverged as e:
      seeds.end(folders[name], e)
      logs.say(f"{name}: {e}")
      failure = e
  if not found:
    raise failure
  return found
