"""What a workdir says about its run, read without loading any weights."""

import math

from sslx import checkpoint, errors, evaluate, log, paths

PASSING = ("step", "loss", "grad_norm", "lr", *log.CLOCK, "online_accuracy", "knn", "rankme", "feature_std")
KINDS = {  # key of the data: what an example is called, several, and the contender that sees them as they are
    key: {"one": one, "many": f"{one}s", "raw": evaluate.RAW[key]}
    for key, one in (("image", "image"), ("text", "text"), ("audio", "recording"), ("video", "clip"),
                     ("voxels", "object"), ("points", "object"))}


def read(workdir):
  """{"workdir", "path", "config", "environment", "records", "evaluation", "sets", "others", "total", "exported",
  "last", "finished", "transfer", "kind"}.

  evaluation: that of the run's own data, of the final encoder if there is one, or None; sets: those of evaluate.data,
  of the same encoder, by their order; others: all other ones, of evaluation.json; total: the planned steps;
  exported: the step of encoder/, or None; last: the newest step that left a trace; finished: the encoder is the run's
  last word; transfer: transfer.json, for a task on a pretrained encoder, or what it begins with, or None; kind: of
  KINDS. Raises
  errors.UsageError for a folder that is not a run's, errors.RunError for a file that cannot be read.
  """
  path = paths.path(workdir)
  if not path.is_dir():
    raise errors.UsageError(f"there is no folder {workdir}: give the --workdir of a pretraining run")
  config, environment = checkpoint.run_of(path).values()
  for name, content, keys in (("config", config, ("method", "encoder", "data", "total_steps", "seed")),
                              ("environment", environment, ("data", "versions"))):
    if not isinstance(content, dict) or any(k not in content for k in keys):
      raise errors.UsageError(f"{path / name}.json is not that of a pretraining run: it has no {', '.join(keys)}")
  optional = lambda p: checkpoint.read_json(p) if p.exists() else None
  spec, found = optional(path / "encoder" / "spec.json"), optional(path / "evaluation.json") or {}
  records = [r for r in log.read(path / "metrics.jsonl") if isinstance(r, dict) and "step" in r]
  steps = [int(p.name) for p in checkpoint.folders(path)]
  total, exported = config["total_steps"], spec and spec.get("step", config["total_steps"])
  last = max([r["step"] for r in records] + steps + [exported or 0])
  runs = found.pop("runs", {})
  evaluation = runs.get(config["data"]["name"], {}).get(str(exported)) or found or None
  sets = [r for name in config.get("evaluate", {}).get("data", ()) if name != config["data"]["name"]
          and (r := runs.get(name, {}).get(str(exported)))]
  others = [r for steps in runs.values() for r in steps.values() if r != evaluation and r not in sets]
  ended = exported is not None and exported >= last and (exported >= total or config.get("stop", {}).get("plateau"))
  return {"workdir": str(workdir), "path": path, "config": config, "environment": environment, "records": records,
          "evaluation": evaluation, "sets": sets, "others": others, "total": total, "exported": exported,
          "last": last, "finished": bool(ended), "transfer": optional(path / "transfer.json") or untested(config),
          "kind": KINDS[environment["data"].get("key", "image")]}


def untested(config):
  """What is known of a task on a pretrained encoder before its tests, or None for a pretraining run."""
  method = config["method"]
  if not str(method.get("name", "")).startswith("sslx.transfer."):
    return None
  return {"task": method["name"].rpartition(".")[2], "strategy": method["strategy"], "source": method["source"],
          "labels": None, "runs": {}}


def series(records, key):
  """([step], [value]) of the records that have a finite `key`."""
  pairs = [(r["step"], r[key]) for r in records if isinstance(r.get(key), (int, float)) and math.isfinite(r[key])]
  return [s for s, _ in pairs], [v for _, v in pairs]


def others(records):
  """The names of the method's own numbers, in the order in which they first appear."""
  return [k for k in dict.fromkeys(k for r in records for k in r) if k not in PASSING]
