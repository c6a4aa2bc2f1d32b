"""What several runs in one program cost beside as many runs in turn.

  python experiments/bench/seeds.py                # some minutes on 2 cores; leave the machine to it
  python experiments/bench/seeds.py --smoke        # a step a turn; nothing is written

Both train on scikit-learn's digits as `sslx pretrain` does, data and augmentation included, with a device a core.
Contenders take turns (turns.py); a ratio is that of two turns of one round: median, least and most of the rounds. A
ResNet is there to show why on a CPU such runs are trained in turn. The results go to experiments/results/seeds.{json,md}.
"""

import argparse
import json
import os
import sys

import turns

ROOT = turns.HERE.parents[1]
SEEDS = 4
RACES = {  # what: (config, batch, steps a turn)
    "MAE, ViT 96 x 4, batch 32": ("mae", 32, 20), "MAE, ViT 96 x 4, batch 64": ("mae", 64, 20),
    "MAE, ViT 96 x 4, batch 256": ("mae", 256, 5), "SimCLR, PointNet, batch 64": ("points", 64, 5),
    "SimCLR, ResNet-18 at width 16, batch 32": ("simclr", 32, 2)}


def serve(method, batch, steps, runs):
  """A contender: `runs` runs in one program."""
  import jax

  from sslx import config, mesh, prepare, programs, seeds
  c = config.load(f"{ROOT}/configs/{method}.py:{'tiny' if method == 'points' else 'digits'}")
  c.batch_size, c.total_steps, c.seeds = batch, 10_000, runs
  if method == "points":
    c.encoder.width = 16
  ready = [prepare.prepare(one, "nowhere", name=name) for name, one in seeds.members(c).items()]
  over = mesh.make_mesh(ready[0].config)
  where = mesh.of(c, ready[0].state, over)
  program = programs.together(ready, over) if runs > 1 else programs.alone(ready[0], over, where)
  now, ahead = [program.start([r.state for r in ready])], program.batches(0)

  def turn():
    for _ in range(steps):
      now[0], metrics = program.step(now[0], program.fixed, next(ahead))
    return {"work": steps * runs, "value": float(metrics["loss"].sum())}
  turns.serve(turn, devices=jax.device_count(), mesh=over.size)


def race(method, batch, steps, rounds):
  """{"together", "alone": steps of a run a second, a round each}."""
  command = lambda runs: ([sys.executable, __file__, "--serve", method, "--batch", batch, "--steps", steps, "--runs",
                           runs], turns.environment("pretrain"))
  found = turns.compete({"together": command(SEEDS), "alone": command(1)}, rounds)
  return {name: turns.rates(f) for name, f in found.items()}


def page(machine, found):
  """The results as Markdown."""
  lines = ["# Several runs in one program", "", "`python experiments/bench/seeds.py`", "",
           f"{SEEDS} seeds at once (`--config.seeds={SEEDS}`) beside {SEEDS} runs in turn: steps of a run a second, data and "
           f"augmentation included. {machine['cores']} cores, load {machine['load']:.1f} at", f"the start, jax "
           f"{machine['jax']}, {machine['rounds']} rounds of turns. Ratios: median (least to most) of the rounds.", "",
           "| | at once | in turn | at once / in turn |", "|---|---|---|---|"]
  for what, rates in found.items():
    ratio = "{:.2f} ({:.2f} to {:.2f})".format(*turns.middle(turns.ratios(rates["together"], rates["alone"])))
    lines.append(f"| {what} | {turns.middle(rates['together'])[0]:.2f} | {turns.middle(rates['alone'])[0]:.2f} | "
                 f"**{ratio}** |")
  lines += ["", "With convolutions, vmap over kernels becomes a grouped convolution, at which CPUs are slow: there "
            "`sslx pretrain`", "trains the runs in turn, and says so."]
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--rounds", type=int, default=7)
  p.add_argument("--smoke", action="store_true", help="a step a turn, one round; nothing is written")
  p.add_argument("--serve", help=argparse.SUPPRESS)
  for name in ("batch", "steps", "runs"):
    p.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
  args = p.parse_args()
  if args.serve:
    serve(args.serve, args.batch, args.steps, args.runs)
    return
  load = os.getloadavg()[0]
  found = {what: race(method, 8 if args.smoke else batch, 1 if args.smoke else steps, 1 if args.smoke else args.rounds)
           for what, (method, batch, steps) in RACES.items()}
  import jax
  machine = {"cores": turns.CORES, "load": load, "jax": jax.__version__, "rounds": args.rounds, "seeds": SEEDS}
  print(page(machine, found))
  if not args.smoke:
    (turns.HERE.parent / "results/seeds.json").write_text(json.dumps({"machine": machine, "races": found}, indent=1) + "\n")
    (turns.HERE.parent / "results/seeds.md").write_text(page(machine, found))


if __name__ == "__main__":
  main()
