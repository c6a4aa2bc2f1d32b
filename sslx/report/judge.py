"""An encoder against its baselines: by how much it is better, whether that is more than chance, in words."""

import math


def comparisons(evaluation):
  """[{"protocol", "setting", "encoder", "random", "raw", "over": {baseline: (margin, sign)}}] of the accuracies.

  margin: encoder minus baseline; sign: 1 or -1 where it is more than half a point and twice its standard error, else 0.
  That error is the one over draws for few labels; for one figure on n test images it is that of a share, with half of
  the mistakes taken to be common to both contenders.
  """
  evaluation = evaluation or {}
  protocols = evaluation.get("protocols", {})
  tests, few = protocols.get("sizes", {}).get("test") or 1000, protocols.get("few_label", {})
  draws = lambda setting: few.get("draws_of_share", 3) if setting.endswith("%") else few.get("draws", 10)
  found = [("few_label", s, {c: (v["mean"], v["std"]**2 / draws(s)) for c, v in values.items()})
           for s, values in evaluation.get("few_label", {}).items()]
  found += [(p, "", {c: (v, v * (1 - v) / tests / 2) for c, v in evaluation.get(p, {}).items()})
            for p in ("linear", "knn")]
  out = []
  for protocol, setting, values in found:
    if "encoder" not in values:
      continue
    over = {}
    for baseline in (c for c in ("raw", "random") if c in values):
      margin = values["encoder"][0] - values[baseline][0]
      sure = abs(margin) > max(0.005, 2 * math.sqrt(values["encoder"][1] + values[baseline][1]))
      over[baseline] = margin, int(math.copysign(sure, margin))
    out.append({"protocol": protocol, "setting": setting, "over": over, **{c: v[0] for c, v in values.items()}})
  return out


def tally(results, baseline):
  """(comparisons that the encoder wins, loses) against a baseline."""
  signs = [r["over"][baseline][1] for r in results if baseline in r["over"]]
  return signs.count(1), signs.count(-1)


def judged(results, raw):
  """(status, headline) of comparisons; raw: what the data as they are are called."""
  n, (won, lost), (gained, _) = len(results), tally(results, "raw"), tally(results, "random")
  if any("random" in r for r in results) and not gained:
    return "bad", "No: the encoder is no better than the same network without any training."
  if not any("raw" in r for r in results):
    return "mixed", f"It has learned something; how it compares with {raw} was not measured."
  if not won and lost:
    return "bad", f"Not yet: the encoder has learned something, but {raw} do better in {lost} of {n} comparisons."
  if not won:
    return "mixed", f"Not yet: the encoder has learned something, but it does not beat {raw}."
  if lost:
    return "mixed", f"Partly: the encoder beats {raw} in {won} of {n} comparisons, and they beat it in {lost}."
  if any(r["over"].get("raw", (0, 0))[1] > 0 for r in results if r["protocol"] != "few_label"):
    return "good", "Yes: the pretraining worked."
  return "good", "Yes: the pretraining worked, and it shows where labels are few."


def accuracy(results, raw):
  """Sentences: the fewest labels, all of them, and how often which side wins."""
  few = [r for r in results if r["protocol"] == "few_label"]
  full = [r for p in ("linear", "knn") for r in results if r["protocol"] == p]
  for r in few[:1] + full[:1]:
    names = {"raw": raw, "random": "the same encoder at random initialisation"}
    parts = [f"{100 * abs(margin):.1f} points {'above' if margin >= 0 else 'below'} {names[b]}"
             + ("" if sign else " (which may be chance)") for b, (margin, sign) in r["over"].items()]
    text = f"{setting_words(r)} the encoder reaches {percent(r['encoder'])} accuracy"
    yield f"{text[0].upper()}{text[1:]}" + (f": {' and '.join(parts)}." if parts else ".")
  counts = [f"{won} against {name}" + (f" (and loses {lost})" if lost else "") for b, name in (
      ("raw", raw), ("random", "the untrained encoder")) for won, lost in [tally(results, b)]
      if any(b in r for r in results)]
  if len(results) > 2 and counts:
    yield f"Of {len(results)} comparisons, counting what is more than chance, it wins {' and '.join(counts)}."


def setting_words(r):
  """with one label a class, with 10 % of the labels, ..."""
  if r["protocol"] == "few_label":
    s = r["setting"]
    return (f"with {s[:-1]} % of the labels" if s.endswith("%") else
            f"with {'one label' if s == '1' else s + ' labels'} a class")
  return {"linear": "with all labels (linear probe)", "knn": "by the vote of nearest neighbours (kNN)"}[r["protocol"]]


def percent(x):
  """97.1 %"""
  return f"{100 * x:.1f} %"
