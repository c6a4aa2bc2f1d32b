"""Towers that were compared, in words: does what belongs together find each other, more often than by chance?"""

import math

from sslx.report.judge import percent

OFTEN = 0.25                             # what chance reaches so often tells little
LITTLE = 0.1                             # of the way from chance to always: less is little
NAMES = {"chance": "by chance it would be", "random": "with the same towers at random initialisation"}


def comparisons(evaluation):
  """[{"protocol", "way", "k", "encoder", "random", "chance", "count", "over": {baseline: (margin, sign)}}] of
  retrieval, both ways, and of zero-shot classification.

  k: of the recall, the largest that chance reaches in less than a quarter of all cases; margin, sign: as in
  judge.comparisons, the standard error that of shares of as many queries as the side that has fewer has things.
  """
  out = []
  for protocol, way, k, count, values in found(evaluation or {}):
    variance = {c: v * (1 - v) / count for c, v in values.items()}
    over = {}
    for baseline in (b for b in ("chance", "random") if b in values):
      error = variance["chance"] if baseline == "chance" else variance["encoder"] + variance["random"]
      margin = values["encoder"] - values[baseline]
      over[baseline] = margin, int(math.copysign(abs(margin) > max(0.005, 2 * math.sqrt(error)), margin))
    out.append({"protocol": protocol, "way": way, "k": k, "count": count, "over": over, **values})
  return out


def found(evaluation):
  """(protocol, way, k, count, {"encoder", "random", "chance": share}) of what an evaluation compared with chance."""
  retrieval, shot = evaluation.get("retrieval", {}), evaluation.get("zero_shot", {})
  own = retrieval.get("encoder", {})
  for way, chance in own.get("chance", {}).items():
    k = max((k for k in chance if chance[k] < OFTEN), key=lambda k: chance[k], default=min(chance, key=chance.get))
    yield "retrieval", way, k, min(own["count"].values()), {
        **{c: v[way][k] for c, v in retrieval.items()}, "chance": chance[k]}
  if "encoder" in shot:
    yield "zero_shot", "", "", max(1, sum(map(sum, shot["encoder"]["confusion"]))), {
        **{c: v["accuracy"] for c, v in shot.items()}, "chance": shot["encoder"]["chance"]}


def judged(results):
  """(status, headline) of comparisons."""
  what = ("what belongs together is found" if any(r["protocol"] == "retrieval" for r in results) else
          "classes are told by their names")
  won = [r for r in results if all(sign > 0 for _, sign in r["over"].values())]
  if not any(r["over"]["chance"][1] > 0 for r in results):
    return "bad", f"No: {what} no more often than by chance."
  if not won:
    return "bad", f"No: {what} no more often than by the same towers without any training."
  times = sorted(r["encoder"] / r["chance"] for r in won)
  often = f"{times[0]:.1f} times" if times[-1] - times[0] < 0.05 else f"{times[0]:.1f} to {times[-1]:.1f} times"
  if len(won) < len(results):
    return "mixed", f"Partly: {what} more often than by chance in {len(won)} of {len(results)} comparisons."
  if max(r["over"]["chance"][0] / (1 - r["chance"]) for r in won) < LITTLE:
    return "mixed", f"A little: {what} rarely, though {often} as often as by chance."
  return "good", f"Yes: {what}, {often} as often as by chance."


def sentences(results):
  """What each comparison says."""
  for r in results:
    first = r["k"][2:]
    says = (f"From {r['way']} the right one is {'the first' if first == '1' else f'among the first {first}'} for "
            f"{percent(r['encoder'])} of the queries" if r["protocol"] == "retrieval" else
            f"By the names of their classes alone {percent(r['encoder'])} of {r['count']:,} are told (zero-shot)")
    yield f"{says}; {', '.join(f'{NAMES[b]} {percent(r[b])}' + doubt(r, b) for b in r['over'])}."


def doubt(r, baseline):
  """What to add where a difference is not sure."""
  return "" if r["over"][baseline][1] else " (perhaps no difference)"


def tiles(results):
  """The headline numbers: [(label, value, note)]."""
  label = lambda r: f"{r['way'].capitalize()}, {r['k']}" if r["protocol"] == "retrieval" else "Zero-shot accuracy"
  return [(label(r), percent(r["encoder"]), f"by chance {percent(r['chance'])}") for r in results]
