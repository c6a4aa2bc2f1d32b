"""SimCLR on 10,000 CIFAR-10 images, ResNet-18 at width 16, 20 epochs: kNN accuracy, beside lightly's where given.

  python experiments/cifar10_simclr.py --data $DATA/cifar10 --runs runs/cifar10 --seeds 0 1 \
      --peer lightly_seed0.json lightly_seed1.json

$DATA/cifar10 holds {train,test}/CLASS/*.jpg; the peer's files come from experiments/peers/lightly_simclr.py. Runs that
were stopped go on; results go to experiments/results/cifar10_simclr.{json,md}.
"""

import argparse
import json
import os
import pathlib
import statistics

from sslx import checkpoint, config, data, evaluate, log, train

HERE = pathlib.Path(__file__).parent


def run(path, workdir, seed):
  """Pretrains one seed and returns its figures."""
  c = config.override(config.load(f"{HERE.parent}/configs/simclr.py:cifar10"), [
      f"--config.data.name=folder:{path}", f"--config.seed={seed}", "--config.online_probe=False"])
  encoder = train.train(c, workdir)
  bank = data.arrays(data.load(f"folder:{path}", limit=c.data.limit, seed=seed))
  queries = data.arrays(data.load(f"folder:{path}", split="test"), limit=2000)
  knn = lambda e: evaluate.knn(evaluate.embed(e, bank[0]), bank[1], evaluate.embed(e, queries[0]), queries[1])
  records = [r for r in log.read(f"{workdir}/metrics.jsonl") if "loss" in r]
  rate = statistics.median(r["images_per_s"] for r in records)
  return {"seed": seed, "knn": knn(encoder), "knn_random": knn(checkpoint.random_encoder(encoder)),
          "images_per_s": rate, "seconds": sum(c.log.every * c.batch_size / r["images_per_s"] for r in records),
          "final_loss": records[-1]["loss"], "devices": checkpoint.read_json(f"{workdir}/environment.json")["devices"],
          "versions": encoder.spec["versions"]}


def table(ours, peers, note=""):
  """The results as Markdown."""
  lines = ["# SimCLR on 10,000 CIFAR-10 images", "",
           "`python experiments/cifar10_simclr.py --data $DATA/cifar10`: ResNet-18 at width 16, batch 256, 20 epochs;",
           "kNN with k = 20 on 2,000 test images.", "", *([note, ""] if note else []),
           "| library | seed | kNN at random initialisation | kNN after 20 epochs | images/s | seconds |",
           "|" + "---|" * 6]
  for name, rows in (("sslx", ours), ("lightly (PyTorch)", peers)):
    for r in rows:
      lines.append(f"| {name} | {r['seed']} | {r['knn_random']:.3f} | {r['knn']:.3f} | {r['images_per_s']:.0f} | "
                   f"{r['seconds']:.0f} |")
    if rows:
      lines.append(f"| {name} | mean | {statistics.fmean(r['knn_random'] for r in rows):.3f} | "
                   f"**{statistics.fmean(r['knn'] for r in rows):.3f}** | | |")
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/cifar10")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
  p.add_argument("--peer", nargs="*", default=[], help="result files of the peer")
  p.add_argument("--note", default="", help="a sentence on how it was run, for the page")
  args = p.parse_args()
  ours = [run(os.path.abspath(args.data), f"{args.runs}/seed{s}", s) for s in args.seeds]
  peers = [json.loads(pathlib.Path(f).read_text()) for f in args.peer]
  peers = [{**r, "knn_random": r["knn_random_init"], "images_per_s": r["images_per_second"],
            "seconds": r["train_seconds"]} for r in peers]
  results = HERE / "results"
  results.mkdir(exist_ok=True)
  checkpoint.write_json(results / "cifar10_simclr.json", {"sslx": ours, "lightly": peers})
  checkpoint.write_text(results / "cifar10_simclr.md", table(ours, peers, args.note))
  print(table(ours, peers, args.note))


if __name__ == "__main__":
  main()
