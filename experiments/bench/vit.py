"""The training step of ViT-Ti/4 and of MAE on it, beside timm, in one run.

  make bench-peers                                 # once: an environment with PyTorch, for the peers alone
  python experiments/bench/vit.py                  # some minutes on 2 cores; leave the machine to it
  python experiments/bench/vit.py --only sslx mae  # some contenders, nothing is written

A step is forward, backward and AdamW's update at 32 pixels, batch 128, float32, with class token and learned positions.
Every contender is a process that waits for its turn; turns go round, the first one warms up, and a ratio is that of two
turns of one round: median, least and most of the rounds. timm has a thread a core and its fused attention. sslx runs as
README has it for CPUs: a simulated device a core and large pages. What each of these is worth, and each of the forms in
sslx/encoders/layers.py, is measured by doing without. MAE hides 75 % from the encoder; its decoder has two blocks of
width 96. The results go to experiments/results/vit.{json,md}.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).parents[1]
DEVICES = f"--xla_force_host_platform_device_count={os.cpu_count()}"
PAGES = "glibc.malloc.hugetlb=1"
SIDE, PATCH, BATCH, DECODER = 32, 4, 128, (96, 2, 4)
LAYERS = ("Dense", "gelu", "attention")
OURS = {  # name: (model, layers in their plain form, XLA_FLAGS, GLIBC_TUNABLES)
    "sslx": ("vit", (), DEVICES, PAGES), "mae": ("mae", (), DEVICES, PAGES),
    **{f"plain {name}": ("vit", (name,), DEVICES, PAGES) for name in LAYERS},
    "plain layers": ("vit", LAYERS, DEVICES, PAGES), "one device": ("vit", (), "", PAGES),
    "small pages": ("vit", (), DEVICES, ""), "all plain": ("vit", LAYERS, "", ""),
    "product": ("product", (), "", PAGES)}
PEERS = {"timm": "vit", "timm mae": "mae", "torch product": "product"}
CONTENDERS = ("sslx", "timm", "mae", "timm mae", *[k for k in OURS if k not in ("sslx", "mae", "product")],
              "product", "torch product")


def stepper(model, plain):
  """step() of a model, as `sslx pretrain` runs it: over all devices."""
  import flax.linen as nn
  import jax
  import jax.numpy as jnp
  import optax

  from sslx import encoders, methods, train
  from sslx.encoders import layers
  if model == "product":
    a, f = jnp.asarray(np.random.default_rng(0).random((2048, 2048), np.float32)), jax.jit(jnp.matmul)
    return lambda: f(a, a).block_until_ready()
  forms = {"Dense": nn.Dense, "gelu": lambda x: nn.gelu(x, approximate=False),
           "attention": jax.nn.dot_product_attention}
  for name in plain:
    setattr(layers, name, forms[name])
  aug = lambda key, image: image
  encoder = encoders.make("vit_ti", patch=PATCH, position="learned")
  if model == "mae":
    width, depth, heads = DECODER
    method = methods.make("mae", encoder, width=width, depth=depth, heads=heads, aug=aug)
  else:
    method = methods.make("supervised", encoder, num_classes=10, aug=aug)
  rng = np.random.default_rng(0)
  batch = {"image": rng.random((BATCH, SIDE, SIDE, 3), np.float32), "label": rng.integers(0, 10, BATCH)}
  mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  tx, key, batch = optax.adamw(1e-3, weight_decay=0.05), jax.random.key(0), train.place(batch, mesh)
  state = jax.device_put(train.init_state(method, tx, key, batch), jax.NamedSharding(mesh, jax.P()))
  run, now = train.make_step(method, tx, 1000, mesh), [state]

  def step():
    now[0], metrics = run(now[0], key, batch)
    return metrics["loss"].block_until_ready()
  return step


def serve(name, steps):
  """Answers each line of the input with the seconds of a step, as experiments/peers/vit_timm.py does."""
  step = stepper(*OURS[name][:2])
  for _ in sys.stdin:
    clock, cores = time.perf_counter(), time.process_time()
    for _ in range(steps):
      step()
    print((time.perf_counter() - clock) / steps, (time.process_time() - cores) / steps, flush=True)


def start(name, python, steps):
  """The process of a contender."""
  clean = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "GLIBC_TUNABLES")}
  if name in PEERS:
    sizes = ["--side", SIDE, "--patch", PATCH, "--batch", BATCH, "--decoder", *DECODER, "--steps", steps]
    command, env = [python, HERE / "peers/vit_timm.py", "--model", PEERS[name], *sizes], {}
  else:
    command, env = [sys.executable, __file__, "--serve", name, "--steps", steps], dict(
        zip(("XLA_FLAGS", "GLIBC_TUNABLES"), OURS[name][2:], strict=True))
  return subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=clean | {k: v for k, v in env.items() if v})


def compete(names, python, rounds, steps):
  """{contender: {"seconds": [a round each], "core_seconds": [...]}}."""
  found = {name: {"seconds": [], "core_seconds": []} for name in names}
  running = {name: start(name, python, steps) for name in names}
  try:
    for n in range(rounds + 1):                            # the first turn compiles and warms up
      for name, process in running.items():
        process.stdin.write("go\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
          raise SystemExit(f"{name} stopped; its message is above. The peers' environment: make bench-peers")
        print(f"round {n}, {name}: {line.strip()} s", file=sys.stderr, flush=True)
        if n:
          for key, value in zip(found[name], line.split(), strict=True):
            found[name][key].append(float(value))
  finally:
    for process in running.values():
      process.terminate()
      process.wait()
  return found


def spread(found, name, other, key="seconds"):
  """"median (least to most)" of the ratio name / other, a round at a time."""
  ratios = [a / b for a, b in zip(found[name][key], found[other][key], strict=True)]
  return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def page(machine, found):
  """The results as Markdown."""
  middle = lambda name, key="seconds": statistics.median(found[name][key])
  row = lambda label, name, other, base: (
      f"| {label} | {middle(name):.3f} | {middle(base):.3f} | **{spread(found, base, name)}** | "
      f"{spread(found, base, name, 'core_seconds')} |")
  rate = {k: 2 * 2048**3 / middle(k) / 1e9 for k in ("product", "torch product")}
  lines = ["# The training step of a ViT", "", "`python experiments/bench/vit.py`", "",
           f"ViT-Ti/4, 32 pixels, batch 128, float32, with AdamW. {machine['cores']} cores, load {machine['load']:.1f} "
           f"at the start, jax {machine['jax']},", f"{machine['peers']}, {machine['rounds']} rounds of turns. Ratios: "
           "median (least to most) of the rounds; core-seconds add up", "what all cores did, which other work on the "
           "machine changes less. A product of 2048 x 2048 matrices in this run:", f"{rate['product']:.0f} GFLOP/s by "
           f"JAX, {rate['torch product']:.0f} by PyTorch.", "",
           "| step | sslx, s | timm, s | timm / sslx | in core-seconds |", "|---|---|---|---|---|",
           row("ViT", "sslx", "timm", "timm"), row("MAE, 75 % hidden", "mae", "timm mae", "timm mae"), "",
           f"MAE's step over the ViT's: {spread(found, 'mae', 'sslx')}; of timm's blocks "
           f"{spread(found, 'timm mae', 'timm')}.", "",
           "What each part is worth: the step without it over the step with all, ViT.", "",
           "| without | time | core-seconds |", "|---|---|---|"]
  without = {"plain Dense": "tokens in one axis (`layers.Dense`)", "plain gelu": "gelu by erf (`layers.gelu`)",
             "plain attention": "heads before tokens (`layers.attention`)", "plain layers": "all three",
             "one device": "a simulated device a core", "small pages": "large pages", "all plain": "all of these"}
  lines += [f"| {label} | {spread(found, k, 'sslx')} | {spread(found, k, 'sslx', 'core_seconds')} |"
            for k, label in without.items()]
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--only", nargs="+", choices=CONTENDERS)
  p.add_argument("--python", default=HERE.parent / ".venv-peers/bin/python", help="of the peers' environment")
  p.add_argument("--rounds", type=int, default=7)
  p.add_argument("--steps", type=int, default=2, help="of a turn")
  p.add_argument("--serve", choices=OURS, help=argparse.SUPPRESS)
  args = p.parse_args()
  if args.serve:
    serve(args.serve, args.steps)
    return
  names, load = args.only or CONTENDERS, os.getloadavg()[0]
  if set(names) & set(PEERS) and not pathlib.Path(args.python).exists():
    raise SystemExit(f"no Python at {args.python}: make bench-peers, or --only sslx mae")
  found = compete(names, args.python, args.rounds, args.steps)
  if args.only:
    for name in names:
      print(f"{name}: {statistics.median(found[name]['seconds']):.3f} s, {spread(found, name, names[0])} of {names[0]}")
    return
  import jax
  ask = "from importlib.metadata import version as v; print(*(f'{n} {v(n)}' for n in ('torch', 'timm')))"
  versions = subprocess.run([args.python, "-c", ask], text=True, stdout=subprocess.PIPE, check=True).stdout.strip()
  machine = {"cores": os.cpu_count(), "load": load, "jax": jax.__version__, "peers": versions, "rounds": args.rounds}
  (HERE / "results/vit.json").write_text(json.dumps({"machine": machine, "contenders": found}, indent=1) + "\n")
  (HERE / "results/vit.md").write_text(page(machine, found))
  print(page(machine, found))


if __name__ == "__main__":
  main()
