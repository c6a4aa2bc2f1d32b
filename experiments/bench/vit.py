"""The training step of ViT-Ti/4 and of MAE on it, beside timm, in one run.

  make bench-peers                                 # once: an environment with PyTorch, for the peers alone
  python experiments/bench/vit.py                  # some minutes on 2 cores; leave the machine to it
  python experiments/bench/vit.py --races parts    # sslx alone; nothing is written

A step is forward, backward and AdamW's update at 32 pixels, batch 128, float32, with class token and learned positions.
Contenders take turns (turns.py); a ratio is that of two turns of one round: median, least and most of the rounds. timm
has a thread a core and its fused attention. sslx runs as README has it for CPUs: a simulated device a core, and memory
is kept, in large pages, by jemalloc where it is installed. What each of these is worth, and the form of
sslx/encoders/attention.py, is measured by doing without, at batch 32. MAE hides 75 % from the encoder; its decoder has
two blocks of width 96. The results go to experiments/results/vit.{json,md}.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys

import numpy as np
import turns

from sslx import cpu

HERE = pathlib.Path(__file__).parents[1]
ALL, ALONE = turns.environment("pretrain"), turns.environment("kept")
SHARED = {k: v for k, v in ALL.items() if k == "XLA_FLAGS"}
GLIBC = cpu.wanted({}, turns.CORES)
LARGE = SHARED | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
SIDE, PATCH, DECODER, SQUARE = 32, 4, (96, 2, 4), 2048
OURS = {  # name: (model, JAX's own attention, environment)
    "sslx": ("vit", False, ALL), "mae": ("mae", False, ALL), "product": ("product", False, ALONE)}
PARTS = {  # what is left out: the same
    "heads before tokens (`attend`)": ("vit", True, ALL), "a simulated device a core": ("vit", False, ALONE),
    **({"jemalloc: glibc keeps memory": ("vit", False, GLIBC)} if cpu.jemalloc() else {}),
    "memory that is kept: glibc": ("vit", False, LARGE),
    "memory that is kept, large pages: glibc": ("vit", False, SHARED), "all of these": ("vit", True, {})}
PEERS = {  # name: (model, environment)
    "timm": ("vit", {}), "timm mae": ("mae", {}), "tuned timm": ("vit", ALONE),
    "tuned timm mae": ("mae", ALONE), "torch product": ("product", {})}
RACES = {  # name: (contenders, batch)
    "steps": (("sslx", "timm", "mae", "timm mae", "tuned timm", "tuned timm mae", "product", "torch product"), 128),
    "parts": (("sslx", *PARTS), 32)}


def of_model(model, batch):
  """(Method, batch) of "vit" or "mae"."""
  from sslx import encoders, methods
  aug = lambda key, image: image
  encoder = encoders.make("vit_ti", patch=PATCH, position="learned")
  if model == "mae":
    width, depth, heads = DECODER
    method = methods.make("mae", encoder, width=width, depth=depth, heads=heads, aug=aug)
  else:
    method = methods.make("supervised", encoder, num_classes=10, aug=aug)
  rng = np.random.default_rng(0)
  return method, {"image": rng.random((batch, SIDE, SIDE, 3), np.float32), "label": rng.integers(0, 10, batch)}


def turn_of(model, batch, steps, plain):
  """(turn(), facts) of a model: "work" is examples, of a product FLOPs, which a step's "flops" are, too."""
  import jax
  import jax.numpy as jnp
  import optax

  from sslx.encoders import vit
  if model == "product":
    a, f = jnp.asarray(np.random.default_rng(0).random((SQUARE, SQUARE), np.float32)), jax.jit(jnp.dot)

    def multiply():
      for _ in range(steps):
        value = f(a, a).block_until_ready()
      return {"work": steps * 2 * SQUARE**3, "value": float(value[0, 0])}
    return multiply, {}
  import ours
  if plain:
    vit.attend = jax.nn.dot_product_attention
  method, images = of_model(model, batch)
  step, size = ours.stepping(method, optax.adamw(1e-3, weight_decay=0.05), images)

  def turn():
    for _ in range(steps):
      value = step(images).block_until_ready()
    return {"work": steps * batch, "value": float(value), "flops": steps * products(batch)}
  return turn, {"parameters": size, "batch": batch, "devices": jax.device_count()}


def serve(name, batch, steps):
  """A contender of sslx."""
  model, plain = (OURS | PARTS)[name][:2]
  turn, facts = turn_of(model, batch, steps, plain)
  turns.serve(turn, **facts)


def contender(name, python, batch, steps):
  """(command, environment) of a contender."""
  if name in PEERS:
    model, env = PEERS[name]
    command = [python, HERE / "peers/vit_timm.py", "--model", model, "--side", SIDE, "--patch", PATCH,
               "--decoder", *DECODER]
  else:
    env = (OURS | PARTS)[name][2]
    command = [sys.executable, __file__, "--serve", name]
  return (*command, "--batch", batch, "--steps", steps), env


def compete(names, batch, python, rounds, steps):
  """{contender: {"seconds": [of a step, a round each], "core_seconds": [...]}}."""
  found = turns.compete({name: contender(name, python, batch, steps) for name in names}, rounds)
  return {name: {key: [t[key] / steps for t in f["turns"]] for key in ("seconds", "core_seconds")}
          for name, f in found.items()}


def spread(found, name, other, key="seconds"):
  """"median (least to most)" of the ratio name / other, a round at a time."""
  return "{:.2f} ({:.2f} to {:.2f})".format(*turns.middle(turns.ratios(found[name][key], found[other][key])))


def products(batch, width=192, depth=12):
  """Floating-point operations of the products alone in a step of the ViT: dense layers and attention, back too."""
  tokens = (SIDE // PATCH) ** 2 + 1
  return 3 * batch * tokens * depth * (24 * width**2 + 4 * tokens * width)


def page(machine, steps, parts):
  """The results as Markdown."""
  middle = lambda name: statistics.median(steps[name]["seconds"])
  row = lambda label, name, other: (
      f"| {label} | {middle(name):.3f} | {middle(other):.3f} | **{spread(steps, other, name)}** | "
      f"{spread(steps, other, name, 'core_seconds')} |")
  rate = {k: 2 * SQUARE**3 / middle(k) / 1e9 for k in ("product", "torch product")}
  limit = products(128) / max(rate.values()) / 1e9
  lines = ["# The training step of a ViT", "", "`python experiments/bench/vit.py`", "",
           f"ViT-Ti/4, 32 pixels, batch 128, float32, AdamW. {machine['cores']} cores, load {machine['load']:.1f} at",
           f"the start, jax {machine['jax']}, memory by {machine['memory']}, {machine['peers']}, {machine['rounds']}",
           "rounds of turns.", "",
           "Ratios: median (least to most) of the rounds. Core-seconds add up what all cores did; other work on the",
           "machine changes them less. A product of 2048 x 2048 matrices in this run: "
           f"{rate['product']:.0f} GFLOP/s by JAX,", f"{rate['torch product']:.0f} by PyTorch.", "",
           "| step | sslx, s | timm, s | timm / sslx | in core-seconds |", "|---|---|---|---|---|",
           row("ViT", "sslx", "timm"), row("ViT, timm with sslx's allocator", "sslx", "tuned timm"),
           row("MAE, 75 % hidden", "mae", "timm mae"),
           row("MAE, timm with sslx's allocator", "mae", "tuned timm mae"), "",
           f"The products alone of the ViT's step are {products(128) / 1e9:.0f} GFLOP, {limit:.2f} s at the better",
           f"rate above. sslx takes {middle('sslx') / limit:.2f} times that, timm {middle('timm') / limit:.2f} times:",
           "so much faster than timm's any step in float32 can be here.", "",
           f"MAE's step over the ViT's: {spread(steps, 'mae', 'sslx')}; with timm {spread(steps, 'timm mae', 'timm')}.",
           "", "What each part is worth: the ViT's step without it over the step with all, batch 32.", "",
           "| without | time | core-seconds |", "|---|---|---|"]
  lines += [f"| {k} | {spread(parts, k, 'sslx')} | {spread(parts, k, 'sslx', 'core_seconds')} |" for k in PARTS]
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--races", nargs="+", choices=RACES, default=list(RACES))
  p.add_argument("--python", default=HERE.parent / ".venv-peers/bin/python", help="of the peers' environment")
  p.add_argument("--rounds", type=int, default=7)
  p.add_argument("--steps", type=int, default=2, help="of a turn")
  p.add_argument("--serve", choices=OURS | PARTS, help=argparse.SUPPRESS)
  p.add_argument("--batch", type=int, help=argparse.SUPPRESS)
  args = p.parse_args()
  if args.serve:
    serve(args.serve, args.batch, args.steps)
    return
  load = os.getloadavg()[0]
  if "steps" in args.races:
    versions = turns.versions(args.python, ("torch", "timm"))
  found = {name: compete(*RACES[name], args.python, args.rounds, args.steps) for name in args.races}
  for name, race in found.items():
    print("\n".join(f"{name}: {k}, {spread(race, k, 'sslx')} of sslx" for k in race))
  if set(found) < set(RACES):
    return
  import jax
  machine = {"cores": turns.CORES, "load": load, "jax": jax.__version__, "peers": versions, "rounds": args.rounds,
             "memory": turns.allocator()}
  (HERE / "results/vit.json").write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n")
  (HERE / "results/vit.md").write_text(page(machine, **found))
  print(page(machine, **found))


if __name__ == "__main__":
  main()
