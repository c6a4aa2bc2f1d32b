"""What scale and safety cost: many devices for the same work, checkpoints, a start of a run that was compiled before.

  python experiments/bench/scale.py             # ten minutes; --rounds 3

SimCLR, ResNet-18 at width 16, 32 pixels, batch 256, on this machine's CPU. The same global step on 1, 2 and 8 simulated
devices in turns; what the loop stands still for a checkpoint every 100 steps; and the seconds from the command to the
first step of a run that goes on. Figures go to experiments/results/scale*.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parents[1]
CONFIG = f"{HERE.parent}/configs/simclr.py:cifar10"


def measure(devices):
  """Prints the median seconds of a step on so many devices, and of a save beside it."""
  import jax
  import numpy as np

  from sslx import checkpoint, config, mesh, optim, run, train
  c = config.override(config.load(CONFIG), [f"--config.mesh.data={devices}"])
  c = run.resolve(c, 10_000)
  made, tx, over = train.build(c)[1], optim.make(c.optim, c.total_steps, c.batch_size), mesh.make_mesh(c)
  batch = {"image": np.random.default_rng(0).integers(0, 255, (c.batch_size, 32, 32, 3), np.uint8)}
  state = train.init_state(made, tx, jax.random.key(0), batch)
  where = mesh.of(c, state, over)
  state, step, times, saves = mesh.put(state, where), train.make_step(made, tx, c.total_steps, where), [], []
  batch = mesh.place(batch, over)
  with tempfile.TemporaryDirectory() as folder:
    saved = checkpoint.Checkpoints(folder)
    for i in range(9):
      begun = time.perf_counter()
      state, metrics = step(state, jax.random.key(1), batch)
      jax.block_until_ready(metrics)
      times.append(time.perf_counter() - begun)
      if i in (2, 4, 6):                                    # the first one sets things up
        begun = time.perf_counter()
        saved.save(i, state)
        saves.append(time.perf_counter() - begun)
        saved.wait()
    saved.close()
  print("FOUND", json.dumps({"devices": devices, "step": statistics.median(times[1:]),
                             "save": statistics.mean(saves[1:])}))


def in_process(devices):
  env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
  p = subprocess.run([sys.executable, __file__, "--worker", str(devices)], check=True, stdout=subprocess.PIPE,
                     text=True, env=env)
  return json.loads(p.stdout.partition("FOUND ")[2])


def restart():
  """Seconds from the command to the first step: of a run that is new to this machine, and of it when it goes on."""
  seconds = []
  with tempfile.TemporaryDirectory() as folder:
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled", "JAX_PLATFORMS": "cpu"}
    for _ in range(2):
      begun = time.monotonic()
      p = subprocess.Popen([sys.executable, "-m", "sslx", "pretrain", "--config",
                            f"{HERE.parent}/configs/simclr.py:digits", "--workdir", f"{folder}/run",
                            "--config.checkpoint.every=2", "--config.log.every=1"],
                           env=env, stderr=subprocess.PIPE, text=True)
      steps = [time.monotonic() - begun for line, _ in zip(
          (line for line in p.stderr if re.match(r"step \d+/", line)), range(4), strict=False)]
      seconds.append(steps[0])
      p.kill()
      p.communicate()
  return seconds


def table(r):
  """The results as Markdown."""
  step = {n: [x["step"] for x in r["steps"] if x["devices"] == n] for n in (1, 2, 8)}
  ratio = lambda n: [a / b for a, b in zip(step[n], step[1], strict=True)]
  spread = lambda v: f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})"
  save = [x["save"] / (100 * x["step"]) for x in r["steps"]]
  return "\n".join([
      "# What scale and safety cost", "",
      "`python experiments/bench/scale.py`: SimCLR, ResNet-18 at width 16, 32 pixels, batch 256, float32, on "
      f"{r['cores']} CPU cores;", f"median (least to most) of {len(step[1])} rounds of turns, each in a process of its "
      "own.", "",
      "| | |", "|---|---|",
      *(f"| a step on {n} simulated device{'s' * (n > 1)} | {spread(step[n])} s"
        + (f", {spread(ratio(n))} times that on one" if n > 1 else "") + " |" for n in (1, 2, 8)),
      f"| what the loop stands still for a checkpoint every 100 steps | {spread([100 * s for s in save])} % |",
      f"| from the command to the first step, SimCLR on digits, ResNet-18 | {r['restart'][0]:.1f} s the first time, "
      f"{r['restart'][1]:.1f} s when it goes on |", ""])


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--rounds", type=int, default=3)
  args = p.parse_args()
  result = {"cores": len(os.sched_getaffinity(0)), "steps": [], "restart": restart()}
  for _ in range(args.rounds):
    for devices in (1, 2, 8):
      result["steps"].append(in_process(devices))
      print(result["steps"][-1], flush=True)
  (HERE / "results" / "scale.json").write_text(json.dumps(result, indent=2) + "\n")
  (HERE / "results" / "scale.md").write_text(table(result))
  print(table(result))


if __name__ == "__main__":
  if sys.argv[1:2] == ["--worker"]:
    measure(int(sys.argv[2]))
  else:
    main()
