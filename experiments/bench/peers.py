"""sslx beside what its users would pick instead, by the same work done in turns on this machine.

  make bench-peers                                          # once: an environment with the peers, PyTorch among them
  python experiments/bench/peers.py --data $DATA/cifar10    # leave the machine to it; what is done stays done
  python experiments/bench/peers.py --data $DATA/cifar10 --rows simclr_16 knn_faiss --rounds 5 --again
  python experiments/bench/peers.py --data $DATA/cifar10 --smoke             # every row in little, nothing is written
  python experiments/bench/peers.py --data $DATA/cifar10 --kept       # the peers have sslx's allocator, too
  python experiments/bench/peers.py --table                 # the page again, from the figures there are

A ratio is sslx's speed over the peer's in two turns of one round (turns.py): the median of the rounds, the least and
the most. sslx runs as `sslx pretrain` does on a CPU: a simulated device a core, memory that is kept, by jemalloc where
it is installed. PyTorch runs with a thread a core and, where it reads files, a loading process a core. $DATA/cifar10
holds train/CLASS/N.jpg. Results go to experiments/results/peers.{json,md,png}, row by row. rows.py says what the rows
are.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

import jax
import numpy as np
import turns
from rows import ROWS

ROOT = turns.HERE.parents[1]
RESULTS = ROOT / "experiments/results/peers.json"
PACKAGES = ("torch", "torchvision", "lightly", "timm", "scikit-learn", "faiss-cpu", "stable-pretraining", "jax")


def run(row, args):
  """The record of a row: the answers of both sides, and what was asked of them."""
  size = row.size | (row.smoke if args.smoke else {})
  python = pathlib.Path(args.peers) / "bin/python"
  load = os.getloadavg()[0]
  with tempfile.TemporaryDirectory() as folder:
    if row.input:
      made = row.input(size)
      path = f"{folder}/input" + (".npz" if isinstance(made, dict) else ".npy")
      np.savez(path, **made) if isinstance(made, dict) else np.save(path, made)
      given = ["--input", path]
    else:
      given = ["--data", args.data] if row.files else []

    def contender(side):
      file, *words = side.command.split()
      command = [python if file.startswith("peers/") else sys.executable, ROOT / "experiments" / file, *words]
      options = [w for option, key in side.takes.items() for w in (f"--{option}", size[key])]
      return [*command, *given, *options], turns.environment(side.runs or args.kept * "kept")
    found = turns.compete({"sslx": contender(row.ours), row.against: contender(row.peer)}, args.rounds)
  ours, peer = found.values()
  return {"size": size, "load": load, "rounds": args.rounds, "memory": turns.allocator(), "sslx": ours, "peer": peer}


def rates(row, record):
  """(of sslx, of the peer): work a second of each turn."""
  of = lambda turn: turn.get(row.count, turn["work"]) / turn["seconds"]
  return [list(map(of, record[side]["turns"])) for side in ("sslx", "peer")]


def page(found):
  """The results as Markdown."""
  m = found["machine"]
  lines = ["# Beside what you would pick instead", "", "`python experiments/bench/peers.py --data $DATA/cifar10`", "",
           f"{m['cores']} CPU cores, sslx with jax {m['jax']}; the peers' environment: {m['peers']}. Float32.", "",
           "Ratio: sslx's speed over the peer's in the same round of turns, median (least to most). Memory: the most",
           "that each main process held, with what `sslx pretrain` keeps of it on purpose. Peers as they start by",
           "themselves, with glibc's allocator. Each row by itself:", "",
           "`python experiments/bench/peers.py --data $DATA/cifar10 --again --rows ROW`", "",
           "| row | work | against | sslx, a second | peer, a second | memory, MB | ratio | target |", "|" + "---|" * 8]
  for name, row in ROWS.items():
    if name not in found["rows"]:
      lines.append(f"| `{name}` | {row.what} | {row.against} | | | | not measured | {row.target:g}x |")
      continue
    record = found["rows"][name]
    ours, peer = rates(row, record)
    (a, *_), (b, *_), (ratio, least, most) = map(turns.middle, (ours, peer, turns.ratios(ours, peer)))
    held = ", ".join(f"{max(t['peak_mb'] for t in record[side]['turns']):,.0f}" for side in ("sslx", "peer"))
    lines.append(f"| `{name}` | {row.what} | {row.against} | {amount(a)} {row.unit} | {amount(b)} | {held} | "
                 f"**{ratio:.2f}x** ({least:.2f} to {most:.2f}) | {row.target:g}x"
                 f"{'' if ratio >= row.target else ', missed'} |")
  lines += ["", *(f"- `{name}`: {row.note.format(**found['rows'][name]['peer']['facts'])}" for name, row in ROWS.items()
                  if row.note and name in found["rows"]),
            "", "Rounds, the load when a row began, sslx's allocator: " + ", ".join(
                f"`{k}` {r['rounds']}, {r['load']:.1f}, {r['memory']}" for k, r in found["rows"].items()) + "."]
  if found.get("kept"):
    lines += ["", "Where the peer has sslx's allocator, too (`--kept`): " + ", ".join(
        f"`{k}` {turns.middle(turns.ratios(*rates(ROWS[k], r)))[0]:.2f}x" for k, r in found["kept"].items()) + "."]
  return "\n".join(lines) + "\n"


def amount(rate):
  return f"{rate / 1e9:,.0f} G" if rate >= 1e9 else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def picture(found):
  """Ratios with their spread, and the targets."""
  import matplotlib
  matplotlib.use("agg")
  from matplotlib import pyplot as plt
  names = [n for n in ROWS if n in found["rows"]][::-1]
  fig, ax = plt.subplots(figsize=(8, 0.45 * len(names) + 1.2), layout="constrained")
  for y, name in enumerate(names):
    ratio, least, most = turns.middle(turns.ratios(*rates(ROWS[name], found["rows"][name])))
    ax.plot([least, most], [y, y], color="C0", lw=2)
    ax.plot(ratio, y, "o", color="C0", label="measured: median, least, most" if not y else None)
    ax.plot(ROWS[name].target, y, "|", color="C3", ms=16, mew=2, label="target" if not y else None)
  ax.axvline(1, color="0.6", lw=1)
  ax.set_xscale("log")
  ticks = [0.25, 0.5, 1, 2, 3, 5, 10, 20, 50]
  ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
  ax.minorticks_off()
  ax.set_yticks(range(len(names)), [f"{n}\n{ROWS[n].against}" for n in names], fontsize=7)
  ax.set_xlabel("speed of sslx over the peer's")
  ax.legend(loc="lower right", fontsize=8)
  fig.savefig(RESULTS.with_suffix(".png"), dpi=120)
  plt.close(fig)


def write(found):
  RESULTS.write_text(json.dumps(found, indent=1) + "\n")
  RESULTS.with_suffix(".md").write_text(page(found))
  picture(found)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
  p.add_argument("--data", help="folder with train/CLASS/N.jpg, CIFAR-10's images")
  p.add_argument("--rounds", type=int, default=3)
  p.add_argument("--peers", default=ROOT / ".venv-peers", help="the peers' environment")
  p.add_argument("--smoke", action="store_true", help="small sizes; nothing is written")
  p.add_argument("--kept", action="store_true", help="the peers have sslx's allocator, too: figures of their own")
  p.add_argument("--again", action="store_true", help="rows that have figures, too")
  p.add_argument("--table", action="store_true", help="write the page from the figures there are, measure nothing")
  args = p.parse_args()
  found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}}
  if args.table:
    if not found["rows"]:
      raise SystemExit(f"no figures in {RESULTS} yet")
    write(found)
    print(page(found))
    return
  part = found.setdefault("kept" if args.kept else "rows", {})
  wanted = [n for n in args.rows if args.smoke or args.again or n not in part]
  if any(ROWS[n].files for n in wanted) and not args.data:
    raise SystemExit(f"{', '.join(n for n in wanted if ROWS[n].files)} read files: --data DIR with train/CLASS/N.jpg")
  machine = {"cores": turns.CORES, "jax": jax.__version__,
             "peers": turns.versions(pathlib.Path(args.peers) / "bin/python", PACKAGES)}
  for name in wanted:
    turns.tell(f"\n{name}: {ROWS[name].what}, against {ROWS[name].against}")
    record = run(ROWS[name], args)
    ratio = turns.middle(turns.ratios(*rates(ROWS[name], record)))
    print(name + ": {:.2f}x ({:.2f} to {:.2f})".format(*ratio), flush=True)
    if not args.smoke:
      found["machine"] = machine
      part[name] = record
      write(found)


if __name__ == "__main__":
  main()
