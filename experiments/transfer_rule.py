"""The rule of thumb of transfer learning, tried: few or many labels, similar or different data, every strategy.

  python experiments/transfer_rule.py --data $DATA/mnist --runs runs/rule         # goes on where it stopped
  python experiments/transfer_rule.py --data $DATA/mnist --runs runs/rule --cells "few, similar" "few, different"
  python experiments/transfer_rule.py --data $DATA/mnist --runs runs/rule --table

SimCLR trains an encoder on Fashion-MNIST without labels. Similar data are Fashion-MNIST again, different ones are
handwritten digits, $DATA/mnist/{train,test}/DIGIT/*.png. The page is written after each run:
experiments/results/transfer_rule.{md,json,png}.
"""

import argparse
import pathlib
import time

import jax

from sslx import checkpoint, config, inputs, log, train, transfer
from sslx.transfer import choice, stages

HERE = pathlib.Path(__file__).parent
SIDE = ["--config.data.size=14", "--config.total_epochs=0"]
PRETRAIN = [*SIDE, "--config.data.name=fashion_mnist", "--config.total_steps=300", "--config.encoder.name=resnet10",
            "--config.encoder.width=16", "--config.online_probe=False"]
TASK = [*SIDE, "--config.total_steps=300", "--config.batch_size=128", "--config.checkpoint.every=300"]
FEW, MANY = ["--config.data.labels=5", "--config.batch_size=50"], ["--config.data.limit=10000"]
STRATEGIES = ("linear", "linear on stage2", "freeze=3", "freeze=2", "freeze=1", "finetune", "copy=3", "copy=2",
              "copy=1", "copy_freeze=3", "copy_freeze=2", "copy_freeze=1", "scratch")
CELLS = {"few, similar": (False, True), "few, different": (False, False), "many, similar": (True, True),
         "many, different": (True, False)}


def pretrained(args):
  """The workdir of SimCLR's run."""
  workdir = args.runs / "simclr"
  if not (workdir / "encoder").exists():
    train.train(config.override(config.load(f"{HERE.parent}/configs/simclr.py:digits"), PRETRAIN), workdir)
  return workdir


def configured(args, cell, strategy):
  """The config of one strategy in one cell."""
  many, similar = CELLS[cell]
  name, _, layer = strategy.partition(" on ")
  c = transfer.onto(config.load(f"{HERE.parent}/configs/transfer/classify.py:digits"), args.runs / "simclr")
  return config.override(c, [
      *TASK, *(MANY if many else FEW), f"--config.data.name={'fashion_mnist' if similar else f'folder:{args.data}'}",
      f"--config.method.strategy={name}", f"--config.method.layer={layer}"])


def run(args, cell, strategy):
  """One strategy in one cell, unless that was done before; its figures."""
  workdir = args.runs / cell.replace(", ", "_") / strategy.replace(" ", "_")
  if not (workdir / "result.json").exists():
    c, begun = configured(args, cell, strategy), time.monotonic()
    found, = transfer.transfer(c, workdir, scratch=False)["runs"].values()
    encoder = checkpoint.load_encoder(workdir)
    still = stages.frozen(c.method.strategy)
    moves = {part: sum(x.size for x in jax.tree.leaves(p)) * (not still(part))
             for part, p in encoder.variables["params"].items()}
    checkpoint.write_json(workdir / "result.json", {
        "cell": cell, "strategy": strategy, "accuracy": found["accuracy"], "error": found["standard_error"],
        "moves": sum(moves.values()), "seconds": time.monotonic() - begun})
  return checkpoint.read_json(workdir / "result.json")


def measured(args, cell):
  """What `--strategy auto` says of a cell, kept in a file: its strategy and the nearness that it measured."""
  file = args.runs / cell.replace(", ", "_") / "auto.json"
  if not file.exists():
    c = configured(args, cell, "linear")
    file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(file, choice.choose(c, inputs.load(c, "train")))
  return checkpoint.read_json(file)


def named(strategy, layer):
  return f"{strategy} on {layer}" if layer else strategy


def table(rows, auto):
  """The results as Markdown."""
  found = {(r["cell"], r["strategy"]): r for r in rows}
  cells = [c for c in CELLS if any(r["cell"] == c for r in rows)]
  rule = {c: named(*choice.decide(*CELLS[c], 4)) for c in cells}
  best = {c: max((r["accuracy"], r["strategy"]) for r in rows if r["cell"] == c) for c in cells}
  out = ["# The rule of thumb", "",
         "`python experiments/transfer_rule.py --data $DATA/mnist`: SimCLR trains a ResNet-10 of width 16 on",
         "Fashion-MNIST at 14 pixels, 300 steps of 256, without labels. Similar data are Fashion-MNIST,",
         "different ones MNIST's digits; few labels are 5 a class, many 10,000 in all. Every strategy does 300",
         "steps of 128, or of the 50 there are, at the learning rate of configs/transfer, which nobody tuned.",
         "Test accuracy in percent on 10,000 images, one seed. Bold: what the rule says; a star: the best of the",
         "cell. `freeze=k` holds the first k of four stages, `copy=k` starts the others at random,",
         "`copy_freeze=k` does both, `scratch` starts all at random.",
         "",
         "| strategy | parameters that move | seconds | " + " | ".join(cells) + " |", "|" + "---|" * (3 + len(cells))]
  for s in STRATEGIES:
    mine = [found[c, s] for c in cells if (c, s) in found]
    if mine:
      text = []
      for c in cells:
        v = f"{100 * found[c, s]['accuracy']:.1f}" if (c, s) in found else ""
        v = f"**{v}**" if v and rule[c] == s else v
        text.append(v + "*" * (best[c][1] == s))
      seconds = sum(r["seconds"] for r in mine) / len(mine)
      out.append(f"| {s} | {mine[0]['moves']:,} + head | {seconds:.0f} | {' | '.join(text)} |")
  out += ["", "| cell | the rule | best | by | `auto` measures | and chooses |", "|" + "---|" * 6]
  for c in cells:
    ruled = found.get((c, rule[c]))
    gap = "" if ruled is None else f"{100 * (best[c][0] - ruled['accuracy']):.1f} points"
    out.append(f"| {c} | {rule[c]} | {best[c][1]} | {gap} | nearness {auto[c]['nearness']:.2f}, "
               f"{auto[c]['labels_per_class']:.0f} labels a class | {named(auto[c]['strategy'], auto[c]['layer'])} |")
  return "\n".join([*out, "", "![Accuracy over the stages that are copied](transfer_rule.png)"]) + "\n"


def picture(rows, path):
  """Accuracy over k of copy=k, from 0 (scratch) to all (finetune), and of copy_freeze=k (linear)."""
  import matplotlib
  matplotlib.use("Agg")
  import matplotlib.pyplot as plt
  figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
  for cell, marker, color in zip(CELLS, "os^v", ("C0", "C1", "C2", "C3"), strict=True):
    mine = {r["strategy"]: r for r in rows if r["cell"] == cell}
    for kind, whole, line, label in (("copy", "finetune", "-", cell), ("copy_freeze", "linear", ":", None)):
      order = ("scratch", *(f"{kind}={k}" for k in (1, 2, 3)), whole)
      at = [i for i, s in enumerate(order) if s in mine]
      ax.errorbar(at, [100 * mine[order[i]]["accuracy"] for i in at], [100 * mine[order[i]]["error"] for i in at],
                  marker=marker, capsize=2, label=label, color=color, linestyle=line)
  ax.set_xticks(range(5), ("none\n(scratch)", "1", "2", "3", "all\n(finetune, linear)"))
  ax.set_xlabel("stages that are copied, and trained (lines) or frozen (dots); the rest start at random")
  ax.set_ylabel("test accuracy, percent")
  ax.spines[["top", "right"]].set_visible(False)
  ax.legend(fontsize=8)
  figure.savefig(path, dpi=120)
  plt.close(figure)


def collect(args):
  """Writes the page from all runs that are there."""
  files = [args.runs / c.replace(", ", "_") / s.replace(" ", "_") / "result.json" for c in CELLS for s in STRATEGIES]
  rows = [checkpoint.read_json(f) for f in files if f.exists()]
  if not rows:
    raise SystemExit(f"no finished run in {args.runs}")
  auto = {c: measured(args, c) for c in CELLS if any(r["cell"] == c for r in rows)}
  checkpoint.write_json(args.out / "transfer_rule.json", {"runs": rows, "auto": auto})
  checkpoint.write_text(args.out / "transfer_rule.md", table(rows, auto))
  picture(rows, args.out / "transfer_rule.png")


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/rule", type=pathlib.Path)
  p.add_argument("--cells", nargs="+", default=list(CELLS), choices=CELLS, metavar="CELL", help=", ".join(CELLS))
  p.add_argument("--out", default=HERE / "results", type=pathlib.Path, help="where the page goes")
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  args.data, args.runs = pathlib.Path(args.data).resolve(), args.runs.resolve()
  for folder in (args.runs, args.out):
    folder.mkdir(parents=True, exist_ok=True)
  if not args.table:
    pretrained(args)
    for cell in args.cells:
      for strategy in STRATEGIES:
        r = run(args, cell, strategy)
        log.say(f"{cell}, {strategy}: {r['accuracy']:.3f}")
        collect(args)
  collect(args)
  print((args.out / "transfer_rule.md").read_text())


if __name__ == "__main__":
  main()
