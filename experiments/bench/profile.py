"""Where the time of a training step goes on this machine's CPUs, by the kind of operation, from a trace of XLA's.

  python experiments/bench/profile.py                       # a minute a row; leave the machine to it
  python experiments/bench/profile.py --rows simclr_16 vit

The steps are those of rows in peers.py, without the reading of files, run as `sslx pretrain` does: a simulated device a
core, memory that is kept. Shares are of the time that the operations of all devices took together. The results go to
experiments/results/profile.{json,md}.
"""

import argparse
import collections
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import turns

RESULTS = turns.HERE.parents[1] / "experiments/results/profile.json"
ROWS = {  # name: (what, images)
    "simclr_16": ("SimCLR, ResNet-18 at width 16, 32 px", 256),
    "simclr_64": ("SimCLR, ResNet-18 at width 64, 32 px", 128),
    "vit": ("ViT-Ti/4, 32 px", 128), "mae": ("MAE on ViT-Ti/4, 32 px", 128),
    "dino": ("DINO on ViT-Ti/4, 2 views of 32 px and 6 of 16", 64)}
KINDS = ("convolutions", "their input gradients", "their kernel gradients", "products of matrices",
         "moving arrays about", "waiting for another device", "all else: norms, activations, softmax, optimizer")


def kind(name, source):
  """Of an operation of the compiled program; source: the operations of the model's that it came from."""
  backward = "transpose(" in source
  if name.startswith(("all-reduce", "all-gather", "collective", "reduce-scatter")):
    return KINDS[5]
  if name.startswith("while") and "conv" in source:          # sslx/encoders/convolution.py
    return KINDS[2]
  if "conv_general_dilated" in source and name.startswith(("conv", "ynn", "xnn")):
    return KINDS[1] if backward else KINDS[0]
  if name.startswith(("dot", "ynn", "xnn", "batch-matmul")):
    return KINDS[3]
  if re.match(r"copy|transpose|wrapped_copy|wrapped_transpose|pad|concatenate|bitcast_copy|slice|wrapped_slice", name):
    return KINDS[4]
  return KINDS[6]


def sources(text):
  """{operation: where it came from, with what the computations that it calls came from} of a compiled program."""
  computations, calls, own, inside = collections.defaultdict(str), {}, {}, ""
  for line in text.splitlines():
    if start := re.match(r"(?:ENTRY )?%?([\w.-]+) \(.*\{$", line):
      inside = start.group(1)
    elif found := re.match(r"\s+(?:ROOT )?%?([\w.-]+) = ", line):
      name, source = found.group(1), " ".join(re.findall(r'op_name="([^"]*)"', line))
      own[name], calls[name] = source, re.findall(r"(?:calls|body|to_apply)=%?([\w.-]+)", line)
      computations[inside] += " " + source
  return {name: " ".join([source, *(computations[c] for c in calls[name])]) for name, source in own.items()}


def durations(folder):
  """[(operation, microseconds)] of a trace; those within another on the same thread are part of that."""
  file = next(pathlib.Path(folder).rglob("*.trace.json.gz"))
  threads = collections.defaultdict(list)
  for e in json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]:
    if e.get("ph") == "X" and "hlo_op" in e.get("args", {}):
      threads[e["pid"], e["tid"]].append((e["ts"], -e["dur"], e["args"]["hlo_op"]))
  for events in threads.values():
    end = 0
    for start, minus, name in sorted(events):
      if start >= end:
        end = start - minus
        yield name, -minus


def measure(row):
  """{"seconds": of a step, "shares": {kind: of all operations' time}}."""
  import time

  import jax
  import numpy as np
  import optax
  import ours
  import vit

  from sslx import config, optim, train
  size = ROWS[row][1]
  images = {"image": np.random.default_rng(0).integers(0, 256, (size, 32, 32, 3), np.uint8)}
  tx = optax.adamw(1e-3, weight_decay=0.05)
  if row.startswith("simclr"):
    width = int(row.split("_")[1])
    c = config.override(config.load(f"{ours.CONFIGS}/simclr.py:cifar10"), [
        f"--config.encoder.width={width}", f"--config.method.widths=({8 * width},128)"])
    method, tx = train.build(c)[1], optim.make(c.optim, 1000, size)
  elif row == "dino":
    method = ours.of_dino(4096)
  else:
    method, images = vit.of_model(row, size)
  step, state, key, place = ours.over_devices(method, tx, images)
  batch = place(images)
  compiled = step.lower(state, key, batch).compile()
  seconds = []
  for _ in range(3):
    begun = time.perf_counter()
    state, metrics = jax.block_until_ready(compiled(state, key, batch))
    seconds.append(time.perf_counter() - begun)
  came, spent = sources(compiled.as_text()), collections.Counter()
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      jax.block_until_ready(compiled(state, key, batch))
    for name, time_ in durations(folder):
      spent[kind(name, came.get(name, ""))] += time_
  return {"cores": turns.CORES, "seconds": min(seconds), "shares": {k: spent[k] / spent.total() for k in KINDS}}


def page(found):
  """The results as Markdown."""
  lines = ["# Where the time of a step goes", "", "`python experiments/bench/profile.py`", "",
           f"{next(iter(found.values()))['cores']} CPU cores, a simulated device each, float32: percent of the time",
           "that the operations of all devices took. A convolution's kernel gradient is a loop of products",
           "(`sslx/encoders/convolution.py`).", "",
           f"| step | images | seconds | {' | '.join(KINDS)} |", "|" + "---|" * (3 + len(KINDS))]
  for row, (what, size) in ROWS.items():
    if row in found:
      cells = " | ".join(f"{100 * found[row]['shares'][k]:.0f}" for k in KINDS)
      lines.append(f"| {what} | {size} | {found[row]['seconds']:.2f} | {cells} |")
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
  p.add_argument("--one", choices=ROWS, help=argparse.SUPPRESS)
  args = p.parse_args()
  if args.one:
    print(json.dumps(measure(args.one)))
    return
  found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
  for row in args.rows:
    turns.tell(row)
    out = subprocess.run([sys.executable, __file__, "--one", row], text=True, stdout=subprocess.PIPE, check=True,
                         env=os.environ | turns.environment("pretrain")).stdout
    found[row] = json.loads(out.splitlines()[-1])
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(page(found))
  print(page(found))


if __name__ == "__main__":
  main()
