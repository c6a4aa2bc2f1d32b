"""From numbers to words: did the pretraining work, how sure is that, and what to do next."""

import math
import shlex

from sslx import log
from sslx.report import record, towers
from sslx.report.judge import accuracy, comparisons, judged, percent, setting_words
from sslx.watching import COLLAPSED_RANK, COLLAPSED_STD

NARROW_STD, NARROW_RANK = 0.15, 4
FITTING = 1.5                                               # BLEU of captions over that on other images


def of(run):
  """{"status": good | mixed | bad | unknown, "headline", "paragraphs", "next": [(why, command)], "tiles"}.

  tiles: the headline numbers, [(label, value, note)].
  """
  results, health, raw = comparisons(run["evaluation"]), measured(run), run["kind"]["raw"]
  further = {r["data"]: found for r in run.get("sets", ()) if (found := comparisons(r))}
  between = towers.comparisons(run["evaluation"])
  said = ((run["evaluation"] or {}).get("captions") or {}).get("encoder")
  if collapsed(health):
    status, headline = "bad", "No: the representation has collapsed."
  elif between:
    status, headline = towers.judged(between)
  elif results:
    status, headline = judged(results, raw)
  elif further:
    status, headline = judged(sum(further.values(), []), raw)
    headline = f"{headline[:-1]}, on {', '.join(further)}."
  elif said:
    status, headline = captioned(said)
  elif run["evaluation"] is not None and health:
    status, headline = "unknown", "It looks healthy, but without labels nobody can say how useful it is."
  else:
    status, headline = "unknown", "Not evaluated yet, so nobody can say."
  if not run["finished"]:
    headline = f"{headline[:-1]} (the run is not finished)."
  alone = [f"The encoder of {run['kind']['many']} by itself: {judged(results, raw)[1]}"] if between and results else []
  parts = (towers.sentences(between), captions(said),
           [*alone, *accuracy(results, raw), *(unevaluated(run) if not results else ())],
           *([f"On {name}:", *accuracy(found, raw)] for name, found in further.items()),
           [*healthy(health, run["kind"]["many"]), *loss(run), *ending(run)],
           advice(status, results, between, health, run))
  return {"status": status, "headline": headline, "paragraphs": [text for p in parts if (text := " ".join(p))],
          "next": list(commands(run)), "tiles": towers.tiles(between) + tiles(run, results, health)}


def captioned(said):
  """(status, headline) of captions of held-out images beside the same ones given to other images."""
  own, others = said["bleu4"], said["bleu4_others"]
  if own <= others:
    return "bad", "No: its captions fit other images as well as their own."
  if own < FITTING * others:
    return "mixed", "In part: its captions fit their own images little better than others."
  return "good", "Yes: its captions fit their own images better than others."


def captions(said):
  """A sentence on captions of held-out images."""
  if said:
    yield (f"BLEU-4 of the captions of {said['count']} held-out images is {100 * said['bleu4']:.1f}, and "
           f"{100 * said['bleu4_others']:.1f} when each is given to another image; {percent(said['distinct'])} of them "
           "differ from each other.")


def measured(run):
  """{"feature_std", "effective_rank", ...} of the evaluation, else of the last evaluation during the run."""
  health = ((run["evaluation"] or {}).get("health") or {}).get("encoder")
  if health:
    return health
  last = {"feature_std": record.series(run["records"], "feature_std")[1][-1:],
          "effective_rank": record.series(run["records"], "rankme")[1][-1:]}
  return {k: v[0] for k, v in last.items() if v}


def collapsed(health):
  """Whether all examples have (nearly) the same embedding, or all lie on one line."""
  std, rank = health.get("feature_std"), health.get("effective_rank")
  return (std is not None and std < COLLAPSED_STD) or (rank is not None and rank < COLLAPSED_RANK)


def healthy(health, many):
  """Sentences on collapse."""
  std, rank = health.get("feature_std"), health.get("effective_rank")
  if collapsed(health):
    yield (f"All {many} get nearly the same embedding (feature spread {std or 0:.2f}, effective rank {rank or 0:.1f}): "
           "whatever the loss says, there is nothing in it to use.")
  elif rank is not None:
    share = health.get("effective_rank_share")
    of = f" of {rank / share:.0f}" if share else ""
    narrow = rank < NARROW_RANK or (std is not None and std < NARROW_STD)
    yield (f"The embedding {'is narrow, though it has not' if narrow else 'has not'} collapsed: it uses the equivalent "
           f"of {rank:.1f}{of} dimensions"
           + (f", with a spread of {std:.2f} (0 is collapse, 1 is even)." if std is not None else "."))


def unevaluated(run):
  """What can be said without accuracies."""
  for key, words in (("knn", "kNN on test {many}, measured during the run, stood at {} at step {}."),
                     ("online_accuracy", "The linear probe that learns beside the encoder was right for {} of its "
                                         "training batch at step {}: a sign of life, not a test.")):
    steps, values = record.series(run["records"], key)
    if values:
      yield words.format(percent(values[-1]), steps[-1], many=run["kind"]["many"])
  if run["evaluation"] is not None and not (
      run.get("sets") or towers.comparisons(run["evaluation"]) or "captions" in run["evaluation"]):
    yield "The evaluation holds no accuracies: for those, the training and the test set need labels."


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
  if run["finished"] and run["exported"] < run["total"]:
    yield (f"The run ended at step {run['exported']} of {run['total']} because the loss had stopped falling "
           "(stop.plateau).")
  elif not run["finished"]:
    shown = ("no encoder has been exported yet, what is shown comes from the newest checkpoint"
             if run["exported"] is None else f"the encoder shown is that of step {run['exported']}")
    yield f"The run is at step {run['last']} of {run['total']}; {shown}."
  step = (run["evaluation"] or {}).get("step")
  if step is not None and run["exported"] is not None and step != run["exported"]:
    yield f"The evaluation is that of step {step}, not of the final encoder."


def advice(status, results, between, health, run):
  """What to try where it did not work."""
  if collapsed(health):
    yield ("What to try: a lower optim.lr with a longer optim.warmup, batch norm in the projector, "
           "a larger batch, and a look at the views below: they must differ, and still show the same thing.")
  elif between and status in ("bad", "mixed"):
    longer = "a longer run, " if run["finished"] else ""
    yield (f"What to try: a larger batch, in which there is more to be told apart, more pairs, {longer}or an encoder "
           "that was pretrained by itself (config.init).")
  elif results and status in ("bad", "mixed"):
    longer = "a longer run, " if run["finished"] else ""
    one, many = run["kind"]["one"], run["kind"]["many"]
    yield (f"What to try: {longer}other augmentations (in the views below a person should still recognise the {one}, a "
           f"machine should not match it number by number), a wider encoder, more {many}."
           + (" On small, centred images raw pixels are hard to beat once there are many labels." if one == "image" else
              ""))


def commands(run):
  """[(what for, command)] that bring the answer nearer."""
  w = shlex.quote(run["workdir"])
  if not run["finished"]:
    yield "To go on with the run", f"sslx pretrain --workdir {w}"
  if run["evaluation"] is None:
    yield "To compare the encoder with an untrained one and with the raw data", f"sslx evaluate --workdir {w}"


def tiles(run, results, health):
  """The headline numbers: [(label, value, note)]."""
  out = []
  few = [r for r in results if r["protocol"] == "few_label"]
  for r in few[:1] + [r for p in ("linear", "knn") for r in results if r["protocol"] == p]:
    label = {"knn": "kNN", "linear": "Linear probe"}.get(r["protocol"], setting_words(r)[5:].replace("one", "One"))
    note = f"{100 * r['over']['raw'][0]:+.1f} vs {run['kind']['raw']}" if "raw" in r["over"] else ""
    out.append((label, percent(r["encoder"]), note.replace("-", "\N{MINUS SIGN}")))
  if health.get("effective_rank") is not None:
    share = health.get("effective_rank_share")
    out.append(("Effective rank", f"{health['effective_rank']:.1f}",
                f"of {health['effective_rank'] / share:.0f} dimensions" if share else "dimensions in use"))
  if not results:
    for key, label in (("knn", "kNN during the run"), ("online_accuracy", "Online probe")):
      values = record.series(run["records"], key)[1]
      note = "on training batches" if key == "online_accuracy" else f"test {run['kind']['many']}"
      out += [(label, percent(values[-1]), note)] if values else []
  values = record.series(run["records"], "loss")[1]
  if values:
    out.append(("Loss", f"{values[-1]:.3g}", f"from {values[0]:.3g}"))
  if run["total"]:                                          # imported weights have none
    out.append(("Steps", f"{run['last']:,}", f"of {run['total']:,}" + ("" if run["finished"] else ", not finished")))
  return out
