"""The part of the page that is about towers that were compared: what they find, and what they tell by names alone."""

import numpy as np

from sslx import errors, evaluate, tokens
from sslx.report import figures, looks, record, tables

COLUMNS = {"encoder": "Towers", "random": "At random initialisation", "raw": "Chance"}     # "raw": the colour


def of(evaluation):
  """{"rows": of the table, "count": of what was compared, "zero_shot": see there}, or None where nothing was."""
  if not {"retrieval", "zero_shot"} & set(evaluation):
    return None
  values = [(r[0], r[1], (r[2], r[3], r[5])) for r in evaluate.rows(evaluation) if r[0] in evaluate.BETWEEN]
  rows = [{"protocol": tables.PROTOCOLS[protocol], "setting": setting,
           "cells": tables.cells(dict(zip(COLUMNS, shares, strict=True)))} for protocol, setting, shares in values]
  count = evaluation.get("retrieval", {}).get("encoder", {}).get("count", {})
  return {"rows": rows, "count": " and ".join(f"{n:,} {many(tower)}" for tower, n in count.items()),
          "zero_shot": zero_shot(evaluation)}


def many(kind):
  """What several examples of a kind are called."""
  return record.KINDS[kind]["many"] if kind in record.KINDS else {"depth": "depth maps"}.get(kind, kind)


def zero_shot(evaluation):
  """{"chart", "alt", "classes": [(name, how many, [percent of each contender], what it is most taken for)],
  "contenders", "templates", "chance"}, or None."""
  found = evaluation.get("zero_shot")
  if not found:
    return None
  names, confusion = list(found["encoder"]["per_class"]), np.array(found["encoder"]["confusion"])
  many, wrong = confusion.sum(1), confusion * (1 - np.eye(len(names), dtype=int))
  taken = [f"{names[w.argmax()]} ({100 * w.max() / n:.0f} %)" if w.max() else ""
           for w, n in zip(wrong, many, strict=True)]
  share = [[f"{100 * v['per_class'][name]:.1f}" for v in found.values()] for name in names]
  return {"chart": figures.confusion(confusion, names),
          "alt": f"confusion matrix of {len(names)} classes; right: " + ", ".join(
              f"{name} {s[0]} %" for name, s in list(zip(names, share, strict=True))[:20]),
          "classes": list(zip(names, many.tolist(), share, taken, strict=True)), "contenders": list(found),
          "templates": list(evaluation["protocols"]["zero_shot"]["templates"]),
          "chance": f"{100 * found['encoder']['chance']:.1f} %"}


def pictures(run, source, names):
  """[(way, [{"query": look, "rank", "best": [(look, similarity, right)]}])]: what was found for held-out
  queries; a look is {"image" or "text", "class": name or None}.

  Raises errors.UsageError where the evaluation has none, or its examples are not in the Source any more.
  """
  found = (run["evaluation"] or {}).get("retrieval", {}).get("encoder", {}).get("examples")
  if not found:
    raise errors.UsageError(f"the evaluation has no queries; sslx evaluate --workdir {run['workdir']} --protocols "
                            "retrieval keeps some")
  places = [p for rows in found.values() for row in rows for p in (row["query"], *row["best"])]
  at = {int(row): i for i, row in enumerate(source.rows)}
  if any(p["index"] not in at for p in places):
    raise errors.UsageError("the test data are not those of the evaluation any more")
  index = sorted({p["index"] for p in places})
  batch = source.batch(np.array([at[i] for i in index]))
  coder = tokens.coder(run["config"]["data"].get("tokenizer", "bytes"))

  def look(kind, place):
    row = index.index(place["index"])
    x = batch[kind][row]
    if kind == "text":
      return {"text": looks.clean(coder.decode(x[place["text"]] if x.ndim == 2 else x)), "class": None}
    label = int(batch["label"][row]) if "label" in batch else -1
    return {"image": looks.picture(kind, x), "class": names.get(label) if label >= 0 else None}

  out = []
  for way, rows in found.items():
    one, other = way.split(" to ")
    out.append((way, [{"query": look(one, r["query"]), "rank": r["rank"], "best": [
        (look(other, m), f"{m['similarity']:.2f}".replace("-", "\N{MINUS SIGN}"), m["right"]) for m in r["best"]]}
                             for r in rows]))
  return out
