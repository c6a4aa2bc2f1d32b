"""Pretraining that goes on from imported weights, step by step beside the encoder that it started from.

  python experiments/continued.py                                           # digits: 10 minutes on one core
  python experiments/continued.py --data fashion_mnist --size 14
  python experiments/continued.py --data folder:$DATA/cifar10 --size 16 --width 16
  python experiments/continued.py --first-data fashion_mnist --size 8       # digits, from an encoder of clothes

SimCLR trains an encoder for a few steps, so that there is room above it; `sslx export --to timm` writes it and `sslx
import` reads it as anybody's file, without our record: the features are the same. From there each method goes on for a
short run with fresh heads: the encoder is held for a tenth of it while they warm up (init_frozen), then climbs to a
share of their rate (init_rate). kNN (k = 20) at every tenth is compared with that of the encoder it started from. The
results go to experiments/results/continued.{json,md}.
"""

import argparse
import json
import pathlib

import numpy as np

import sslx
from sslx import checkpoint, config, data, evaluate, log, train

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "continued.json"
METHODS = ("simclr", "byol", "dino", "vicreg")


def settings(args, method, *more, data=None):
  """The config of a run on the chosen data, or on others."""
  c = config.load(f"{HERE.parent}/configs/{method}.py:{'cifar10' if args.data.startswith('folder') else 'digits'}")
  own = [f"--config.data.name={data or args.data}", f"--config.data.size={args.size}", "--config.data.limit=10000",
         "--config.total_epochs=0"]
  shape = [f"--config.encoder.name={args.encoder}", f"--config.encoder.width={args.width}",
           f"--config.total_steps={args.first}"]
  return config.override(c, [*own, *([] if more else shape), "--config.online_probe=False", *more])


def start(args, runs):
  """(the encoder that SimCLR trained, the same one after timm's layout and back)."""
  first = train.train(settings(args, "simclr", data=args.first_data), runs / "first")
  sslx.export_weights(runs / "first", "timm", runs / "timm.safetensors")
  arrays = checkpoint.read_safetensors(runs / "timm.safetensors")[0]
  np.savez(runs / "anybody.npz", **arrays)                  # without our record
  options = {k: first.spec["encoder"][k] for k in ("width", "mean", "std")}
  back = sslx.import_weights(runs / "anybody.npz", runs / "imported", source="timm", encoder=args.encoder,
                             size=first.shape[0], options=options)
  return first, back


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", default="digits", help="name of a data set, such as folder:PATH (default: digits)")
  p.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/continued"))
  p.add_argument("--size", type=int, default=0, help="side in pixels (default: as they are)")
  p.add_argument("--encoder", default="resnet10")
  p.add_argument("--width", type=int, default=8)
  p.add_argument("--first", type=int, default=60, help="steps of the first run")
  p.add_argument("--first-data", help="of the first run (default: the same)")
  p.add_argument("--steps", type=int, default=200, help="of the runs that go on")
  p.add_argument("--rate", type=float, default=0.1, help="init_rate (default: 0.1)")
  p.add_argument("--methods", nargs="+", default=METHODS)
  args = p.parse_args()
  args.runs.mkdir(parents=True, exist_ok=True)
  first, back = start(args, args.runs)
  bank = data.arrays(data.load(args.data, size=args.size, limit=10_000))
  queries = data.arrays(data.load(args.data, size=args.size, split="test"), limit=2000)
  features = [[evaluate.embed(e, x[0]) for x in (bank, queries)] for e in (first, back)]
  assert all(np.array_equal(a, b) for a, b in zip(*features, strict=True)), "the way out and back changed the features"
  base = evaluate.knn(features[1][0], bank[1], features[1][1], queries[1])
  print(f"kNN of the encoder, as of its import: {base:.4f}", flush=True)
  for method in args.methods:
    c = settings(args, method, f"--config.init={args.runs}/imported", f"--config.total_steps={args.steps}",
                 "--config.total_epochs=0", f"--config.init_frozen={args.steps // 10}",
                 f"--config.init_rate={args.rate}", f"--config.evaluate.every={args.steps // 10}",
                 "--config.evaluate.protocols=knn", "--config.evaluate.train=10000", "--config.evaluate.test=2000")
    workdir = args.runs / f"{method}_{args.rate:g}"
    train.train(c, workdir)
    found = [(r["step"], r["knn"]) for r in log.read(workdir / "metrics.jsonl") if "knn" in r]
    steps, values = zip(*found, strict=True)
    row = {"data": f"{args.data.rpartition('/')[2]}, {first.shape[0]} pixels",
           "encoder": f"{args.encoder}, width {args.width}" + (f", of {args.first_data}" if args.first_data else ""),
           "method": method, "rate": args.rate, "start": base, "steps": steps, "knn": values, "test": len(queries[1])}
    print(json.dumps(row), flush=True)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    same = lambda a: all(a[k] == row[k] for k in ("data", "encoder", "method", "rate"))
    found = [r for r in found if not same(r)] + [row]
    checkpoint.write_json(RESULTS, found)
    checkpoint.write_text(RESULTS.with_suffix(".md"), table(found))


def table(rows):
  """The results as Markdown."""
  lines = ["# Pretraining that goes on", "",
           "`python experiments/continued.py`: SimCLR's encoder after a few steps, out to timm's layout and in again",
           "with equal features, and then pretrained further: kNN (k = 20) at each tenth of the run. In the first one",
           "the encoder is held while the heads warm up (`init_frozen`), in the second its rate climbs to a share of",
           "theirs (`init_rate`, the column). The last column counts test images: a standard error of kNN is 4.8 of",
           "the digits', 19 of Fashion-MNIST's (`--data fashion_mnist --size 14`, 10,000 training images) and 22 of",
           "CIFAR-10's (`--data folder:$DATA/cifar10 --size 16 --width 16`). Where the encoder is one *of* other data",
           "(`--first-data fashion_mnist --size 8`), there is room above it; where it knows its data already, kNN",
           "stays about where it was.",
           "",
           "| data | encoder | method | rate | as imported | at each tenth | lowest | last | most below the import |",
           "|" + "---|" * 9]
  for r in rows:
    below = max(0, round((r["start"] - min(r["knn"])) * r["test"]))
    lines.append(f"| {r['data']} | {r['encoder']} | {r['method']} | {r['rate']:g} | {r['start']:.3f} | "
                 f"{', '.join(f'{v:.3f}' for v in r['knn'])} | **{min(r['knn']):.3f}** | **{r['knn'][-1]:.3f}** | "
                 + (f"{below} of {r['test']} |" if below else "never |"))
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  main()
