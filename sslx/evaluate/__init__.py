"""What a frozen encoder is worth, beside the same encoder at random initialisation and the data as they are.

Each protocol has a file with its frozen settings, version and paper at the top; `evaluate` runs them on all contenders.
"""

import numpy as np

from sslx import data, errors
from sslx.evaluate import raw as raws, stages
from sslx.evaluate.captions import FROZEN as CAPTIONS, captions
from sslx.evaluate.embed import Embedder, embed, reads
from sslx.evaluate.few_label import FROZEN as FEW_LABEL, few_label, left_out
from sslx.evaluate.health import FROZEN as HEALTH, health
from sslx.evaluate.kmeans import FROZEN as KMEANS, kmeans
from sslx.evaluate.knn import FROZEN as KNN, knn
from sslx.evaluate.labels import unseen
from sslx.evaluate.linear import FROZEN as LINEAR, linear
from sslx.evaluate.pretext import pretext as pretext
from sslx.evaluate.retrieval import FROZEN as RETRIEVAL, SHOWN, retrieval
from sslx.evaluate.zero_shot import FROZEN as ZERO_SHOT, TEMPLATES, zero_shot

__all__ = ["BETWEEN", "SAID", "SHOWN", "TEMPLATES", "Embedder", "captions", "embed", "evaluate", "few_label", "health",
           "kmeans", "knn", "linear", "pretext", "retrieval", "rows", "zero_shot"]

PROTOCOLS = {"knn": KNN, "linear": LINEAR, "few_label": FEW_LABEL, "health": HEALTH, "stages": stages.FROZEN,
             "stages_ridge": stages.FROZEN_RIDGE, "kmeans": KMEANS}
BETWEEN = {"retrieval": RETRIEVAL, "zero_shot": ZERO_SHOT}                    # towers, see frozen.evaluate
SAID = {"captions": CAPTIONS}                              # by the method itself, see there, too
USUAL = ("knn", "linear", "few_label", "health")
RAW = raws.NAMES
CONTENDERS = ("encoder", "random", "raw")
PART = 1024                                                # images of a Source on the host at once


def evaluate(encoder, train, test, *, protocols=USUAL, random=None, views=None, seed=0, progress=None):
  """{protocol: {contender: result}} of an encoder record, its `random` twin (if given) and raw data, ready for JSON.

  train, test: (images as `embed` takes them or a data.Source, which is read in parts, labels [N] or None); without both
  sets of labels only health is computed.
  views: two sets of images, two views each of the same ones in the same order, for health's alignment.
  progress: called with (what was just done, share of all the work that is done).
  Accuracies are fractions. "notes" says what was left out and why, "protocols" records frozen settings, chosen
  regularisations and sizes. Raw data (raw.py): as they are for kNN; for linear and few_label their principal
  components, as many as the encoder has dimensions, on one scale (standardising each would blow up noise). The same
  seed gives the same numbers.
  """
  for name in protocols:
    if name not in PROTOCOLS:
      raise errors.unknown("protocol", name, (*PROTOCOLS, *BETWEEN, *SAID))
  (train_x, train_y), (test_x, test_y) = train, test if test is not None else (None, None)
  missing = [name for name, y in (("training", train_y), ("test", test_y)) if y is None]
  run = [p for p in PROTOCOLS if p in protocols and (p == "health" or not missing)]
  notes = [f"{p}: left out, it needs labels and there are none for the {' and '.join(missing)} set"
           for p in PROTOCOLS if p in protocols and p not in run]
  for name, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
    if y is not None and len(x) != len(y):
      raise errors.UsageError(f"{name} set: {len(x)} images and {len(y)} labels; each image needs one")
  if not run:
    return {"protocols": {}, "notes": notes}
  labelled = run != ["health"]                             # a test set is read, too
  records = {"encoder": encoder} | ({"random": random} if random is not None else {})
  sets = (train_x, test_x) if labelled else (train_x,)
  images = sum(map(len, sets))
  done, total = 0, images * (1 + len(run) * (len(records) + 1))            # a protocol on a contender as all embedding

  def step(name, count=images):
    nonlocal done
    done += count
    if progress is not None:
      progress(name, done / total)

  found = [features_of(x, records, encoder, lambda n: step("embed", n)) for x in sets]
  features = {name: [f[name] for f in found] for name in records}             # contender -> training and test features
  raw = [f["raw"] for f in found]
  width = features["encoder"][0].shape[1]
  sizes = {"train": len(train_x), "test": 0 if test_x is None else len(test_x), "width": width, "seed": seed}
  out = {p: {} for p in run} | {"protocols": {p: {**PROTOCOLS[p]} for p in run} | {"sizes": sizes}, "notes": notes}
  sizes["raw"] = raw[0].shape[1]
  if labelled:
    sizes["classes"] = len(np.unique(train_y))
    notes += unseen(train_y, test_y)
  probes = {p: probe for p, probe in stages.PROBES.items() if p in run}
  if {"linear", "few_label", *probes} & set(run):
    reduced = raws.principal(*raw, width)
    sizes["raw_principal"] = reduced[0].shape[1]

  for name in (*features, "raw"):
    if "knn" in run:
      x, z = raw if name == "raw" else features[name]
      out["knn"][name] = knn(x, train_y, z, test_y)
      step(f"knn, {name}")
    if {"linear", "few_label", *probes} & set(run):
      x, z = reduced if name == "raw" else features[name]
    options = {"standardise": name != "raw", "seed": seed}
    if "linear" in run:
      result = linear(x, train_y, z, test_y, **options)
      out["linear"][name] = result["accuracy"]
      out["protocols"]["linear"].setdefault("C", {})[name] = result["C"]
      notes += [] if result["converged"] else [f"linear, {name}: L-BFGS stopped before it converged"]
      step(f"linear, {name}")
    if "few_label" in run:
      for setting, result in few_label(x, train_y, z, test_y, **options).items():
        out["few_label"].setdefault(setting, {})[name] = {k: result[k] for k in ("mean", "std")}
        out["protocols"]["few_label"].setdefault("C", {}).setdefault(setting, {})[name] = result["C"]
        notes += [] if result["converged"] else [f"few_label {setting}, {name}: L-BFGS stopped before it converged"]
      step(f"few_label, {name}")
    if "kmeans" in run:
      out["kmeans"][name] = kmeans((raw if name == "raw" else features[name])[1], test_y, seed=seed)
      step(f"kmeans, {name}")
    for protocol, probe in probes.items():
      plain = "pixels" if reads(encoder) == "image" else "raw"
      layers = {plain: None} if name == "raw" else dict.fromkeys(stages.names(records[name]))
      for layer in layers:
        a, b = (x, z) if name == "raw" else (of_layer(records[name], v, name, layer) for v in sets)
        layers[layer] = probe(a, train_y, b, test_y, **options)["accuracy"]
      out[protocol][name] = layers
      step(f"{protocol}, {name}")
    if "health" in run:
      form = (lambda v: raws.raw(v, encoder)) if name == "raw" else (
          lambda v, name=name: finite(name, embed(records[name], v)))
      x = raw[0] if name == "raw" else features[name][0]
      out["health"][name] = health(x, views and [form(v) for v in views], seed=seed)
      step(f"health, {name}")
  if "few_label" in run:
    notes += [f"few_label {setting}: left out, {why}" for setting, why in left_out(train_y).items()]
  return out


def features_of(images, records, encoder, done):
  """{contender: features [N, D] of the examples, "raw": as they are}, in one pass; done: called with how many."""
  parts = (part[images.key] for part in data.parts(images, PART)) if isinstance(images, data.Source) else (images,)
  found = {name: [] for name in (*records, "raw")}
  for x in parts:
    for name, record in records.items():
      found[name].append(finite(name, embed(record, x)))
    found["raw"].append(raws.raw(x, encoder))
    done(len(x))
  return {name: np.concatenate(v) if len(v) > 1 else v[0] for name, v in found.items()}


def of_layer(record, images, name, layer):
  """Features [N, D] of one layer for images as `embed` takes them, or a Source, which is read in parts."""
  parts = (part[images.key] for part in data.parts(images, PART)) if isinstance(images, data.Source) else (images,)
  return np.concatenate([finite(name, embed(record, x, layer=layer)) for x in parts])


def rows(result):
  """[(protocol, setting, encoder, random, raw, chance)] of evaluate's result for a table; None for what there is not.

  Numbers are accuracies (the mean over draws for few_label) and, for health, the measures themselves.
  """
  out = []
  row = lambda protocol, setting, values, chance=None: out.append(
      (protocol, setting, *(values.get(c) for c in CONTENDERS), chance))
  if "knn" in result:
    row("knn", f"k={result['protocols']['knn']['k']}", result["knn"])
  if "linear" in result:
    row("linear", "all labels", result["linear"])
  for setting, values in result.get("few_label", {}).items():
    row("few_label", setting, {c: v["mean"] for c, v in values.items()})
  for protocol in stages.PROBES:
    found = result.get(protocol, {})
    for layer in dict.fromkeys(k for v in found.values() for k in v):
      row(protocol, layer, {c: v.get(layer) for c, v in found.items()})
  for measure in ("nmi", "ari", "accuracy") if "kmeans" in result else ():
    row("kmeans", measure, {c: v[measure] for c, v in result["kmeans"].items()})
  towers = result.get("retrieval", {})
  for way in (k for k in towers.get("encoder", {}) if " to " in k):
    for k in towers["encoder"][way]:
      row("retrieval", f"{way} {k}", {c: v[way][k] for c, v in towers.items()},
          towers["encoder"].get("chance", {}).get(way, {}).get(k))
  if "zero_shot" in result:
    row("zero_shot", "accuracy", {c: v["accuracy"] for c, v in result["zero_shot"].items()},
        result["zero_shot"]["encoder"]["chance"])
  for measure, setting in (("bleu4", "BLEU-4"), ("bleu4_others", "BLEU-4, of other images"), ("distinct", "distinct")):
    if "captions" in result:
      row("captions", setting, {c: v[measure] for c, v in result["captions"].items()})
  for measure in sorted({m for v in result.get("health", {}).values() for m in v}):
    row("health", measure, {c: v.get(measure) for c, v in result["health"].items()})
  return out


def finite(name, x):
  """x, or a RunError if the encoder gave something that is no number."""
  if bad := int(np.sum(~np.isfinite(x).all(axis=1))):
    raise errors.RunError(f"{bad} of {len(x)} embeddings of the {name} contender are not finite: its training diverged")
  return x
