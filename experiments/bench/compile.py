"""How long a start takes: the first one of a program, and a later one that finds it compiled.

  python experiments/bench/compile.py                       # two or three minutes; leave the machine to it

Each start is a process of its own. Tracing is Python's share, compiling XLA's; a later start finds the program where
JAX's persistent cache has it, as `sslx pretrain` does. The results go to experiments/results/compile.{json,md}.
"""

import json
import tempfile
import time

import turns

RESULTS = turns.HERE.parents[1] / "experiments/results/compile.json"
ROWS = {  # name: (what, config, its options, target of the first start in seconds)
    "simclr": ("SimCLR, ResNet-18, 32 px, batch 256", "simclr.py:cifar10", ["encoder.width=64"], 10),
    "vit_scan": ("MAE, ViT-B/16, 224 px, batch 64, scanned blocks", "mae.py:imagenet", ["encoder.scan=True"], 20),
    "vit": ("the same, each block by itself", "mae.py:imagenet", [], None)}
AGAIN = 5                                                    # seconds, the target of a later start
SIZE = {"simclr": (256, 32), "vit_scan": (64, 224), "vit": (64, 224)}


def measure(row):
  """{"trace", "compile": seconds} of a training step on abstract arrays: nothing is run."""
  import jax
  import numpy as np

  from sslx import config, optim, train
  _, file, options, _ = ROWS[row]
  batch, side = SIZE[row]
  c = config.override(config.load(f"{turns.HERE.parents[1]}/configs/{file}"), [f"--config.{o}" for o in options])
  c.precision = "float32"
  method, tx = train.build(c)[1], optim.make(c.optim, 1000, batch)
  image = jax.ShapeDtypeStruct((batch, side, side, 3), np.uint8)
  key, first = jax.random.key(0), {"image": np.zeros((1, side, side, 3), np.uint8)}
  state = jax.eval_shape(lambda k: train.init_state(method, tx, k, first), key)
  begun = time.perf_counter()
  lowered = train.make_step(method, tx, 1000).lower(state, key, dict.fromkeys(method.reads, image))
  traced = time.perf_counter()
  lowered.compile()
  return {"trace": traced - begun, "compile": time.perf_counter() - traced}


def page(found):
  """The results as Markdown."""
  lines = ["# How long a start takes", "", "`python experiments/bench/compile.py`", "",
           f"Seconds on {found['cores']} CPU cores, a training step with its views and its optimizer, one device; a",
           f"later start finds the compiled program on disk and should take at most {AGAIN}.", "",
           "| step | tracing | compiling | both | target | a later start |", "|---|---|---|---|---|---|"]
  for row, (what, _, _, target) in ROWS.items():
    if row in found["rows"]:
      first, again = found["rows"][row]
      both, later = sum(first.values()), sum(again.values())
      lines.append(f"| {what} | {first['trace']:.1f} | {first['compile']:.1f} | **{both:.1f}** | {target or ''} | "
                   f"{later:.1f} |")
  return "\n".join(lines) + "\n"


def main():
  rows = turns.rows_asked(__doc__, ROWS, measure)
  found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}}
  found["cores"] = turns.CORES
  for row in rows:
    with tempfile.TemporaryDirectory() as cache:
      kept = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
      found["rows"][row] = [turns.by_itself(__file__, kept, row) for _ in range(2)]
    turns.tell(f"{row}: {found['rows'][row]}")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(page(found))
  print(page(found))


if __name__ == "__main__":
  main()
