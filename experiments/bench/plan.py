"""Is what `sslx plan` says so? Planned memory and time of a step beside what the step takes on this machine's CPU.

  python experiments/bench/plan.py             # five minutes

One device. Memory: how much the resident set grows at most while the compiled step runs, beside the plan's peak; time
beside the plan's products at the rate of this machine's own product of 2048 x 2048 matrices, and its memory traffic at
the rate of its own copies. Figures go to experiments/results/plan*.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parents[1]
CASES = {"SimCLR, ResNet-18 at width 16, batch 256": ("simclr", []),
         "SimCLR, ResNet-18 at width 16, batch 64": ("simclr", ["--config.batch_size=64"]),
         "MAE, ViT of width 128, batch 256": ("mae", []),
         "the same, layers computed again (remat)": ("mae", ["--config.encoder.remat=True"])}


def measure(name):
  """One case in a process of its own: prints the figures as JSON."""
  import threading
  import time

  import jax
  import jax.numpy as jnp

  from sslx import config, doctor, mesh, optim, plan, run, train
  method, more = CASES[name]
  c = config.override(config.load(f"{HERE.parent}/configs/{method}.py:cifar10"), [*more, "--config.mesh.data=1"])
  planned = plan.plan(c, "cpu", shape=(32, 32, 3))
  c = run.resolve(c, 10_000)
  made, tx = train.build(c)[1], optim.make(c.optim, c.total_steps, c.batch_size)
  batch = {"image": jnp.zeros((c.batch_size, 32, 32, 3), jnp.uint8)}
  state = train.init_state(made, tx, jax.random.key(0), batch)
  where = mesh.shardings(state, mesh.arranged(jax.devices()[:1]))
  step = train.make_step(made, tx, c.total_steps, where)
  step = step.lower(mesh.put(state, where), jax.random.key(1), batch).compile()
  page, least, done = os.sysconf("SC_PAGE_SIZE"), [], threading.Event()
  resident = lambda: int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * page
  start = resident()

  def watch():
    while not done.wait(0.001):
      least.append(resident())
  thread = threading.Thread(target=watch)
  thread.start()
  state, times = mesh.put(state, where), []
  for _ in range(4):
    begun = time.perf_counter()
    state, metrics = step(state, jax.random.key(1), batch)
    jax.block_until_ready(metrics)
    times.append(time.perf_counter() - begun)
  done.set()
  thread.join()
  product = 2 * doctor.SIDE**3 / doctor.timed(jax.jit(lambda x: x @ x), jnp.ones((doctor.SIDE, doctor.SIDE)))
  copied = 8 * doctor.WORDS / doctor.timed(jax.jit(lambda x: x + 1), jnp.zeros(doctor.WORDS))
  print("FOUND", json.dumps({
      "name": name, "peak": planned["peak"], "held": max(least) - start, "flops": planned["flops"],
      "bytes": planned["bytes"], "seconds": min(times), "product": product, "copied": copied}))


def table(rows):
  """The results as Markdown."""
  out = ["# What `sslx plan` says, beside what a step takes", "",
         "`python experiments/bench/plan.py`: on one CPU device, float32. Memory: the plan's peak, and how much the",
         "process grows at most while the compiled step runs. Time: the products at the rate of a product of 2048 x",
         "2048 matrices, and the memory traffic at the rate of a copy, both measured in the same process. The first is",
         "a bound below, as a CPU's small products are slower than its large ones; the second is none, as XLA counts",
         "what caches serve, too.", "",
         "| step | planned, MiB | held, MiB | products, s | traffic, s | measured, s |", "|---|---|---|---|---|---|"]
  for r in rows:
    out.append(f"| {r['name']} | {r['peak'] / 2**20:.0f} | {r['held'] / 2**20:.0f} | {r['flops'] / r['product']:.2f} "
               f"| {r['bytes'] / r['copied']:.2f} | {r['seconds']:.2f} |")
  return "\n".join(out) + "\n"


def main():
  argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
  rows = []
  for name in CASES:
    p = subprocess.run([sys.executable, __file__, "--worker", name], check=True, stdout=subprocess.PIPE, text=True)
    rows.append(json.loads(p.stdout.partition("FOUND ")[2]))
    (HERE / "results" / "plan.json").write_text(json.dumps(rows, indent=2) + "\n")
  (HERE / "results" / "plan.md").write_text(table(rows))
  print(table(rows))


if __name__ == "__main__":
  if sys.argv[1:2] == ["--worker"]:
    measure(sys.argv[2])
  else:
    main()
