"""Methods that hide patches, on 10,000 CIFAR-10 images under one budget: what their ViT is worth frozen and fine-tuned.

  python experiments/masked.py --data $DATA/cifar10 --runs runs/masked             # goes on where it stopped
  python experiments/masked.py --data $DATA/cifar10 --runs runs/masked --names mae ibot --seeds 0
  python experiments/masked.py --data $DATA/cifar10 --runs runs/masked --table     # from what is there

$DATA/cifar10 holds {train,test}/CLASS/*.jpg. Each method has the hyperparameters of configs/METHOD.py:cifar10; encoder,
batch and steps are the same for all. Figures and pictures of held-out images go to experiments/results/masked*. A
finished run is not made again: remove its folder when its config has changed.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics

import jax
import numpy as np
import optax
from pretext import PLAIN, many, sheet

from sslx import augment, checkpoint, config, data, evaluate, heads, log, methods, optim, train
from sslx.methods import base

HERE = pathlib.Path(__file__).parent
NAMES = ("mae", "simmim", "data2vec", "ijepa", "ibot", "dinov2")
STEPS, BATCH = 2700, 64
OWN = {"data2vec": ["--config.method.top=3"]}              # of the four blocks
BUDGET = ["--config.encoder.width=96", "--config.encoder.depth=4", "--config.total_epochs=0",
          f"--config.total_steps={STEPS}", f"--config.checkpoint.every={STEPS}", f"--config.batch_size={BATCH}",
          "--config.log.every=10", "--config.online_probe=False"]
TUNING = {"steps": 600, "batch": 64, "lr": 1e-3, "weight_decay": 0.05, "warmup": 0.1}
MEASURES = {"knn": "kNN", "linear": "linear probe", "tuned": "fine-tuned"}


def workdir_of(runs, name, seed):
  return pathlib.Path(runs) / name / f"seed{seed}"


def configured(name, path, seed):
  return config.override(config.load(f"{HERE.parent}/configs/{name}.py:cifar10"), [
      *BUDGET, *OWN.get(name, ()), f"--config.data.name=folder:{path}", f"--config.seed={seed}"])


def sets(path, seed):
  """(training images [N, H, W, C] uint8, labels [N], held-out images, labels)."""
  (x, y, _), (test_x, test_y, _) = (data.arrays(data.load(f"folder:{path}", split=s, limit=n, seed=seed))
                                    for s, n in (("train", 10_000), ("test", 2000)))
  return x, y, test_x, test_y


def worth(encoder, x, y, test_x, test_y, seed):
  """{measure: accuracy on held-out images}: of frozen features, and of all layers after fine-tuning."""
  features, test_features = evaluate.embed(encoder, x), evaluate.embed(encoder, test_x)
  return {"knn": evaluate.knn(features, y, test_features, test_y),
          "linear": evaluate.linear(features, y, test_features, test_y, seed=seed)["accuracy"],
          "tuned": tuned(encoder, x, y, test_x, test_y, seed)}


def tuned(encoder, x, y, test_x, test_y, seed):
  """Held-out accuracy of the encoder with a linear classifier after supervised steps of all layers."""
  net = base.Network(encoder.module, heads.MLP((int(y.max()) + 1,)))
  params, _ = base.init(net, jax.random.key(seed), jax.ShapeDtypeStruct((1, *encoder.shape), float))
  params = {"net": params | {"encoder": encoder.variables["params"]}}
  c = config.default().optim
  c.name, c.lr, c.weight_decay, c.warmup = "adamw", TUNING["lr"], TUNING["weight_decay"], TUNING["warmup"]
  tx, aug = optim.make(c, TUNING["steps"], TUNING["batch"]), augment.recipes.mae(scale=(0.5, 1.0))

  @jax.jit
  def step(params, opt, rng, image, label):
    def loss(params):
      logits = net.apply({"params": params["net"]}, aug(rng, image), train=True)
      return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
    updates, opt = tx.update(jax.grad(loss)(params), opt, params)
    return optax.apply_updates(params, updates), opt

  draw, opt = np.random.default_rng(seed), tx.init(params)
  for i in range(TUNING["steps"]):
    rows = draw.choice(len(x), TUNING["batch"], replace=False)
    params, opt = step(params, opt, jax.random.key(i), x[rows], y[rows])
  features = evaluate.embed(dataclasses.replace(encoder, variables={"params": params["net"]["encoder"]}), test_x)
  logits = net.head.apply({"params": params["net"]["head"]}, features)
  return float(np.mean(np.argmax(logits, -1) == test_y))


def random_of(runs, encoder, sets_, seed):
  """The figures of the same encoder at random initialisation, which methods of one encoder share."""
  out = pathlib.Path(runs) / f"random_{encoder.module.pool}" / f"seed{seed}" / "masked.json"
  if not out.exists():
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(out, worth(checkpoint.random_encoder(encoder), *sets_, seed))
  return json.loads(out.read_text())


def run(name, path, runs, seed):
  """Pretrains one, unless that was done before, and returns its figures."""
  workdir = workdir_of(runs, name, seed)
  out = workdir / "masked.json"
  if out.exists():
    return json.loads(out.read_text())
  encoder = train.train(configured(name, path, seed), workdir)
  records = [r for r in log.read(workdir / "metrics.jsonl") if "loss" in r]
  rate, sets_ = statistics.median(r["images_per_s"] for r in records), sets(path, seed)
  held_out = data.load(f"folder:{path}", split="test", limit=2000)
  result = {"method": name, "seed": seed, "pool": encoder.module.pool, "images_per_s": rate,
            "task": evaluate.pretext(*restored(name, path, runs, seed, {}), held_out, batch_size=200),
            "encoder": worth(encoder, *sets_, seed), "random": random_of(runs, encoder, sets_, seed)}
  checkpoint.write_json(out, result)
  return result


def restored(name, path, runs, seed, options=None):
  """(the Method, its params, its state) of a finished run: on images as they are, or with other options."""
  c = configured(name, path, seed)
  encoder, _ = train.build(c)
  method, known = methods.split(c.method)
  saved = checkpoint.Checkpoints(workdir_of(runs, name, seed), create=False)
  try:
    _, tree = saved.restore_plain()
  finally:
    saved.close()
  made = methods.make(method, encoder, **known | ({"aug": PLAIN} if options is None else options))
  return made, tree["params"], tree["state"]


def table(rows):
  """The results as Markdown."""
  out = ["# Masked and predictive methods on 10,000 CIFAR-10 images", "",
         "`python experiments/masked.py --data $DATA/cifar10`: a ViT of width 96, depth 4, 4 heads, patches of 4;",
         f"{STEPS:,} steps of {BATCH} for each method, {STEPS * BATCH / 10_000:.0f} epochs.",
         "Mean and deviation over seeds, on 2,000 held-out images (sampling deviation 1.1 points). kNN (k = 20) and a",
         f"linear probe read the frozen representation; fine-tuned is after {TUNING['steps']} supervised steps of "
         f"{TUNING['batch']} of all layers.",
         "*Gain* is over the same encoder at random initialisation, treated alike, seed by seed: fine-tuned, that is",
         "training from scratch. A gain within its deviation, or of one seed, of about a point, is none.",
         "Minutes: pretraining, on a shared CPU core; papers have 800 epochs of ImageNet, so this is no ranking.",
         "In pictures of normalised targets, mean and contrast of hidden patches are the image's, not predicted.", "",
         f"| method | seeds | minutes | {' | '.join(f'{n} | gain' for n in MEASURES.values())} |",
         "|" + "---|" * (3 + 2 * len(MEASURES))]
  percent = lambda values, form: many([100 * v for v in values], form, ".1f")
  for name in NAMES:
    mine = [r for r in rows if r["method"] == name]
    if mine:
      cells = [name, len(mine), f"{statistics.fmean(STEPS * BATCH / r['images_per_s'] / 60 for r in mine):.1f}"]
      for m in MEASURES:
        cells += [percent([r["encoder"][m] for r in mine], "{:.1f}"),
                  percent([r["encoder"][m] - r["random"][m] for r in mine], "{:+.1f}")]
      out.append(f"| {' | '.join(map(str, cells))} |")
  for pool in sorted({r["pool"] for r in rows}):
    mine = list({r["seed"]: r["random"] for r in rows if r["pool"] == pool}.values())
    note = "mean of patches" if pool == "mean" else "class token"
    out.append(f"| *random encoder, {note}* | {len(mine)} | | "
               + " | ".join(f"{percent([r[m] for r in mine], '{:.1f}')} | " for m in MEASURES) + "|")
  out += ["", "## The task on held-out images", "", "| method | metrics |", "|---|---|"]
  for name in NAMES:
    mine = [r["task"] for r in rows if r["method"] == name]
    if mine:
      out.append(f"| {name} | {', '.join(f'{k} {statistics.fmean(t[k] for t in mine):.3g}' for k in mine[0])} |")
  return "\n".join(out) + "\n"


def pictures(path, runs, count=8):
  """For each method with a run of seed 0 a sheet of what it shows of held-out images."""
  x = sets(path, 0)[2]
  x = x[::len(x) // count][:count]
  for name in NAMES:
    if (workdir_of(runs, name, 0) / "masked.json").exists():
      made, params, state = restored(name, path, runs, 0)
      shown = made.show(params, state, jax.jit(made.views)(jax.random.key(1), {"image": x}))
      sheet([(k, v) for k, v in shown.items() if v.ndim == 4],
            HERE / "results" / f"masked_{workdir_of(runs, name, 0).parent.name}.png")


def collect(path, runs):
  """Writes the table and the pictures."""
  folders = [workdir_of(runs, name, 0).parent for name in NAMES]
  rows = [json.loads(f.read_text()) for folder in folders for f in sorted(folder.glob("seed*/masked.json"))]
  if not rows:
    raise SystemExit(f"no finished run in {runs}")
  checkpoint.write_json(HERE / "results" / "masked.json", {
      "budget": BUDGET, "steps": STEPS, "tuning": TUNING, "runs": rows})
  checkpoint.write_text(HERE / "results" / "masked.md", table(rows))
  print(table(rows))
  pictures(path, runs)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/masked")
  p.add_argument("--names", nargs="+", default=NAMES, choices=NAMES, metavar="NAME",
                 help=f"of {'; '.join(NAMES)} (default: all)")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  path = str(pathlib.Path(args.data).resolve())
  if not args.table:
    for seed in args.seeds:
      for name in args.names:
        r = run(name, path, args.runs, seed)
        print(f"{name:<12} seed {seed}  " + "  ".join(f"{m} {r['encoder'][m]:.3f} (random {r['random'][m]:.3f})"
                                                       for m in MEASURES), flush=True)
  collect(path, args.runs)


if __name__ == "__main__":
  main()
