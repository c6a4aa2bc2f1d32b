"""Methods on 10,000 CIFAR-10 images: kNN accuracy beside that of the same encoder at random initialisation.

  python experiments/cifar10.py --data $DATA/cifar10 --runs runs/cifar10 --methods simclr byol dino vicreg --seeds 0
  python experiments/cifar10.py --data $DATA/cifar10 --methods simclr --seeds 0 1 --peer lightly_seed0.json
  python experiments/cifar10.py --data $DATA/cifar10 --encoder resnet10 --width 8 --epochs 8

$DATA/cifar10 holds {train,test}/CLASS/*.jpg; a peer's files come from experiments/peers/lightly_simclr.py. A run that
was stopped goes on; a finished one is added to experiments/results/cifar10.{json,md}, in place of the same one before.
"""

import argparse
import json
import os
import pathlib
import statistics

from sslx import checkpoint, config, data, evaluate, log, train

HERE = pathlib.Path(__file__).parent
FIRST = "resnet18, width 16"                               # the encoder of the configs
RESULTS = HERE / "results" / "cifar10.json"


def run(method, path, workdir, seed, epochs, encoder, width):
  """Pretrains one seed and returns its figures."""
  c = config.override(config.load(f"{HERE.parent}/configs/{method}.py:cifar10"), [
      f"--config.encoder.name={encoder}", f"--config.encoder.width={width}",
      f"--config.data.name=folder:{path}", f"--config.seed={seed}", f"--config.total_epochs={epochs}",
      "--config.online_probe=False"])
  kept = train.train(c, workdir)
  bank = data.arrays(data.load(f"folder:{path}", limit=c.data.limit, seed=seed))
  queries = data.arrays(data.load(f"folder:{path}", split="test"), limit=2000)
  knn = lambda e: evaluate.knn(evaluate.embed(e, bank[0]), bank[1], evaluate.embed(e, queries[0]), queries[1])
  records = [r for r in log.read(f"{workdir}/metrics.jsonl") if "loss" in r]
  return {"library": "sslx", "method": method, "seed": seed, "epochs": epochs, "knn": knn(kept),
          "knn_random": knn(checkpoint.random_encoder(kept)), "encoder": f"{encoder}, width {width}",
          "images_per_s": statistics.median(r["images_per_s"] for r in records),
          "seconds": sum(c.log.every * c.batch_size / r["images_per_s"] for r in records),
          "final_loss": records[-1]["loss"], "devices": checkpoint.read_json(f"{workdir}/environment.json")["devices"],
          "versions": kept.spec["versions"]}


def peer(path):
  """The figures of a run with lightly."""
  r = json.loads(pathlib.Path(path).read_text())
  return {**r, "library": "lightly (PyTorch)", "method": "simclr", "epochs": float(len(r["epochs"])),
          "history": r["epochs"], "knn_random": r["knn_random_init"], "images_per_s": r["images_per_second"],
          "seconds": r["train_seconds"]}


def table(rows, note):
  """The results as Markdown."""
  lines = ["# 10,000 CIFAR-10 images", "",
           "`python experiments/cifar10.py --data $DATA/cifar10`: batch 256; kNN with k = 20 on 2,000 test images, so",
           "with a sampling deviation of 1.1 points. Seconds are those of training.", "",
           *([note, ""] if note else []),
           "| library | method | encoder | epochs | seed | kNN at random initialisation | kNN | images/s | seconds |",
           "|" + "---|" * 9]
  for r in rows:
    lines.append(f"| {r['library']} | {r['method']} | {r.get('encoder', FIRST)} | {r['epochs']:g} | {r['seed']} | "
                 f"{r['knn_random']:.3f} | **{r['knn']:.3f}** | {r['images_per_s']:.0f} | {r['seconds']:.0f} |")
  return "\n".join(lines) + "\n"


def add(row, note):
  """Puts a row into the results, in place of the same run's before; an empty note leaves that of the page."""
  found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"note": "", "runs": []}
  same = lambda a, b: all(a.get(k, FIRST) == b.get(k, FIRST)
                          for k in ("library", "method", "encoder", "seed", "epochs"))
  found["runs"] = sorted([r for r in found["runs"] if not same(r, row)] + [row],
                         key=lambda r: (r.get("encoder", FIRST) != FIRST, r["method"] != "simclr", r["method"],
                                        r["library"] != "sslx", r["epochs"], r["seed"]))
  found["note"] = note or found["note"]
  checkpoint.write_json(RESULTS, found)
  checkpoint.write_text(RESULTS.with_suffix(".md"), table(found["runs"], found["note"]))


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/cifar10")
  p.add_argument("--methods", nargs="+", default=["simclr", "byol", "dino", "vicreg"])
  p.add_argument("--seeds", type=int, nargs="+", default=[0])
  p.add_argument("--encoder", default="resnet18")
  p.add_argument("--width", type=int, default=16)
  p.add_argument("--epochs", type=float, default=20.0)
  p.add_argument("--peer", nargs="*", default=[], help="result files of a peer")
  p.add_argument("--note", default="", help="a sentence on how it was run, for the page")
  args = p.parse_args()
  for path in args.peer:
    add(peer(path), args.note)
  for seed in args.seeds:
    for method in args.methods:
      workdir = f"{args.runs}/{args.encoder}_{args.width}/{method}{args.epochs:g}_seed{seed}"
      add(run(method, os.path.abspath(args.data), workdir, seed, args.epochs, args.encoder, args.width), args.note)
  print(RESULTS.with_suffix(".md").read_text())


if __name__ == "__main__":
  main()
