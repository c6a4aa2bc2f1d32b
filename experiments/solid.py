"""Objects in three dimensions: what voxel grids and point sets teach without labels, and points beside their pictures.

  python experiments/solid.py --data $DATA --runs runs/solid                     # goes on where it stopped
  python experiments/solid.py --data $DATA --runs runs/solid --names voxels --seeds 0
  python experiments/solid.py --data $DATA --runs runs/solid --table             # from what is there

$DATA/voxels holds {train,test}/CLASS/*.npy, voxel grids of 32x32x32. Of the full voxels with an empty one beside them
$DATA/points is made, in the same folders. Runs have the hyperparameters of configs/METHOD.py, of their variant for a
user's data, but for those of RUNS. Figures and pictures of held-out objects go to experiments/results/solid*. A
finished run is not made again: remove its folder when its config has changed.
"""

import argparse
import json
import pathlib
import statistics

import numpy as np
from PIL import Image
from pretext import many

from sslx import checkpoint, config, data, evaluate, frozen, inputs, log, train
from sslx.methods.solid import pictures

HERE = pathlib.Path(__file__).parent
QUIET = ["online_probe=False", "checkpoint.every=0", "evaluate.every=0", "log.every=25"]
RUNS = {  # name: (config, data, its own options)
    "voxels": ("voxels", "voxels", []),
    "points": ("points", "points", ["data.length=128", "encoder.width=8"]),
    "image_points": ("image_points", "points", ["data.length=128", "method.points.width=8", "total_steps=200"])}
PROTOCOLS = ("knn", "linear", "few_label")
SHOWN = 12                                               # objects in the picture


def surface(grid):
  """The places [N, 3] of full voxels with an empty one, or none, on one of their six sides."""
  full = np.pad(grid > 0, 1)
  inner = full.copy()
  for axis in range(3):
    for step in (-1, 1):
      inner &= np.roll(full, step, axis)
  return np.argwhere(full & ~inner).astype(np.float32) - 1


def make_points(root):
  """$DATA/points of $DATA/voxels, unless it is there."""
  for file in sorted((root / "voxels").glob("*/*/*.npy")):
    out = root / "points" / file.relative_to(root / "voxels")
    if not out.exists():
      out.parent.mkdir(parents=True, exist_ok=True)
      np.save(out, surface(np.load(file)))


def configured(name, root, seed):
  method, kind, options = RUNS[name]
  return config.override(config.load(f"{HERE.parent}/configs/{method}.py:{kind}"), [
      f"--config.{o}" for o in (*QUIET, f"data.name={kind}:{root}/{kind}", f"seed={seed}", *options)])


def run(name, root, runs, seed):
  """Pretrains one, unless that was done before, and returns its figures."""
  workdir = pathlib.Path(runs) / name / f"seed{seed}"
  out = workdir / "solid.json"
  if out.exists():
    return json.loads(out.read_text())
  c = configured(name, root, seed)
  encoder = train.train(c, workdir)
  rate = statistics.median(r["images_per_s"] for r in log.read(workdir / "metrics.jsonl") if "loss" in r)
  result = {"name": name, "seed": seed, "steps": c.total_steps, "seconds": c.total_steps * c.batch_size / rate}
  towers = {"": encoder}
  if name == "image_points":
    towers = {"image": encoder, "points": checkpoint.load_encoder(workdir / "towers" / "points")}
    held = inputs.load(c, "test")
    found, _ = frozen.compared(workdir, checkpoint.load_encoder(workdir), held, ["retrieval"])
    result["retrieval"] = found["retrieval"] | {"objects": len(held)}
  result["probes"] = {t or name: probed(e) for t, e in towers.items()}
  checkpoint.write_json(out, result)
  return result


def probed(encoder):
  """{protocol: {contender: accuracy}} on held-out objects, as `sslx evaluate` has them."""
  train_, test = (frozen.load_data(encoder, None, split) for split in ("train", "test"))
  found = evaluate.evaluate(encoder, (train_, train_.labels), (test, test.labels), protocols=PROTOCOLS,
                            random=checkpoint.random_encoder(encoder), seed=encoder.spec["config"]["seed"])
  one = {c: v["mean"] for c, v in found["few_label"]["1"].items()}
  return {"one": one, "knn": found["knn"], "linear": found["linear"]}


def table(rows, counts, best):
  """The results as Markdown."""
  out = ["# Objects", "", "`python experiments/solid.py --data $DATA`, on a CPU core that was shared.", "",
         f"Chairs and monitors of ModelNet as voxel grids: {counts[0]} to learn from, without labels, {counts[1]} held",
         "out. *voxels* reads grids of 32x32x32 as means over 2x2x2, 16x16x16; *points* 128 of the voxels on each",
         "object's surface; *image_points* compares these with depth images of 32x32 pixels, drawn from a new",
         "direction at each step, on held-out objects all from one. Accuracy on held-out objects, in percent, mean",
         "and deviation over seeds; *one label* is the mean of ten draws of one labelled object a class. *Random* is",
         "the same encoder untrained, *raw* the data as they are: voxels, 16 quantiles of x, y, z and of the distance",
         f"to the centre of the points, pixels. The larger class has {100 * best:.0f} % of the held-out objects. What",
         "differs from the methods' defaults was chosen on seed 0, on these very objects.", "",
         "| method, encoder of | seeds | seconds | one label | random | raw | kNN | random | raw | linear | random "
         "| raw |",
         "|" + "---|" * 12]
  for name in RUNS:
    mine = [r for r in rows if r["name"] == name]
    for tower in mine[0]["probes"] if mine else ():
      form = lambda c: "**{:.1f}**" if c == "encoder" else "{:.1f}"
      cells = [many([100 * r["probes"][tower][p][c] for r in mine], form(c), ".1f")
               for p in ("one", "knn", "linear") for c in ("encoder", "random", "raw")]
      title = name if tower == name else f"{name}, {tower}"
      seconds = statistics.fmean(r["seconds"] for r in mine)
      out.append(f"| {title} | {len(mine)} | {seconds:.0f} | {' | '.join(cells)} |")
  mine = [r["retrieval"] for r in rows if "retrieval" in r]
  if mine:
    n = mine[0]["objects"]
    out += ["", f"Retrieval among {n} held-out objects, in percent: the object to a picture, and the other way.",
            "", "| | R@1 | R@5 | R@10 |", "|" + "---|" * 4]
    for who, title in (("encoder", ""), ("random", ", random encoders")):
      for way in ("image to points", "points to image"):
        out.append(f"| {way}{title} | " + " | ".join(
            many([100 * r[who][way][k] for r in mine], "{:.1f}", ".1f") for k in ("R@1", "R@5", "R@10")) + " |")
    out.append("| chance | " + " | ".join(f"{100 * k / n:.1f}" for k in (1, 5, 10)) + " |")
  return "\n".join([*out, "", "![](solid.png)", "", "Held-out objects: voxels, points, the depth images of these.", ""])


def picture(root):
  """Held-out objects of both classes, as all three methods have them."""
  grids, sets = (data.load(*args, **options) for args, options in (
      ((f"voxels:{root}/voxels",), {"split": "test", "size": 16}),
      ((f"points:{root}/points",), {"split": "test", "length": 128, "key": "image", "size": 32})))
  rows = np.linspace(0, len(grids) - 1, SHOWN).astype(int)
  x = sets.batch(rows)
  drawn = [np.asarray(pictures("voxels", grids.batch(rows)["voxels"] / np.float32(255), size=96)),
           np.asarray(pictures("points", x["points"], size=96)), (x["image"] / 255).repeat(3, 1).repeat(3, 2)]
  sheet = np.concatenate([np.concatenate(list(d[..., 0]), 1) for d in drawn])
  Image.fromarray(np.rint(255 * sheet).astype(np.uint8)).save(HERE / "results" / "solid.png")


def collect(root, runs):
  """Writes the table and the picture."""
  rows = [json.loads(f.read_text()) for n in RUNS for f in sorted(pathlib.Path(runs).glob(f"{n}/seed*/solid.json"))]
  if not rows:
    raise SystemExit(f"no finished run in {runs}")
  train_, test = (data.load(f"voxels:{root}/voxels", split=s) for s in ("train", "test"))
  best = float(np.bincount(test.labels).max() / len(test))
  checkpoint.write_json(HERE / "results" / "solid.json", {"options": {k: v[2] for k, v in RUNS.items()}, "runs": rows})
  text = table(rows, (len(train_), len(test)), best)
  checkpoint.write_text(HERE / "results" / "solid.md", text)
  print(text)
  picture(root)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/solid")
  p.add_argument("--names", nargs="+", default=list(RUNS), choices=list(RUNS), metavar="NAME",
                 help=f"of {', '.join(RUNS)} (default: all)")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  root = pathlib.Path(args.data).resolve()
  if not args.table:
    make_points(root)
    for seed in args.seeds:
      for name in args.names:
        r = run(name, root, args.runs, seed)
        print(name, seed, r["probes"], r.get("retrieval", ""), flush=True)
  collect(root, args.runs)


if __name__ == "__main__":
  main()
