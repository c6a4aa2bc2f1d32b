"""The part of the page that is about a task on a pretrained encoder: transfer.json in words and tables."""

import importlib

import numpy as np

from sslx.report import judge, looks
from sslx.transfer import run as transfer

MEASURES = {"accuracy": "Accuracy", "miou": "Mean IoU", "pixel_accuracy": "Pixel accuracy", "map": "Mean precision",
            "label_accuracy": "Accuracy of labels", "ap50": "AP50", "ap": "AP"}
NUMBERS = {"r2": "R2", "mae": "Mean absolute error"}       # that are no shares
LOW = ("mae",)               # the lower the better
IMAGES = 6                   # of the test set, with their masks
MAIN = ("accuracy", "miou", "map", "r2", "ap50")
SURE = 2                     # standard errors from which a difference is more than chance


def of(run):
  """What `verdict.of` gives, for a run with a transfer.json: did pretraining help?"""
  found = run["transfer"]
  strategy, runs = found["strategy"], found["runs"]
  many = run["kind"]["many"]
  labelled = "" if found["labels"] is None else f"{found['labels']:,} labelled training {many}; "
  out = {"status": "unknown", "next": [], "tiles": [], "paragraphs": [
      f"{labelled}pretrained encoder: {found['source']}."]}
  if found.get("choice"):
    out["paragraphs"].append(f"The strategy was chosen: {found['choice']['why']}.")
  if strategy not in runs:
    return out | {"headline": "The run has not finished: nothing is tested yet, so nobody can say."}
  measure = next(m for m in MAIN if m in runs[strategy])
  own, name = runs[strategy][measure], MEASURES.get(measure, "R2")
  name = name if measure in NUMBERS else name.lower()
  show, points = ("{:.3f}".format, "{:.3f}".format) if measure in NUMBERS else (
      judge.percent, lambda v: f"{100 * v:.1f} points")
  if "chosen_on" in runs[strategy]:
    out["paragraphs"].append(f"The learning rate {runs[strategy]['rate']:g} was chosen on "
                             f"{runs[strategy]['chosen_on']}.")
  out["tiles"] = [(s, show(r[measure]), name) for s, r in runs.items()]
  if "scratch" not in runs or strategy == "scratch":
    return out | {"headline": f"{show(own)} {name} by {strategy}; nothing to compare with."}
  gain = own - runs["scratch"][measure]
  error = sum(r["standard_error"] ** 2 for r in runs.values()) ** 0.5
  if abs(gain) <= SURE * error:
    return out | {"status": "mixed", "headline":
                  f"Hardly: {'-' if gain < 0 else '+'}{points(abs(gain))} of {name}, which may be chance (which {many} "
                  "were tested)."}
  return out | {"status": "good" if gain > 0 else "bad", "headline":
                f"{'Yes' if gain > 0 else 'No'}: {strategy} is {points(abs(gain))} of {name} "
                f"{'above' if gain > 0 else 'below'} the same network from scratch."}


def tables(found):
  """[(title, [strategy], [(name, [text], index of the best)])]: the measures, then those of each class."""
  runs = found["runs"]
  shown = lambda values, form="{:.1f}", unit=100: ["" if v is None else form.format(unit * v) for v in values]
  def row(name, values, best=max, **form):
    known = [v for v in values if v is not None]
    return name, shown(values, **form), values.index(best(known)) if known else None
  of = lambda measure: [r.get(measure) for r in runs.values()]
  there = lambda measures: [(m, title) for m, title in measures.items() if any(m in r for r in runs.values())]
  rows = [row(title, of(m)) for m, title in there(MEASURES)]
  numbers = [row(title, of(m), min if m in LOW else max, form="{:.3f}", unit=1) for m, title in there(NUMBERS)]
  classes = list(dict.fromkeys(c for r in runs.values() for c in r.get("classes", {})))
  each = [row(c, [r.get("classes", {}).get(c) for r in runs.values()]) for c in classes]
  parts = {"On test data, in percent": rows, "On test data": numbers, "Each class, in percent": each}
  out = [(title, list(runs), part) for title, part in parts.items() if part]
  for r in (r for r in runs.values() if "rates" in r):                                   # linear_sgd
    named = [(f"{rate} (chosen)" if float(rate) == r["rate"] else rate, shown(v.values()), None)
             for rate, v in r["rates"].items()]
    out.append((f"Each learning rate, in percent; it was chosen on {r['chosen_on']}",
                ["training examples held out", "test examples"], named))
  return out


def mistakes(run, source):
  """{"strategy", "crisp", "cells": [(data URI, truth, guess, confidence)]} of the surest mistakes, or None for none."""
  strategy = run["transfer"]["strategy"]
  found = run["transfer"]["runs"].get(strategy, {}).get("mistakes")
  if not found or source.key != "image":
    return None
  images = source.batch(np.array([m["index"] for m in found]))["image"]
  return {"strategy": strategy, "crisp": looks.crisp(source.shape), "cells": [
      (looks.thumbnail(x), m["truth"], m["guess"], m["confidence"]) for x, m in zip(images, found, strict=True)]}


def pictures(run, source):
  """{"columns", "rows": [data URI]}: test images and what each strategy finds there; None if the task draws nothing."""
  draw = getattr(importlib.import_module(run["config"]["method"]["name"]), "pictures", None)
  if draw is None:
    return None
  index = np.linspace(0, len(source) - 1, min(IMAGES, len(source))).astype(int)
  batch, outputs = source.batch(np.unique(index)), {}
  for strategy in run["transfer"]["runs"]:
    beside = strategy == transfer.SCRATCH != run["transfer"]["strategy"]
    outputs[strategy] = transfer.predictor(run["path"] / transfer.SCRATCH if beside else run["path"])(batch["image"])
  columns = {"image": batch["image"], **draw(batch, outputs, run["config"]["method"])}
  rows = zip(*columns.values(), strict=True)
  return {"columns": list(columns), "rows": [[looks.thumbnail(x) for x in row] for row in rows]}
