"""Where the time of a training step goes on this machine's CPUs, by the kind of operation, from a trace of XLA's.

  python experiments/bench/step_profile.py                       # a minute a row; leave the machine to it
  python experiments/bench/step_profile.py --rows simclr_16 vit

The steps are those of rows in peers.py, without the reading of files, run as `sslx pretrain` does: a simulated device a
core, memory that is kept. Shares are of the time of a step on all devices together. The results go to
experiments/results/profile.{json,md}.
"""

import collections
import gzip
import json
import pathlib
import re
import tempfile

import turns

RESULTS = turns.HERE.parents[1] / "experiments/results/profile.json"
ROWS = {  # name: (what, images)
    "simclr_16": ("SimCLR, ResNet-18 at width 16, 32 px", 256),
    "simclr_64": ("SimCLR, ResNet-18 at width 64, 32 px", 128),
    "vit": ("ViT-Ti/4, 32 px", 128), "mae": ("MAE on ViT-Ti/4, 32 px", 128),
    "dino": ("DINO on ViT-Ti/4, 2 views of 32 px and 6 of 16", 64)}
STEPS = 8                                                    # before a trace: memory still grows in the first
KINDS = ("convolutions", "their input gradients", "their kernel gradients", "products of matrices",
         "moving arrays about", "waiting for another device", "norms, activations, softmax, optimizer",
         "not in the trace: products and convolutions in Eigen's threads, overhead")


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
  """{"seconds": of a step, "shares": {kind: of all devices' time}}."""
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
  def seconds(state):
    begun = time.perf_counter()
    state, _ = jax.block_until_ready(compiled(state, key, batch))
    return time.perf_counter() - begun, state
  steps = []
  for _ in range(STEPS):
    took, state = seconds(state)
    steps.append(took)
  came, traced = sources(compiled.as_text()), []
  for _ in range(3):                                         # the fastest: others have waited for memory
    spent = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
      with jax.profiler.trace(folder):
        took, state = seconds(state)
      for name, microseconds in durations(folder):
        spent[kind(name, came.get(name, ""))] += microseconds / 1e6
    spent[KINDS[7]] = max(0, jax.device_count() * took - spent.total())
    traced.append((took, {k: spent[k] / spent.total() for k in KINDS}))
  return {"cores": turns.CORES, "seconds": min(steps), "shares": min(traced, key=lambda t: t[0])[1]}


def page(found):
  """The results as Markdown."""
  lines = ["# Where the time of a step goes", "", "`python experiments/bench/step_profile.py`", "",
           f"{next(iter(found.values()))['cores']} CPU cores, a simulated device each, float32: percent of the time",
           "that all devices had. A convolution's kernel gradient is a loop of products",
           "(`sslx/encoders/convolution.py`). Operations that XLA leaves to Eigen's threads, such as the kernels'",
           "gradients of a ViT and convolutions of 16 channels, are in the trace for the moment they start.", "",
           f"| step | images | seconds | {' | '.join(KINDS)} |", "|" + "---|" * (3 + len(KINDS))]
  for row, (what, size) in ROWS.items():
    if row in found:
      cells = " | ".join(f"{100 * found[row]['shares'][k]:.0f}" for k in KINDS)
      lines.append(f"| {what} | {size} | {found[row]['seconds']:.2f} | {cells} |")
  return "\n".join(lines) + "\n"


def main():
  rows = turns.rows_asked(__doc__, ROWS, measure)
  found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
  found = {row: f for row, f in found.items() if f["shares"].keys() == set(KINDS)}
  for row in rows:
    turns.tell(row)
    found[row] = turns.by_itself(__file__, turns.environment("pretrain"), row)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(page(found))
  print(page(found))


if __name__ == "__main__":
  main()
