"""What it saves to do more at once: several runs in one program, data on the device, several steps a dispatch.

  python experiments/bench/seeds.py                # some minutes on 2 cores; leave the machine to it
  python experiments/bench/seeds.py --smoke        # a step a turn, one round; nothing is written

All train on scikit-learn's digits as `sslx pretrain` does, data and augmentation included, with a device a core.
Contenders take turns (turns.py); a ratio is that of two turns of one round: median, least and most of the rounds. A
ResNet is there to show why on a CPU runs with convolutions are trained in turn. The results go to
experiments/results/seeds.{json,md}.
"""

import argparse
import json
import os
import sys

import turns

ROOT = turns.HERE.parents[1]
SEEDS, DISPATCH = 4, 10
RACES = {  # what: (config, batch, steps a turn, side that images are brought to: 0, their own)
    "MAE, ViT 96 x 4, batch 32": ("mae.py:digits", 32, 20, 0),
    "MAE, ViT 96 x 4, batch 64": ("mae.py:digits", 64, 20, 0),
    "MAE, ViT 96 x 4, batch 256": ("mae.py:digits", 256, 10, 0),
    "MAE, ViT 16 x 2, batch 32": ("mae.py:tiny", 32, 50, 0),
    "contrast of points, PointNet at width 8, batch 64": ("points.py:tiny", 64, 10, 0),
    "SimCLR, ResNet-18 at width 16, batch 32": ("simclr.py:digits", 32, 2, 0),
    "the same at 32 pixels": ("simclr.py:digits", 32, 4, 32)}
SMALL = {"MAE, ViT 16 x 2, batch 32": ("mae.py:tiny", 32, 100, 0),
         "MAE, ViT 96 x 4, batch 32": ("mae.py:digits", 32, 20, 0)}


def serve(name, batch, steps, side, runs, device, dispatch):
  """A contender: `runs` runs in one program."""
  import jax

  from sslx import config, mesh, prepare, programs, seeds
  c = config.load(f"{ROOT}/configs/{name}")
  c.batch_size, c.data.size, c.seeds, c.data.device, c.dispatch = batch, side, runs, device, dispatch
  c.total_steps, c.log.every, c.checkpoint.every = 10_000, 100, 1000
  ready = [prepare.prepare(one, "nowhere", name=name) for name, one in seeds.members(c).items()]
  over = mesh.make_mesh(ready[0].config)
  where = mesh.of(c, ready[0].state, over)
  program = programs.together(ready, over) if runs > 1 else programs.alone(ready[0], over, where)
  now, ahead = [program.start([r.state for r in ready])], program.batches(0)

  def turn():
    for _ in range(max(1, steps // dispatch)):
      now[0], metrics = program.step(now[0], program.fixed, next(ahead))
    return {"work": max(1, steps // dispatch) * dispatch * runs, "value": float(metrics["loss"].sum())}
  turns.serve(turn, devices=jax.device_count(), mesh=over.size)


def race(case, contenders, args):
  """{contender: steps of a run a second, a round each}; contenders: {name: (runs, on the device, steps a dispatch)}."""
  name, batch, steps, side = case if not args.smoke else (case[0], 8, 1, case[3])
  command = lambda how: ([sys.executable, __file__, "--serve", name, "--of", batch, steps, side, *map(int, how)],
                         turns.environment("pretrain"))
  found = turns.compete({key: command(how) for key, how in contenders.items()}, 1 if args.smoke else args.rounds)
  return {key: turns.rates(f) for key, f in found.items()}


def row(what, rates, base):
  """A line of a table: steps a second of each contender, and the ratio to `base` of all others."""
  ratio = lambda k: "**{:.2f}** ({:.2f} to {:.2f})".format(*turns.middle(turns.ratios(rates[k], rates[base])))
  what += f" ({len(rates[base])} rounds)"
  cells = [f"{turns.middle(v)[0]:.2f}" + ("" if k == base else f", {ratio(k)}") for k, v in rates.items()]
  return f"| {what} | {' | '.join(cells)} |"


def page(machine, runs, small):
  """The results as Markdown."""
  lines = ["# More at once", "", "`python experiments/bench/seeds.py`", "",
           "Steps of a run a second, data and augmentation included. Bold: the ratio to the first column, median",
           f"(least to most) of the rounds. {machine['cores']} cores, load {machine['load']:.1f} at the start, jax "
           f"{machine['jax']}.", "",
           f"## {SEEDS} runs in one program (`--config.seeds={SEEDS}`) beside {SEEDS} runs in turn", "",
           "| | in turn | at once |", "|---|---|---|", *(row(k, v, "in turn") for k, v in runs.items()), "",
           "With convolutions, vmap over kernels becomes a grouped convolution, at which CPUs are slow on all but the",
           "smallest images: there `sslx pretrain` trains the runs in turn, and says so.", "",
           f"## Data on the device (`--config.data.device`), {DISPATCH} steps at once (`--config.dispatch={DISPATCH}`)",
           "",
           "| | one run | data on the device | and several steps at once |", "|---|---|---|---|",
           *(row(k, v, "as usual") for k, v in small.items())]
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--rounds", type=int, default=7)
  p.add_argument("--smoke", action="store_true", help="a step a turn, one round; nothing is written")
  p.add_argument("--serve", help=argparse.SUPPRESS)
  p.add_argument("--of", type=int, nargs=6, help=argparse.SUPPRESS)
  args = p.parse_args()
  if args.serve:
    batch, steps, side, runs, device, dispatch = args.of
    serve(args.serve, batch, steps, side, runs, bool(device), dispatch)
    return
  load = os.getloadavg()[0]
  both = {"in turn": (1, False, 1), "at once": (SEEDS, False, 1)}
  three = {"as usual": (1, False, 1), "on the device": (1, True, 1), "several steps": (1, True, DISPATCH)}
  runs = {k: race(case, both, args) for k, case in RACES.items()}
  small = {k: race(case, three, args) for k, case in SMALL.items()}
  import jax
  machine = {"cores": turns.CORES, "load": load, "jax": jax.__version__, "rounds": args.rounds}
  print(page(machine, runs, small))
  if not args.smoke:
    content = json.dumps({"machine": machine, "runs": runs, "small": small}, indent=1)
    (turns.HERE.parent / "results/seeds.json").write_text(content + "\n")
    (turns.HERE.parent / "results/seeds.md").write_text(page(machine, runs, small))


if __name__ == "__main__":
  main()
