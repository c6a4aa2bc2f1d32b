"""Pretext tasks on 10,000 CIFAR-10 images: is the task learnt on held-out images, and is the representation worth it?

  python experiments/pretext.py --data $DATA/cifar10 --runs runs/pretext             # goes on where it stopped
  python experiments/pretext.py --data $DATA/cifar10 --runs runs/pretext --table     # from what is there

$DATA/cifar10 holds {train,test}/CLASS/*.jpg; runs named "fashion" have 10,000 images of Fashion-MNIST. ResNet-10 at
width 8, 300 steps of 128 where LONGER does not say more. Figures and pictures of held-out images go to
experiments/results/pretext*. A finished run is not made again: remove its folder when its config has changed.
"""

import argparse
import json
import pathlib
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA

from sslx import augment, checkpoint, config, data, encoders, evaluate, log, methods, train
from sslx.evaluate.raw import principal

HERE = pathlib.Path(__file__).parent
LONGER = {"patch_position": 6000, "patch_position, fashion": 2000, "jigsaw": 3000, "jigsaw, positions": 3000,
          "jigsaw, fashion": 1000, "transform": 4000,
          "transform, of one view": 1500, "colorization": 900, "colorization, l2": 600,
          "super_resolution, l2": 1200}                                               # steps
FASHION = ["data.name=fashion_mnist", "encoder.mean=(0.29,)", "encoder.std=(0.35,)"]
ONE_VIEW = ["method.apart=False", "method.aug.name=mae", "method.aug.scale=(0.8,1.0)", "method.shear=30.0",
            "method.translate=0.2"]
BUDGET = ["--config.total_steps=300", "--config.total_epochs=0", "--config.batch_size=128",
          "--config.encoder.name=resnet10", "--config.encoder.width=8", "--config.log.every=10",
          "--config.checkpoint.every=300", "--config.online_probe=False"]
# name: (method, what its config has besides, metric on held-out images, what that is compared with)
RUNS = {
    "rotation": ("rotation", [], "rotation_accuracy", 1 / 4),
    "patch_position": ("patch_position", [], "position_accuracy", 1 / 8),
    "patch_position, fashion": ("patch_position", FASHION, "position_accuracy", 1 / 8),
    "jigsaw": ("jigsaw", [], "permutation_accuracy", 1 / 64),
    "jigsaw, positions": ("jigsaw", ["method.target=positions"], "position_accuracy", 1 / 9),
    "jigsaw, fashion": ("jigsaw", FASHION, "permutation_accuracy", 1 / 64),
    "transform": ("transform", [], "r2", 0.0),
    "transform, of one view": ("transform", ONE_VIEW, "r2", 0.0),
    "transform, kind": ("transform", ["method.target=kind", *ONE_VIEW], "kind_accuracy", 1 / 6),
    "transform, fashion": ("transform", [*FASHION, *ONE_VIEW], "r2", 0.0),
    "autoencoder": ("autoencoder", [], "l2", "PCA"),
    "autoencoder, masked": ("autoencoder", ["method.corruption=mask"], "l2", "PCA"),
    "context_encoder": ("context_encoder", [], "l2", "nearest neighbour"),
    "context_encoder, l2": ("context_encoder", ["method.objective=l2"], "l2", "nearest neighbour"),
    "context_encoder, adversarial": ("context_encoder", ["method.objective=adversarial"], "l2", "nearest neighbour"),
    "colorization": ("colorization", [], "auc_balanced", "auc_balanced_of_mean"),
    "colorization, l2": ("colorization", ["method.objective=l2"], "ab_rmse", "ab_rmse_of_mean"),
    "super_resolution": ("super_resolution", ["method.judge={runs}/rotation/seed{seed}"], "perceptual",
                         "perceptual_bicubic"),
    "super_resolution, l2": ("super_resolution", ["method.objective=l2"], "psnr", "psnr_bicubic"),
    "super_resolution, l2 x4": ("super_resolution", ["method.objective=l2", "method.factor=4"], "psnr", "psnr_bicubic"),
}
MEASURES = ("ten", "knn", "linear")
SMALLER = ("l2", "ab_rmse", "perceptual")                    # metrics that are errors
MAIN = [name for name in RUNS if "," not in name]
PLAIN = lambda key, image: augment.to_float(image)           # held-out images are shown as they are


def workdir_of(runs, name, seed):
  return pathlib.Path(runs) / name.replace(", ", "_").replace(" ", "_") / f"seed{seed}"


def configured(name, path, runs, seed):
  """The config of a run; super-resolution is judged by the encoder that rotation made."""
  method, options, *_ = RUNS[name]
  return config.override(config.load(f"{HERE.parent}/configs/{method}.py:cifar10"), [
      *BUDGET, f"--config.total_steps={LONGER.get(name, 300)}", f"--config.data.name=folder:{path}",
      f"--config.seed={seed}", *(f"--config.{o}".format(runs=runs, seed=seed) for o in options)])


def restored(name, path, runs, seed, options=None):
  """(the method, its params, its state) of a finished run: on images as they are, or with other options."""
  c, workdir = configured(name, path, runs, seed), workdir_of(runs, name, seed)
  encoder, _ = train.build(c)
  name, known = methods.split(c.method)
  method = methods.make(name, encoder, **known | ({"aug": PLAIN} if options is None else options))
  saved = checkpoint.Checkpoints(workdir, create=False)
  try:
    _, tree = saved.restore_plain()
  finally:
    saved.close()
  return method, tree["params"], tree["state"]


def run(name, path, runs, seed):
  """Pretrains one, unless that was done before, and returns its figures."""
  workdir = workdir_of(runs, name, seed)
  out = workdir / "pretext.json"
  if out.exists():
    return json.loads(out.read_text())
  begun, c = time.monotonic(), configured(name, path, runs, seed)
  encoder = train.train(c, workdir)
  bank = data.arrays(data.load(c.data.name, limit=c.data.limit, seed=seed))
  held_out = data.load(c.data.name, split="test", limit=2000)
  queries = data.arrays(held_out)
  task = evaluate.pretext(*restored(name, path, runs, seed), held_out, batch_size=200)
  viewed = evaluate.pretext(*restored(name, path, runs, seed, {}), held_out, batch_size=200)
  worth = {}
  for kind, e in (("encoder", encoder), ("random", checkpoint.random_encoder(encoder))):
    x, z = evaluate.embed(e, bank[0]), evaluate.embed(e, queries[0])
    worth[kind] = {"ten": evaluate.few_label(x, bank[1], z, queries[1], settings=("10",), seed=seed)["10"]["mean"],
                   "knn": evaluate.knn(x, bank[1], z, queries[1]),
                   "linear": evaluate.linear(x, bank[1], z, queries[1], seed=seed)["accuracy"]}
  records = [r for r in log.read(workdir / "metrics.jsonl") if "loss" in r]
  result = {"name": name, "seed": seed, "task": task, "viewed": viewed, "downstream": worth,
            "seconds": time.monotonic() - begun,
            "images_per_s": statistics.median(r["images_per_s"] for r in records)}
  checkpoint.write_json(out, result)
  return result


def images(name):
  """(training images, labels, held-out images, labels) of a data set, images as floats in [0, 1]."""
  sets = (data.load(name, limit=10_000, seed=0), data.load(name, split="test", limit=2000))
  (x, y, _), (test_x, test_y, _) = (data.arrays(s) for s in sets)
  return x.astype(np.float32) / 255, y, test_x.astype(np.float32) / 255, test_y


def principal_code(x):
  """PCA of the training images x with as many components as the autoencoder's code."""
  code = config.load(f"{HERE.parent}/configs/autoencoder.py:cifar10").method.code
  return PCA(code, random_state=0).fit(x.reshape(len(x), -1))


def raw(flat, y, test_flat, test_y):
  """{measure: accuracy} of pixels [N, P] as they are."""
  low = principal(flat, test_flat, 128)
  few = evaluate.few_label(low[0], y, low[1], test_y, settings=("10",), seed=0, standardise=False)
  return {"ten": few["10"]["mean"], "knn": evaluate.knn(flat, y, test_flat, test_y),
          "linear": evaluate.linear(low[0], y, low[1], test_y, standardise=False)["accuracy"]}


def pixels(path):
  """Raw pixels' accuracies, Fashion-MNIST's in "fashion", and baselines of reconstruction, which need no training."""
  x, y, test_x, test_y = images(f"folder:{path}")
  flat, test_flat = x.reshape(len(x), -1), test_x.reshape(len(test_x), -1)
  pca = principal_code(x)
  z, test_z = pca.transform(flat), pca.transform(test_flat)
  near, hidden = nearest(x, test_x, hidden_square()), hidden_square()
  other, other_y, test_other, test_other_y = images("fashion_mnist")
  return {**raw(flat, y, test_flat, test_y),
          "fashion": raw(other.reshape(len(other), -1), other_y, test_other.reshape(len(test_other), -1), test_other_y),
          "PCA": float(np.mean((pca.inverse_transform(test_z) - test_flat) ** 2)),
          "PCA, kNN": evaluate.knn(z, y, test_z, test_y),
          "nearest neighbour": float(np.mean((x[near] - test_x)[:, hidden] ** 2))}


def hidden_square():
  """[H, W], True in the square that the context encoder paints."""
  method = methods.make("context_encoder", encoders.make("resnet10"), aug=PLAIN)
  return np.asarray(method.views(jax.random.key(0), {"image": jnp.zeros((1, 32, 32, 3), jnp.uint8)})["hidden"][0, 0])


def nearest(x, test_x, hidden):
  """For each test image the training image that is nearest to it where it is seen [N], by squared distance."""
  seen = np.flatnonzero(~hidden.ravel())
  a, b = (v.reshape(len(v), -1, v.shape[-1])[:, seen].reshape(len(v), -1) for v in (x, test_x))
  return np.argmin((a**2).sum(1)[None] - 2 * b @ a.T, 1)


def many(values, form, digits):
  """Their mean, and deviation if there are several."""
  return form.format(statistics.fmean(values)) + (f" ± {statistics.stdev(values):{digits}}" if len(values) > 1 else "")


def row(name, mine, base):
  """A run's line: its results over seeds, beside what it is compared with."""
  _, _, metric, against = RUNS[name]
  reached, other, note = [r["task"][metric] for r in mine], against, ""
  if metric == "perceptual":                                 # in units of each seed's own judge
    reached, other, note = [r["task"][metric] / r["task"][against] for r in mine], 1.0, "bicubic "
  elif isinstance(against, str):
    note = "" if against in mine[0]["task"] else f"{against} "
    other = statistics.fmean(r["task"][against] for r in mine) if not note else base[against]
  cells = []
  for m in MEASURES:
    cells.append(f"{statistics.fmean(100 * r['downstream']['encoder'][m] for r in mine):.1f}")
    cells.append(many([100 * (r["downstream"]["encoder"][m] - r["downstream"]["random"][m]) for r in mine], "{:+.1f}",
                      ".1f"))
  steps = LONGER.get(name, 300)
  seconds = statistics.fmean(steps * 128 / r["images_per_s"] for r in mine)
  metric += " (less is better)" if metric in SMALLER else ""
  cells = [name, len(mine), f"{steps:,}", f"{seconds:.0f}", metric, many(reached, "{:.3g}", ".2g"),
           f"{note}{other:.3g}", *cells]
  return f"| {' | '.join(map(str, cells))} |"


def table(rows, base):
  """The results as Markdown."""
  out = ["# Pretext tasks on 10,000 images", "",
         "`python experiments/pretext.py --data $DATA/cifar10`: ResNet-10 at width 8, steps of 128, seconds on one CPU",
         "core; mean and deviation over seeds. The task is measured on 2,000 held-out images as they are; beside it",
         "is chance, or the baseline named; *perceptual* is over bicubic's, in features of each seed's rotation run.",
         "Logistic regression on ten labels a class, kNN (k = 20) and a linear probe with all 10,000 labels, on the",
         "same 2,000 images, so with a sampling deviation of 1.1 points; *gain* is over the same encoder at random",
         "initialisation, seed by seed. Rows of unlike length are not to be ranked. A gain within its deviation is",
         "none: these are minutes of training, and puzzles learn their task before they learn what helps to classify.",
         "*transform* is of two views with crops and colours of their own; *of one view* is the paper's form.",
         "Super-resolution needs what lies next to a pixel, not what an image shows: it gains nothing here, four times",
         "as many steps later either."]
  for title, fashion in (("CIFAR-10", False), ("Fashion-MNIST", True)):
    of = [r for r in rows if r["name"].endswith("fashion") == fashion]
    plain = base["fashion"] if fashion else base
    out += ["", f"## {title}", "", "| run | seeds | steps | seconds | held-out metric | it reaches | to compare "
            "| ten labels | gain | kNN | gain | linear | gain |", "|" + "---|" * 13]
    out += [row(n, mine, base) for n in RUNS if (mine := [r for r in of if r["name"] == n])]
    first = [r["downstream"]["random"] for r in of if r["name"] == of[0]["name"]]
    for name, value in (("random encoder", {m: statistics.fmean(r[m] for r in first) for m in MEASURES}),
                        ("raw pixels", plain)) + (() if fashion else (("PCA's code", {"knn": base["PCA, kNN"]}),)):
      out.append(f"| *{name}* | | | | | | | " + " | | ".join(
          f"{100 * value[m]:.1f}" if m in value else "" for m in MEASURES) + " | |")
  out += ["", "## All that is measured on held-out images", "", "| run | metrics |", "|---|---|"]
  for name in RUNS:
    mine = [r["task"] for r in rows if r["name"] == name]
    if mine:
      out.append(f"| {name} | " + ", ".join(f"{k} {statistics.fmean(t[k] for t in mine):.3g}" for k in mine[0]) + " |")
  return "\n".join(out) + "\n"


MAPS = [("transform, of one view", "view", "transform"), ("transform, of one view", "transformed", "transformed"),
        ("transform, of one view", "as predicted", "predicted")]
SHEETS = {                                                   # file: [(run, which of its pictures, title)]
    "autoencoder": [("autoencoder", "original", "original"), ("PCA", "", "PCA"),
                    ("autoencoder", "output", "autoencoder"), ("autoencoder, masked", "input", "masked"),
                    ("autoencoder, masked", "output", "its output")],
    "inpainting": [("context_encoder", "input", "input"), ("nearest", "", "nearest\nneighbour"),
                   ("context_encoder, l2", "output", "l2"), ("context_encoder, adversarial", "output", "adversarial"),
                   ("context_encoder", "output", "joint"), ("original", "", "original")],
    "colorization": [("colorization", "input", "input"), ("colorization", "output", "classes"),
                     ("colorization, l2", "output", "l2"), ("original", "", "original")],
    "super_resolution": [("super_resolution", "input", "input"), ("super_resolution", "bicubic", "bicubic"),
                         ("super_resolution, l2", "output", "l2"), ("super_resolution", "output", "joint"),
                         ("original", "", "original"), ("super_resolution, l2 x4", "input", "input, x4"),
                         ("super_resolution, l2 x4", "bicubic", "bicubic"),
                         ("super_resolution, l2 x4", "output", "l2")],
    "puzzles": [("rotation", "turned", "rotation"), ("rotation", "turned back as predicted", "turned back"),
                ("patch_position", "pair", "patches"), ("patch_position", "as predicted", "predicted"),
                ("jigsaw, positions", "puzzle", "jigsaw"), ("jigsaw, positions", "as predicted", "predicted"),
                *MAPS],
    "transform": [("transform", picture, title) for _, picture, title in MAPS]}


def pictures(path, runs, count=8):
  """A sheet of held-out images for each family, by the runs of seed 0."""
  x, _, test_x, _ = images(f"folder:{path}")
  test_x = test_x[::len(test_x) // count][:count]
  shown = {"original": {"": test_x}, "nearest": {"": painted(x, test_x)}}
  pca = principal_code(x)
  shown["PCA"] = {"": pca.inverse_transform(pca.transform(test_x.reshape(count, -1))).reshape(test_x.shape)}
  for name in RUNS.keys() & {run for columns in SHEETS.values() for run, *_ in columns}:
    if (workdir_of(runs, name, 0) / "pretext.json").exists():
      method, params, state = restored(name, path, runs, 0)
      shown[name] = method.show(params, state, jax.jit(method.views)(jax.random.key(1), {"image": test_x}))
  for file, columns in SHEETS.items():
    columns = [(title, shown[run][picture]) for run, picture, title in columns if run in shown]
    if columns:
      sheet(columns, HERE / "results" / f"pretext_{file}.png")


def painted(x, test_x):
  """Test images with what is hidden taken from the training image that is nearest where they are seen."""
  hidden = hidden_square()
  return np.where(hidden[..., None], x[nearest(x, test_x, hidden)], test_x)


def sheet(columns, out):
  """A picture of titled columns of images [N, H, W, C] in [0, 1]."""
  import matplotlib
  matplotlib.use("Agg")
  import matplotlib.pyplot as plt
  rows, form = len(columns[0][1]), columns[0][1].shape[2] / columns[0][1].shape[1]
  wide = 1.1 * min(max(form, 1), 3)
  figure, axes = plt.subplots(rows, len(columns), figsize=(wide * len(columns), wide / form * rows + 0.4),
                              squeeze=False, layout="constrained")
  for ax, (title, images_) in zip(axes.T, columns, strict=True):
    ax[0].set_title(title, fontsize=8)
    for cell, image in zip(ax, images_, strict=True):
      cell.imshow(np.clip(image, 0, 1), interpolation="nearest")
      cell.set_axis_off()
  figure.savefig(out, dpi=100)
  plt.close(figure)


def collect(path, runs):
  """Writes the table and the pictures."""
  rows = [json.loads(f.read_text()) for f in sorted(pathlib.Path(runs).glob("*/seed*/pretext.json"))]
  if not rows:
    raise SystemExit(f"no finished run in {runs}")
  base = pathlib.Path(runs) / "pixels.json"
  if not base.exists():
    checkpoint.write_json(base, pixels(path))
  base = json.loads(base.read_text())
  rows.sort(key=lambda r: (list(RUNS).index(r["name"]), r["seed"]))
  checkpoint.write_json(HERE / "results" / "pretext.json", {"budget": BUDGET, "runs": rows, "pixels": base})
  checkpoint.write_text(HERE / "results" / "pretext.md", table(rows, base))
  print(table(rows, base))
  pictures(path, runs)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/pretext")
  p.add_argument("--names", nargs="+", default=MAIN, choices=RUNS, metavar="NAME",
                 help=f"of {'; '.join(RUNS)} (default: those without a comma; super_resolution needs rotation's run)")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  path = str(pathlib.Path(args.data).resolve())
  if not args.table:
    for seed in args.seeds:
      for name in args.names:
        r = run(name, path, args.runs, seed)
        metric = RUNS[name][2]
        print(f"{name:<28} seed {seed}  " + "  ".join(f"{k} {v:.4g}" for k, v in r["task"].items() if metric in k)
              + "  " + "  ".join(f"{m} {r['downstream']['encoder'][m]:.3f} (random {r['downstream']['random'][m]:.3f})"
                                 for m in MEASURES) + f"  {r['seconds']:.0f} s", flush=True)
  collect(path, args.runs)


if __name__ == "__main__":
  main()
