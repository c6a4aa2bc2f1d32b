"""Tables and chart lists of the page: dicts and lists that the template only has to walk through."""

import shlex

import numpy as np

from sslx import config as configs, encoders, errors, evaluate, log, methods
from sslx.augment import recipes
from sslx.report import figures, judge, record

HEALTH = {  # measure: (title, digits, what it says)
    "feature_std": ("Feature spread", 3, "of embeddings at unit length: 1 is even, 0 is collapsed onto a point"),
    "effective_rank": ("Effective rank", 1, "dimensions in use (RankMe): near 1 is collapsed, more is usually better"),
    "effective_rank_share": ("Effective rank, share", 3, "the same as a share of all dimensions"),
    "alpha_req": ("Spectral decay", 2, "alpha of the eigenvalues: about 1 is good, near 0 is flat, large is collapsed"),
    "uniformity": ("Uniformity", 2, "how evenly the sphere is filled: 0 is collapsed, the lower the better"),
    "alignment": ("Alignment", 3, "squared distance of two views of the same: 0 is perfect, unless all is collapsed")}
CURVES = {  # key: (title, what it says, options of figures.curve)
    "loss": ("Loss", "of the task, on the batch of that step", {}),
    "accuracy": ("Accuracy", "on the training batch", {"percent": True}),
    "online_accuracy": ("Online probe", "accuracy on the training batch", {"percent": True}),
    "z_std": ("Spread of the projection", "1 is even, 0 is collapsed", {"floor": 0}),
    "lr": ("Learning rate", "warm-up, then decay", {"floor": 0}),
    "grad_norm": ("Gradient norm", "spikes are a sign of trouble", {"floor": 0}),
    "images_per_s": ("Examples a second", "evaluation and saving left out", {"floor": 0}),
    "step_ms": ("A step, ms", "the median since the last record", {"floor": 0}),
    "step_ms_p95": ("A slow step, ms", "of twenty the slowest", {"floor": 0}),
    "data_wait": ("Waiting for data", "share of the time", {"percent": True}),
    "memory_gb": ("Device memory, GB", "the most so far", {"floor": 0}),
    "mfu": ("Model FLOP utilisation", "of the chip's published peak", {"percent": True}),
    "knn": ("kNN during the run", "on test data", {"percent": True}),
    "rankme": ("Effective rank during the run", "near 1 is collapsed", {"floor": 0}),
    "feature_std": ("Feature spread during the run", "of the representation: 1 is even, 0 is collapsed", {"floor": 0})}
PROTOCOLS = {"knn": "kNN", "linear": "Linear probe", "few_label": "Few labels", "health": "Health",
             "stages": "Stages", "stages_ridge": "Stages (ridge)", "kmeans": "k-means", "captions": "Captions",
             "retrieval": "Retrieval", "zero_shot": "Zero-shot",
             "sizes": "Sizes and seed"}


def accuracies(evaluation):
  """[{"protocol", "setting", "cells": as `cells` gives them}], of those that judge one encoder."""
  out = []
  for protocol, setting, *values, _ in evaluate.rows(evaluation):
    if protocol == "health" or protocol in evaluate.BETWEEN:
      continue
    deviation = evaluation[protocol].get(setting, {}) if protocol == "few_label" else {}
    marked = cells(dict(zip(figures.CONTENDERS, values, strict=True)), deviation)
    if protocol == "few_label":
      setting = f"{setting[:-1]} % of the labels" if setting.endswith("%") else (
          f"{setting} label{'s' if setting != '1' else ''} a class")
    if protocol == "kmeans":
      setting = {"nmi": "NMI", "ari": "ARI", "accuracy": "matched accuracy"}[setting]
    out.append({"protocol": PROTOCOLS.get(protocol, protocol), "setting": setting, "cells": marked})
  return out


def cells(values, deviation=None):
  """[(contender, text, its deviation, is best)] of {contender: fraction or None}, in percent."""
  rounded = {c: None if v is None else round(100 * v, 1) for c, v in values.items()}
  best, out = max((v for v in rounded.values() if v is not None), default=None), []
  for contender, v in rounded.items():
    spread = (deviation or {}).get(contender, {}).get("std")
    out.append((contender, "" if v is None else f"{v:.1f}", "" if spread is None else f"\N{PLUS-MINUS SIGN} "
                f"{100 * spread:.1f}", v is not None and v == best))
  return out


def few_label_charts(evaluation):
  """[(alt, chart)] of accuracy against labels a class, and against the share of the labels."""
  found, out = evaluation.get("few_label") or {}, []
  for percent, xlabel in ((False, "labels a class"), (True, "labels, % of the training set")):
    settings = sorted((s for s in found if s.endswith("%") == percent), key=lambda s: float(s.rstrip("%")))
    values = {c: tuple([found[s][c][k] for s in settings] for k in ("mean", "std")) for c in figures.CONTENDERS
              if settings and all(c in found[s] for s in settings)}
    if values:
      alt = "; ".join(f"{figures.CONTENDERS[c]}: " + ", ".join(f"{s} {judge.percent(m)}" for s, m in
                                                               zip(settings, v[0], strict=True))
                      for c, v in values.items())
      x = [float(s.rstrip("%")) for s in settings]
      out.append((f"Accuracy against {xlabel}. {alt}", figures.few_labels(x, values, xlabel=xlabel, legend=not out)))
  return out


def stage_charts(evaluation):
  """[(alt, chart)] of the accuracy of probes on every stage, one for each kind of probe."""
  out = []
  for protocol in ("stages", "stages_ridge"):
    found = (evaluation or {}).get(protocol) or {}
    names = list(dict.fromkeys(n for c in found for n in found[c] if c != "raw"))
    if names:
      values = {c: [v.get(n, v.get("pixels")) for n in names] for c, v in found.items()}
      alt = "; ".join(f"{figures.CONTENDERS[c]}: " + ", ".join(f"{n} {judge.percent(found[c][n])}" for n in found[c])
                      for c in found)
      out.append((f"{PROTOCOLS[protocol]}. {alt}", figures.stages(names, values)))
  return out


def curves(records):
  """[{"title", "text", "chart", "alt"}] of every number that was logged."""
  out = []
  own = lambda k: "the method's own measure" + (" on held-out data" if k.startswith("test_") else "")
  extra = {k: (f"kNN on {k[4:]}", "test data of a further set, during the run", {"percent": True})
           if k.startswith("knn_") else (k.replace("_", " "), own(k), {}) for k in record.others(records)}
  for key, (title, text, options) in (CURVES | {k: v for k, v in extra.items() if k not in CURVES}).items():
    steps, values = record.series(records, key)
    if not values:
      continue
    if key == "loss":
      options = options | {"mark": log.plateau(list(zip(steps, values, strict=True)))}
      text += "; dashed: since then it has not fallen" if options["mark"] is not None else ""
    if key == "images_per_s":
      text = f"median {np.median(values):,.0f}; {text}"
    show = judge.percent if options.get("percent") else "{:.4g}".format
    out.append({"title": title, "text": text, "chart": figures.curve(steps, values, **options),
                "alt": f"{title}: {show(values[0])} at step {steps[0]}, {show(values[-1])} at step {steps[-1]}"})
  return out


def health(evaluation):
  """[(title, encoder, random, what it says)]."""
  found = evaluation.get("health") or {}
  out = []
  for key in [*HEALTH, *sorted({k for v in found.values() for k in v} - set(HEALTH))]:
    title, digits, text = HEALTH.get(key, (key.replace("_", " "), 3, ""))
    values = [found.get(c, {}).get(key) for c in ("encoder", "random")]
    if any(key in v for v in found.values()):
      out.append((title, *("not finite" if v is None else f"{v:.{digits}f}".replace("-", "\N{MINUS SIGN}")
                           for v in values), text))
  return out


def settings(config):
  """[(key, value, default or None, differs)] of the whole config; options of encoder and method have their own."""
  base = config_defaults(config)
  out = []
  for key, value in sorted(configs.flat(config).items()):
    default = base.get(key)
    out.append((key, plain(value), plain(default) if key in base else None, key not in base or value != default))
  return out


def config_defaults(config):
  """{key: default} of a plain config."""
  base = configs.plain(configs.default())
  for group, home in (("encoder", encoders), ("method", methods)):
    try:
      base[group] = configs.plain(home.options(config[group]["name"])) if config[group] else {}
    except errors.UsageError:                              # the user's own, not importable here
      base[group] = {}
  aug = config["method"].get("aug")
  if aug:
    try:
      base["method"]["aug"] = configs.plain(recipes.options(aug["name"]))
    except errors.UsageError:
      base["method"].pop("aug", None)
  return {k: v for k, v in configs.flat(base).items() if k not in ("encoder.name", "method.name", "method.aug.name")}


def plain(value):
  """A config value as a person writes it."""
  if isinstance(value, list):
    return ", ".join(map(plain, value)) or "(none)"
  if isinstance(value, bool) or value in (None, ""):
    return {None: "(none)", True: "yes", False: "no", "": "(empty)"}[value]
  return f"{value:g}" if isinstance(value, float) else str(value)


def environment(record):
  """[(key, value)] of environment.json."""
  return [(k, plain(v)) for k, v in configs.flat(record).items()]


def protocols(evaluation):
  """[(protocol, version, paper, [(setting, value)])]."""
  out = []
  for name, values in (evaluation.get("protocols") or {}).items():
    values = dict(values)
    version, paper = values.pop("version", ""), values.pop("paper", "")
    out.append((PROTOCOLS.get(name, name), version, paper, [(k, plain(v)) for k, v in configs.flat(values).items()]))
  return out


def commands(run):
  """[(what it does, command)]."""
  w = shlex.quote(run["workdir"].rstrip("/") or "/")
  new = shlex.quote((run["workdir"].rstrip("/") or "run") + "-again")
  out = [("The same run once more, in a new folder",
          f"mkdir {new} && cp {w}/config.json {w}/environment.json {new}/\nsslx pretrain --workdir {new}")]
  if run["transfer"]:
    out = [("Go on, or the same task in another folder",
            f"sslx transfer --config FILE --from {shlex.quote(run['transfer']['source'])} --workdir {w}")]
  elif not run["total"]:
    out = [("Train these weights further", f"sslx pretrain --config FILE --config.init={w} --workdir {new}")]
  elif not run["finished"]:
    out.append(("Go on with this run", f"sslx pretrain --workdir {w}"))
  else:
    out.append(("Take this run further", f"sslx pretrain --workdir {w} --extend total_steps={2 * run['total']}"))
  return [*out, ("Evaluate its encoder", f"sslx evaluate --workdir {w}"),
          ("Write this page", f"sslx report --workdir {w}"),
          ("Use its encoder", f"sslx embed --workdir {w} --split test --out embeddings.npz")]
