"""Several runs by one command, config.seeds of each of config.rates: which they are, where they lie, how they ended."""

import math
import statistics

import jax

from sslx import checkpoint, config as configs, errors, log, paths, processes, run

ENDED = "diverged.json"                                     # in the folder of a run that is not trained any more


def several(config):
  """Whether the config is of several runs."""
  return config.seeds != 1 or bool(config.rates)


def members(config):
  """{name: config} of the runs of a config: of seed, seed + 1, ..., config.seeds of them, at each of config.rates.

  A run's name, that of its folder in the workdir, is seed0 or, with rates, lr0.001_seed0. Raises errors.UsageError
  where they cannot be trained together.
  """
  if config.seeds < 1:
    raise errors.UsageError(f"seeds is {config.seeds}: it is the number of runs, at least 1")
  for rate in config.rates:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
      raise errors.UsageError(f"rates holds {rate!r}: give peak learning rates, as --config.rates=0.001,0.003")
  wrong = {"stop.plateau": config.stop.plateau, "mesh.fsdp": config.mesh.fsdp != 1,
           "more than one process": processes.several()}
  if any(wrong.values()):
    raise errors.UsageError(f"seeds and rates do not go with {next(k for k, v in wrong.items() if v)}: start the runs "
                            "one by one, with --config.seed=N")
  found = {}
  for rate in config.rates or (None,):
    for seed in range(config.seed, config.seed + config.seeds):
      name = f"seed{seed}" if rate is None else f"lr{rate:g}_seed{seed}"
      if name in found:
        raise errors.UsageError(f"rates holds {rate:g} twice")
      c = config.copy_and_resolve_references()
      c.seed, c.seeds, c.rates = seed, 1, ()
      if rate is not None:
        c.optim.lr = float(rate)
      found[name] = c
  return found


def enter(workdir, config, ready, extend):
  """Makes `workdir` the folder of several runs: its config.json is what `sslx pretrain --workdir` goes on with.

  ready: the first of them, whose settings are complete. Raises errors.UsageError for the workdir of a single run, or of
  others, from which more seeds and rates are no difference.
  """
  path, whole = paths.path(workdir), ready.config.copy_and_resolve_references()
  if checkpoint.folders(path) or (path / "encoder").exists():
    raise errors.UsageError(f"{workdir} holds a single run: give a new --workdir")
  whole.seed, whole.seeds, whole.rates = config.seed, config.seeds, tuple(config.rates)
  if "lr" in whole.optim:
    whole.optim.lr = config.optim.lr
  if (path / "config.json").exists():
    free = {"seed", "seeds", "rates", "optim.lr", *(["total_steps"] if extend else [])}
    apart = configs.difference(checkpoint.read_json(path / "config.json"), configs.plain(whole))
    lines = [f"{k} was {a!r}, is {b!r}" for k, (a, b) in apart.items() if k not in free]
    if lines:
      raise errors.UsageError(f"{workdir} holds other runs: {'; '.join(lines)}. Give a new --workdir, or the old "
                              "settings")
  run.make(path)
  checkpoint.write_json(path / "config.json", configs.plain(whole))


def check(runs):
  """A UsageError where Ready runs are not alike: by vmap they are one program."""
  first = runs[0]
  for r in runs[1:]:
    shapes = lambda r: jax.tree.map(lambda x: (x.shape, x.dtype), r.state)
    if (r.config.method, r.config.encoder, r.config.total_steps) != (
        first.config.method, first.config.encoder, first.config.total_steps) or shapes(r) != shapes(first):
      raise errors.UsageError(f"{r.name} and {first.name} are not alike, as their data are not (examples "
                              f"{len(r.source)} and {len(first.source)}, classes {r.classes} and {first.classes}): "
                              "start them one by one, with --config.seed=N")


def ended(workdir):
  """Why the run in this folder is not trained any more, or ""."""
  path = paths.path(workdir) / ENDED
  return checkpoint.read_json(path)["error"] if path.exists() else ""


def end(workdir, error):
  """Notes that the run in this folder has diverged."""
  checkpoint.write_json(paths.path(workdir) / ENDED, {"error": str(error)})


def summary(config, workdir):
  """[(name, {"steps", "loss", ...})] of the runs in `workdir`: their last numbers, of the loss and of what is measured.

  With more than one seed their mean and standard deviation follow, named "mean" or "lr0.001, mean" and "... deviation".
  One that has diverged has no numbers.
  """
  rows, by_rate = [], {}
  for name, c in members(config).items():
    records = log.read(paths.path(workdir) / name / "metrics.jsonl")
    values = {k: r[k] for r in records for k in r if measured(k)}
    steps = {"steps": records[-1]["step"] if records else 0}
    if ended(paths.path(workdir) / name):
      rows.append((f"{name}, diverged", steps))
      continue
    rows.append((name, steps | values))
    by_rate.setdefault(c.optim.get("lr") if config.rates else None, []).append(values)
  for rate, found in by_rate.items():
    lead = "" if rate is None else f"lr{rate:g}, "
    keys = [k for k in found[0] if all(k in v and math.isfinite(v[k]) for v in found)]
    if len(found) > 1:
      rows += [(f"{lead}{what}", {k: f([v[k] for v in found]) for k in keys})
               for what, f in (("mean", statistics.fmean), ("deviation", statistics.stdev))]
  return rows


def measured(key):
  """Whether a number of the log tells what a run is worth."""
  return key in ("loss", "online_accuracy", "rankme") or key.startswith(("knn", "test_"))


def groups(runs):
  """[Ready runs that go on together]: all of them or, where some have ended and others have just begun, the latter."""
  saved = {r.name: {int(p.name) for p in checkpoint.folders(r.workdir)} for r in runs if not ended(r.workdir)}
  if not saved:
    return []
  if set.intersection(*saved.values()):
    return [runs]
  over = [r for r in runs if runs[0].config.total_steps in saved.get(r.name, ())]
  rest = [r for r in runs if r.name not in {o.name for o in over}]
  return [*([r] for r in over), *([rest] if any(r.name in saved for r in rest) else [])]
