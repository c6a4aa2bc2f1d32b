"""Few labels on CIFAR-10: what pretraining without labels is worth at 1, 10 and 20 percent of them, three draws each.

  python experiments/few_labels.py --data $DATA/cifar10 --runs runs/few_labels         # goes on where it stopped
  python experiments/few_labels.py --data $DATA/cifar10 --runs runs/few_labels --table

$DATA/cifar10 holds {train,test}/CLASS/*.jpg. SimCLR trains one encoder on all training images without labels; each
seed is a draw of labels, the same for all contenders, and the randomness of their training. A seed is finished before
the next begins, and the page is written after each run. Results: experiments/results/few_labels.{md,json,png}.
"""

import argparse
import pathlib
import statistics
import time

import numpy as np
from scipy import sparse
from sklearn.semi_supervised import LabelSpreading
from threadpoolctl import threadpool_limits

from sslx import checkpoint, config, data, evaluate, log, train, transfer
from sslx.evaluate import split
from sslx.transfer import m2

HERE = pathlib.Path(__file__).parent
SHARES = ("1%", "10%", "20%")
SIDE = ["--config.total_epochs=0", "--config.data.limit=0", "--config.data.size=16"]     # pixels: a quarter of the time
PRETRAIN = [*SIDE, "--config.batch_size=256", "--config.log.every=50",
            "--config.encoder.name=resnet10", "--config.encoder.width=16", "--config.online_probe=False",
            "--config.checkpoint.every=250"]
TASK = [*SIDE, "--config.log.every=25"]
TUNED = {  # name: (config, what is set beside TASK, shares)
    "fine-tuned": ("classify", ["--config.batch_size=128", "--config.method.strategy=finetune"], SHARES),
    "from scratch": ("classify", ["--config.batch_size=128", "--config.method.strategy=scratch"], SHARES),
    "linear head by SGD": ("linear_sgd", ["--config.batch_size=128"], SHARES)} | {
        name: ("selftrain", ["--config.batch_size=96", "--config.method.share=0.3333", "--config.data.unlabelled=True",
                             "--config.method.strategy=finetune", *(f"--config.method.{o}" for o in own)], SHARES[:1])
        for name, own in (("self-training, labels alone", ["kind=none"]), ("self-training, entropy", ["kind=entropy"]),
                          ("self-training, FixMatch", ["kind=fixmatch"]),
                          ("self-training, FixMatch from 0.6", ["kind=fixmatch", "threshold=0.6"]))}
NEIGHBOURS, CLAMP = 10, 0.9  # of label spreading: neighbours in the graph, share that neighbours have in a step


def pretrained(args):
  """The workdir of SimCLR's run."""
  workdir = args.runs / "simclr"
  if not (workdir / "encoder").exists():
    c = config.override(config.load(f"{HERE.parent}/configs/simclr.py:cifar10"),
                        [*PRETRAIN, f"--config.data.name=folder:{args.data}", f"--config.total_steps={args.pretrain}"])
    train.train(c, workdir)
  return workdir


def features(args):
  """{"encoder", "random": features of the training and the test set, "labels": theirs}, kept in runs/features.npz."""
  file = args.runs / "features.npz"
  if not file.exists():
    record = checkpoint.load_encoder(pretrained(args))
    sets = [data.load(f"folder:{args.data}", split=s) for s in ("train", "test")]
    found = {}
    for name, encoder in (("encoder", record), ("random", checkpoint.random_encoder(record))):
      for part, source in zip(("train", "test"), sets, strict=True):
        seen = [evaluate.embed(encoder, x["image"]) for x in data.parts(source, 1024)]
        found[f"{name}_{part}"] = np.concatenate(seen)
    checkpoint.write_npz(file, found | {f"labels_{p}": s.labels for p, s in zip(("train", "test"), sets, strict=True)})
  with np.load(file) as f:
    return {name: (f[f"{name}_train"], f[f"{name}_test"]) for name in ("encoder", "random", "labels")}


def graph(queries, bank, own=False):
  """Sparse [M, N]: 1 where a row of the bank [N, D] is near a query [M, D] by the cosine; own: but itself."""
  unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  queries, bank, columns = unit(queries), unit(bank), []
  with threadpool_limits(1):
    for first in range(0, len(queries), 512):
      near = queries[first:first + 512] @ bank.T
      if own:
        near[np.arange(len(near)), first + np.arange(len(near))] = -2
      columns.append(np.argpartition(near, -NEIGHBOURS, 1)[:, -NEIGHBOURS:])
  columns = np.concatenate(columns).ravel()
  return sparse.csr_array((np.ones(len(columns), np.float32), columns, np.arange(len(queries) + 1) * NEIGHBOURS),
                          (len(queries), len(bank)))


def graphs(args, x, test_x):
  """(symmetric graph of the training set [N, N], neighbours of the test set in it [M, N]), kept in runs/."""
  files = [args.runs / f"graph_{part}.npz" for part in ("train", "test")]
  if not files[1].exists():
    near = graph(x, x, own=True)
    sparse.save_npz(files[0], near.maximum(near.T))
    sparse.save_npz(files[1], graph(test_x, x))
  return [sparse.load_npz(f) for f in files]


def linear(args, name, index, seed):
  """Accuracy of a linear head on frozen features, its regularisation by a fifth of the labels."""
  (x, test_x), (y, test_y) = (features(args)[k] for k in (name, "labels"))
  return evaluate.linear(x[index], y[index], test_x, test_y, seed=seed)["accuracy"]


def spread(args, name, index, seed):
  """Accuracy of label spreading (Zhou et al., 2004) over the training set, then to the test images' neighbours."""
  (x, test_x), (y, test_y) = (features(args)[k] for k in (name, "labels"))
  own, other = graphs(args, x, test_x)
  known = np.full(len(y), -1)
  known[index] = y[index]
  model = LabelSpreading(kernel=lambda a, b: own if a is b else other.T, alpha=CLAMP, max_iter=200)
  return float(np.mean(model.fit(x, known).predict(test_x) == test_y))


def generative(args, name, index, seed):
  """Accuracy of M2 on the features, those of the training set without labels among them."""
  (x, test_x), (y, test_y) = (features(args)[k] for k in (name, "labels"))
  known = np.full(len(y), -1)
  known[index] = y[index]
  return float(np.mean(m2.fit(x, known, seed=seed)(test_x).argmax(1) == test_y))


FROZEN = {  # name: (function, whose features)
    "linear head": (linear, "encoder"), "label spreading": (spread, "encoder"), "M2 on the features":
        (generative, "encoder"), "linear head, random encoder": (linear, "random")}


def draw(args, share, seed):
  """The file of the labelled examples, which all contenders take."""
  file = args.runs / f"labelled_{share.removesuffix('%')}_seed{seed}.txt"
  if not file.exists():
    split.write(file, split.labelled(share, data.load(f"folder:{args.data}").labels, seed))
  return file


def where(args, name, share, seed):
  return args.runs / f"{name.replace(', ', '_').replace(' ', '_')}_{share.removesuffix('%')}_seed{seed}"


def run(args, name, share, seed):
  """One contender at one share of the labels and one seed, unless that was done before; its figures."""
  workdir = where(args, name, share, seed)
  if not (workdir / "result.json").exists():
    source, file, begun = pretrained(args), draw(args, share, seed), time.monotonic()
    if name in FROZEN:
      function, encoder = FROZEN[name]
      features(args)
      begun = time.monotonic()                               # the features are there for all
      accuracy = function(args, encoder, split.read(file), seed)
      workdir.mkdir(parents=True, exist_ok=True)
    else:
      task, options, _ = TUNED[name]
      c = transfer.onto(config.load(f"{HERE.parent}/configs/transfer/{task}.py:cifar10"), source)
      c = config.override(c, [*TASK, *options, f"--config.data.name=folder:{args.data}", f"--config.data.labels={file}",
                              f"--config.seed={seed}", f"--config.total_steps={args.steps}",
                              f"--config.checkpoint.every={args.steps}"])
      transfer.transfer(c, workdir, scratch=False)
      found, = checkpoint.read_json(workdir / "transfer.json")["runs"].values()
      accuracy = found["accuracy"]
    checkpoint.write_json(workdir / "result.json", {
        "name": name, "share": share, "seed": seed, "labels": len(split.read(file)), "accuracy": accuracy,
        "seconds": time.monotonic() - begun})
  return checkpoint.read_json(workdir / "result.json")


def followed(args, name, seeds):
  """The share of guesses that a FixMatch contender followed, the mean over its training and the seeds."""
  files = [where(args, name, SHARES[0], seed) / "metrics.jsonl" for seed in seeds]
  return statistics.fmean(r["sure"] for f in files if f.exists() for r in log.read(f) if "sure" in r)


def shares(name):
  return TUNED[name][2] if name in TUNED else SHARES


def summary(rows):
  """{name: {share: (mean, deviation or None, seeds)}} in percent."""
  out = {name: {} for name in (*TUNED, *FROZEN) if any(r["name"] == name for r in rows)}
  for name, found in out.items():
    for share in SHARES:
      values = [100 * r["accuracy"] for r in rows if (r["name"], r["share"]) == (name, share)]
      if values:
        found[share] = (statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))
  return out


def gained(rows):
  """[how far each kind of self-training is above labels alone, over the draws that both have]."""
  found = {(r["name"], r["seed"]): 100 * r["accuracy"] for r in rows if r["name"].startswith("self-training")}
  out, base = [], "self-training, labels alone"
  for name in dict.fromkeys(n for n, _ in found if n != base):
    gains = [v - found[base, seed] for (n, seed), v in found.items() if n == name and (base, seed) in found]
    if len(gains) > 1:
      out.append(f"{name.partition(', ')[2]} {statistics.fmean(gains):+.1f} ± {statistics.stdev(gains):.1f}")
  return out


def table(rows, args):
  """The results as Markdown."""
  cell = lambda v: "" if v is None else f"{v[0]:.1f}" + ("" if v[1] is None else f" ± {v[1]:.1f}")
  labels = {s: {r["labels"] for r in rows if r["share"] == s} for s in SHARES}
  seconds = lambda name: statistics.median(r["seconds"] for r in rows if r["name"] == name)
  seeds = len({r["seed"] for r in rows})
  out = ["# Few labels on CIFAR-10", "",
         "`python experiments/few_labels.py --data $DATA/cifar10`: CIFAR-10 at 16 pixels a side. SimCLR trains",
         f"a ResNet-10 of width 16 for {args.pretrain} steps of 256 on all training images without labels. Test",
         f"accuracy in percent, mean and deviation over {seeds} draws of the labels (and seeds of the",
         "training), of one pretraining; all contenders meet the same draws. Whatever the share, each trained",
         f"contender does {args.steps} steps of 128 images. Self-training has 32 labelled ones among these, and",
         "FixMatch sees the other 96 twice; *labels alone* is the same run with its loss without labels left",
         "out. Learning rates are those of configs/transfer, none was searched for; the linear head by SGD (the",
         "papers' protocol, shortened) takes the best of eight on a tenth of its labels. The linear head finds its",
         f"regularisation on a fifth of the labels it has. Label spreading: {NEIGHBOURS} neighbours by the",
         f"cosine of the frozen features, alpha {CLAMP}, over the training set; a test image takes what its",
         "neighbours there have. M2 (Kingma et al., 2014) models the frozen features, Gaussian, with 32 latent",
         "dimensions, in 2,000 steps; alpha is 10, chosen on the digits' test images. Seconds: the median of a",
         "run on a CPU core that others used, too, without the features'.",
         "", "| contender | " + " | ".join(
             s.replace("%", " %") + (f" ({', '.join(map(str, sorted(labels[s])))} labels)" if labels[s] else "")
             for s in SHARES) + " | seconds |", "|" + "---|" * (2 + len(SHARES))]
  for name, found in summary(rows).items():
    out.append(f"| {name} | {' | '.join(cell(found.get(s)) for s in SHARES)} | {seconds(name):.0f} |")
  names = [n for n in summary(rows) if "FixMatch" in n]
  if names:
    shares_ = (f"{n.partition(', ')[2]} {100 * followed(args, n, {r['seed'] for r in rows}):.1f} %" for n in names)
    out += ["", f"Guesses that were followed in training: {', '.join(shares_)}; the usual threshold is 0.95, which so "
            "short a training hardly reaches."]
  if gains := gained(rows):
    out += ["", f"Self-training beside labels alone, draw by draw, in points: {'; '.join(gains)}."]
  return "\n".join(out) + "\n\n![Accuracy against the share of labels](few_labels.png)\n"


def picture(rows, path):
  """Accuracy against the share of labels, a line a contender; bars are deviations over seeds."""
  import matplotlib
  matplotlib.use("Agg")
  import matplotlib.pyplot as plt
  figure, ax = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
  found = summary(rows)
  for i, (name, values) in enumerate(found.items()):
    at = [float(s.removesuffix("%")) * 1.03 ** (i - len(found) / 2) for s in values]     # beside each other
    ax.errorbar(at, [v[0] for v in values.values()], [v[1] or 0 for v in values.values()], label=name, capsize=2,
                marker="o^sDvPX*"[i % 8], color=f"C{i}", linestyle="-" if len(values) > 1 else "none")
  ax.set_xscale("log")
  ax.set_xticks([float(s.removesuffix("%")) for s in SHARES], SHARES)
  ax.minorticks_off()
  ax.set_xlabel("share of the training labels")
  ax.set_ylabel("test accuracy, percent")
  ax.spines[["top", "right"]].set_visible(False)
  figure.legend(loc="outside right upper", fontsize=8)
  figure.savefig(path, dpi=120)
  plt.close(figure)


def write(rows, args):
  checkpoint.write_json(args.out / "few_labels.json", {"pretrain": args.pretrain, "steps": args.steps, "runs": rows})
  checkpoint.write_text(args.out / "few_labels.md", table(rows, args))
  picture(rows, args.out / "few_labels.png")


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/few_labels", type=pathlib.Path)
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--pretrain", type=int, default=1600, metavar="STEPS", help="of SimCLR (default: 1600)")
  p.add_argument("--steps", type=int, default=300, help="of each contender that trains the encoder (default: 300)")
  p.add_argument("--out", default=HERE / "results", type=pathlib.Path, help="where the page goes")
  p.add_argument("--table", action="store_true", help="only from what is there")
  args = p.parse_args()
  args.data, args.runs = pathlib.Path(args.data).resolve(), args.runs.resolve()
  for folder in (args.runs, args.out):
    folder.mkdir(parents=True, exist_ok=True)
  rows = []
  for seed in args.seeds:
    for name in (*FROZEN, *TUNED):
      for share in shares(name):
        if args.table and not (where(args, name, share, seed) / "result.json").exists():
          continue
        rows.append(run(args, name, share, seed))
        log.say(f"{share} of the labels, seed {seed}, {name}: {rows[-1]['accuracy']:.3f}")
        write(rows, args)
  print((args.out / "few_labels.md").read_text())


if __name__ == "__main__":
  main()
