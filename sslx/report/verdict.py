"""From numbers to words: did the pretraining work, how sure is that, and what to do next."""

import math
import shlex

from sslx import log
from sslx.report import record

COLLAPSED_STD, COLLAPSED_RANK = 0.05, 1.5


def verdict(run):
  """{"status": good | mixed | bad | unknown, "headline", "sentences": [str], "tiles": [(label, value, note)]}."""
  results, health = comparisons(run["evaluation"]), measured(run)
  if collapsed(health):
    status, headline = "bad", "No: the representation has collapsed."
  elif results:
    status, headline = judged(results)
  elif run["evaluation"] is not None and health:
    status, headline = "unknown", "It looks healthy, but without labels nobody can say how useful it is."
  else:
    status, headline = "unknown", "Not evaluated yet, so nobody can say."
  if not run["finished"]:
    headline = f"{headline[:-1]} (the run is not finished)."
  sentences = [*accuracy(results), *healthy(health, run), *(unevaluated(run) if not results else ()), *loss(run),
               *ending(run), *advice(status, results, health, run)]
  return {"status": status, "headline": headline, "sentences": sentences, "tiles": tiles(run, results, health)}


def comparisons(evaluation):
  """[{"protocol", "setting", "encoder", "random", "raw", "over": {baseline: (margin, sign)}}] of the accuracies.

  margin: encoder minus baseline; sign: 1 or -1 where it is larger than twice its standard error (of a test set of that
  size, and of the draws), else 0.
  """
  evaluation = evaluation or {}
  protocols = evaluation.get("protocols", {})
  tests, few = protocols.get("sizes", {}).get("test") or 1000, protocols.get("few_label", {})
  single = [(p, "", {c: (v, 0.0, 1) for c, v in evaluation.get(p, {}).items()}) for p in ("knn", "linear")]
  draws = lambda setting: few.get("draws_of_share", 3) if setting.endswith("%") else few.get("draws", 10)
  many = [("few_label", s, {c: (v["mean"], v["std"], draws(s)) for c, v in values.items()})
          for s, values in evaluation.get("few_label", {}).items()]
  out = []
  for protocol, setting, values in many + single[::-1]:
    if "encoder" not in values:
      continue
    variance = {c: v * max(0.0, 1 - v) / tests + std**2 / n for c, (v, std, n) in values.items()}
    over = {}
    for baseline in (c for c in ("raw", "random") if c in values):
      margin = values["encoder"][0] - values[baseline][0]
      sure = abs(margin) > 2 * math.sqrt(variance["encoder"] + variance[baseline])
      over[baseline] = margin, int(math.copysign(sure, margin))
    out.append({"protocol": protocol, "setting": setting, "over": over, **{c: v[0] for c, v in values.items()}})
  return out


def judged(results):
  """(status, headline) of comparisons."""
  won = {b: sum(r["over"].get(b, (0, 0))[1] > 0 for r in results) for b in ("raw", "random")}
  lost = {b: sum(r["over"].get(b, (0, 0))[1] < 0 for r in results) for b in ("raw", "random")}
  n = len(results)
  if any("random" in r for r in results) and not won["random"]:
    return "bad", "No: the encoder is no better than the same network without any training."
  if not won["raw"]:
    what = f"raw pixels do better in {lost['raw']} of {n} comparisons" if lost["raw"] else "it does not beat raw pixels"
    return "bad" if lost["raw"] else "mixed", f"Not yet: the encoder has learned something, but {what}."
  if lost["raw"] or lost["random"]:
    return "mixed", (f"Partly: the encoder beats raw pixels in {won['raw']} of {n} comparisons"
                     + (f", they beat it in {lost['raw']}" if lost["raw"] else "")
                     + (f"; an untrained network beats it in {lost['random']}" if lost["random"] else "") + ".")
  if 2 * won["raw"] < n:
    return "mixed", f"Partly: the encoder clearly beats raw pixels in {won['raw']} of {n} comparisons and ties the rest."
  return "good", "Yes: the pretraining worked."


def accuracy(results):
  """A sentence on the fewest labels, and one on all of them."""
  few = [r for r in results if r["protocol"] == "few_label"]
  full = [r for p in ("linear", "knn") for r in results if r["protocol"] == p]
  for r in few[:1] + full[:1]:
    names = {"raw": "raw pixels", "random": "the same encoder at random initialisation"}
    parts = [f"{100 * abs(margin):.1f} points {'above' if margin >= 0 else 'below'} {names[b]}"
             + ("" if sign else " (too little to tell apart from chance)") for b, (margin, sign) in r["over"].items()]
    text = f"{setting_words(r)} the encoder reaches {percent(r['encoder'])} accuracy"
    yield f"{text[0].upper()}{text[1:]}" + (f": {' and '.join(parts)}." if parts else ".")


def setting_words(r):
  """with one label a class, with 10 % of the labels, ..."""
  if r["protocol"] == "few_label":
    s = r["setting"]
    return (f"with {s[:-1]} % of the labels" if s.endswith("%") else
            f"with {'one label' if s == '1' else s + ' labels'} a class")
  return {"linear": "with all labels (linear probe)", "knn": "by the vote of nearest neighbours (kNN)"}[r["protocol"]]


def measured(run):
  """{"feature_std", "effective_rank", ...} of the evaluation, else of the last evaluation during the run."""
  health = ((run["evaluation"] or {}).get("health") or {}).get("encoder")
  if health:
    return health
  last = {"feature_std": record.series(run["records"], "feature_std")[1][-1:],
          "effective_rank": record.series(run["records"], "rankme")[1][-1:]}
  return {k: v[0] for k, v in last.items() if v}


def collapsed(health):
  """Whether all images have (nearly) the same embedding, or all lie on one line."""
  std, rank = health.get("feature_std"), health.get("effective_rank")
  return (std is not None and std < COLLAPSED_STD) or (rank is not None and rank < COLLAPSED_RANK)


def healthy(health, run):
  """Sentences on collapse."""
  std, rank = health.get("feature_std"), health.get("effective_rank")
  if collapsed(health):
    yield (f"All images get nearly the same embedding (feature spread {std or 0:.2f}, effective rank {rank or 0:.1f}): "
           "whatever the loss says, there is nothing in it to use.")
  elif rank is not None:
    share = health.get("effective_rank_share")
    of = f" of {rank / share:.0f}" if share else ""
    yield (f"The embedding has not collapsed: it uses the equivalent of {rank:.1f}{of} dimensions"
           + (f", with a spread of {std:.2f} (0 is collapse, 1 is even)." if std is not None else "."))


def unevaluated(run):
  """What can be said, and done, without accuracies."""
  w = shlex.quote(run["workdir"])
  for key, words in (("knn", "kNN on test images, measured during the run, stood at {} at step {}."),
                     ("online_accuracy", "The linear probe that learns beside the encoder was right for {} of its "
                                         "training batch at step {}: a sign of life, not a test.")):
    steps, values = record.series(run["records"], key)
    if values:
      yield words.format(percent(values[-1]), steps[-1])
  if run["evaluation"] is None:
    yield f"To compare it with an untrained encoder and raw pixels, run: sslx evaluate --workdir {w}"
  elif "health" in run["evaluation"]:
    yield "The evaluation had no labels, so accuracies against the baselines are missing."


def loss(run):
  """A sentence on whether the loss still fell."""
  steps, values = record.series(run["records"], "loss")
  if len(values) < 2:
    return
  k = max(1, len(values) // 20)
  first, last = sum(values[:k]) / k, sum(values[-k:]) / k
  went = f"The loss went from {first:.3g} to {last:.3g}"
  since = log.plateau(list(zip(steps, values, strict=True)))
  if any(isinstance(r.get("loss"), float) and not math.isfinite(r["loss"]) for r in run["records"]):
    yield f"{went}, and was not finite at times: the run diverged; try a lower optim.lr or optim.clip=1."
  elif since is not None:
    yield f"{went} and has not fallen since step {since}: more steps of the same kind will hardly help."
  elif len(values) < 60:
    yield f"{went}; {len(values)} records are too few to say whether it had stopped falling."
  else:
    yield f"{went} and was still falling at the end: a longer run may give more."


def ending(run):
  """A sentence on a run that is not at its planned end."""
  w = shlex.quote(run["workdir"])
  if run["finished"] and run["exported"] < run["total"]:
    yield (f"The run ended at step {run['exported']} of {run['total']} because the loss had stopped falling "
           "(stop.plateau).")
  elif not run["finished"]:
    shown = ("no encoder has been exported yet, what is shown comes from the newest checkpoint"
             if run["exported"] is None else f"the encoder shown is that of step {run['exported']}")
    yield (f"The run is at step {run['last']} of {run['total']}; {shown}. It goes on with: "
           f"sslx pretrain --workdir {w}")
  step = (run["evaluation"] or {}).get("step")
  if step is not None and run["exported"] is not None and step != run["exported"]:
    yield f"The evaluation is that of step {step}, not of the final encoder."


def advice(status, results, health, run):
  """What to try where it did not work."""
  w = shlex.quote(run["workdir"])
  if collapsed(health):
    yield ("What to try: a lower optim.lr with a longer optim.warmup, batch norm in the projector, "
           "a larger batch, and a look at the views below: they must differ, and still show the same thing.")
  elif results and status in ("bad", "mixed"):
    longer = f"a longer run (sslx pretrain --workdir {w} --extend total_steps={2 * run['total']}), "
    yield (f"What to try: {longer if run['finished'] else ''}other augmentations (in the views below a person should "
           "still recognise the image, a machine should not match it pixel by pixel), a wider encoder, more images. "
           "On small, centred images raw pixels are hard to beat once there are many labels.")


def percent(x):
  """97.1 %"""
  return f"{100 * x:.1f} %"


def tiles(run, results, health):
  """The headline numbers: [(label, value, note)]."""
  out = []
  few = [r for r in results if r["protocol"] == "few_label"]
  for r in few[:1] + [r for p in ("linear", "knn") for r in results if r["protocol"] == p]:
    label = {"knn": "kNN accuracy", "linear": "Linear probe, all labels"}.get(r["protocol"], setting_words(r)[5:])
    note = f"{100 * r['over']['raw'][0]:+.1f} points on raw pixels" if "raw" in r["over"] else ""
    out.append((label[0].upper() + label[1:], percent(r["encoder"]), note.replace("-", "\N{MINUS SIGN}")))
  if health.get("effective_rank") is not None:
    share = health.get("effective_rank_share")
    out.append(("Effective rank", f"{health['effective_rank']:.1f}",
                f"of {health['effective_rank'] / share:.0f} dimensions" if share else "dimensions in use"))
  if not results:
    for key, label in (("knn", "kNN during the run"), ("online_accuracy", "Online probe")):
      values = record.series(run["records"], key)[1]
      out += [(label, percent(values[-1]), "on training batches" if key == "online_accuracy" else "test images")
              ] if values else []
  values = record.series(run["records"], "loss")[1]
  if values:
    out.append(("Loss", f"{values[-1]:.3g}", f"from {values[0]:.3g}"))
  out.append(("Steps", f"{run['last']:,}", f"of {run['total']:,}" + ("" if run["finished"] else ", not finished")))
  return out
