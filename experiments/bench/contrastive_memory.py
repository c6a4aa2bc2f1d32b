"""NT-Xent in tiles: memory, time and exactness, beside the form that holds the whole matrix of logits.

  python experiments/bench/contrastive_memory.py

Four parts, each a process of its own (`--part NAME` runs one): `exact` against float64, `speed` at 4,096 pairs,
`devices` (XLA's count of temporaries a device), `large` with 65,536 pairs. A part takes up to some minutes. Results go
to experiments/results/contrastive_memory.{json,md}.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time

DIMENSIONS, TEMPERATURE = 128, 0.1
RESULTS = pathlib.Path(__file__).parents[1] / "results"
PARTS = ("exact", "speed", "devices", "large")


def say(text):
  print(text, file=sys.stderr, flush=True)


def views(pairs):
  """Two views [B, D] of random examples, alike but not the same."""
  import jax
  a, b = jax.random.split(jax.random.key(0))
  z = jax.random.normal(a, (pairs, DIMENSIONS))
  return z, z + jax.random.normal(b, z.shape)


def dense(z1, z2):
  """NT-Xent with the matrix of all logits."""
  import jax
  import jax.numpy as jnp
  z = jnp.concatenate([z1, z2])
  z = z / jnp.linalg.norm(z, axis=1, keepdims=True)
  n = len(z)
  logits = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, jnp.matmul(z, z.T, precision="highest") / TEMPERATURE)
  return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(n), (jnp.arange(n) + n // 2) % n])


def tiled(z1, z2, chunk=None):
  from sslx import losses
  return losses.ntxent(z1, z2, temperature=TEMPERATURE, chunk=chunk)


def reference(z1, z2):
  """optax's, whose pairs are told by labels."""
  import jax.numpy as jnp
  import optax
  z = jnp.concatenate([z1, z2])
  return optax.losses.ntxent(z, jnp.tile(jnp.arange(len(z1)), 2), temperature=TEMPERATURE)


def compiled(f, *args):
  import jax
  return jax.jit(jax.value_and_grad(f, (0, 1))).lower(*args).compile()


def exact(pairs=2048):
  """Errors in float32 against the dense form in float64."""
  import jax
  import numpy as np
  z = views(pairs)
  value, gradient = compiled(tiled, *z)(*z)
  with jax.enable_x64(True):
    wide = [np.asarray(v, float) for v in z]
    want, slope = (np.array(v, float) for v in compiled(dense, *wide)(*wide))
  value, gradient = np.array(value, float), np.array(gradient, float)
  return {"pairs": pairs, "value_error": float(abs(value - want) / abs(want)),
          "gradient_error": float(np.abs(gradient - slope).max() / np.abs(slope).max())}


def speed(pairs=4096, rounds=9):
  """Seconds of value and gradient, taking turns, and XLA's count of temporaries."""
  import jax
  z = views(pairs)
  forms = {"tiled": compiled(tiled, *z), "dense": compiled(dense, *z)}
  seconds, processor = ({name: [] for name in forms} for _ in range(2))
  for n in range(rounds + 1):                              # the first round warms up
    for name, f in forms.items():
      start, used = time.perf_counter(), time.process_time()
      jax.block_until_ready(f(*z))
      seconds[name].append(time.perf_counter() - start)
      processor[name].append(time.process_time() - used)
    say(f"round {n} of {rounds}")
  forms["optax"] = compiled(reference, *z)                 # compiled only: it wants more memory than most machines have
  megabytes = {name: f.memory_analysis().temp_size_in_bytes / 1e6 for name, f in forms.items()}
  median = lambda found: {k: statistics.median(v[1:]) for k, v in found.items()}
  return {"pairs": pairs, "seconds": median(seconds), "processor_seconds": median(processor), "megabytes": megabytes}


def devices(pairs=4096):
  """Megabytes of temporaries a device for each loss that has tiles, under jit with the batch sharded over a mesh."""
  import jax
  import jax.numpy as jnp
  from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

  from sslx import losses
  forms = {
    "ntxent, dense": lambda a, b, queue: dense(a, b), "ntxent": lambda a, b, queue: tiled(a, b),
    "dcl": lambda a, b, queue: losses.dcl(a, b, temperature=TEMPERATURE),
    "supcon": lambda a, b, queue: losses.supcon(a, jnp.arange(len(a)) // 4, temperature=TEMPERATURE),
    "clip": lambda a, b, queue: losses.clip(a, b, scale=10.0),
    "siglip": lambda a, b, queue: losses.siglip(a, b, scale=10.0, bias=-10.0),
    "info_nce, a queue of 65,536 (34 MB) on each device":
        lambda a, b, queue: losses.info_nce(a, b, queue, temperature=TEMPERATURE)}
  found = {}
  for name, f in forms.items():
    found[name] = []
    for n in (1, 2, 4, 8):
      mesh = jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n])
      x, queue = (jax.ShapeDtypeStruct((rows, DIMENSIONS), jnp.float32, sharding=NamedSharding(mesh, spec))
                  for rows, spec in ((pairs, P("data")), (65536, P())))
      found[name].append(compiled(f, x, x, queue).memory_analysis().temp_size_in_bytes / 1e6)
    say(f"{name}: {', '.join(f'{m:.1f}' for m in found[name])} MB on 1, 2, 4, 8 devices")
  return {"pairs": pairs, "devices": [1, 2, 4, 8], "megabytes": found}


def large(pairs=65536):
  """Seconds and the process's peak memory for value and gradient."""
  import jax
  z = jax.block_until_ready(views(pairs))
  f = compiled(tiled, *z)
  before, start, used, done = peak(), time.perf_counter(), time.process_time(), threading.Event()

  def progress():
    while not done.wait(20):
      say(f"{time.perf_counter() - start:.0f} s, {peak():.0f} MB so far")

  threading.Thread(target=progress, daemon=True).start()
  value, gradient = jax.block_until_ready(f(*z))
  done.set()
  return {"pairs": pairs, "seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - used,
          "peak_megabytes": peak(), "before_megabytes": before, "loss": float(value),
          "finite": bool(all(jax.numpy.isfinite(g).all() for g in gradient))}


def peak():
  """The most memory that this process has held, in megabytes."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def page(r):
  """The results as Markdown."""
  e, s, d, g = (r[name] for name in PARTS)
  lines = ["# NT-Xent in memory linear in the batch", "", "`python experiments/bench/contrastive_memory.py`", "",
           f"Value and gradient at {DIMENSIONS} dimensions in float32, on {r['machine']['cores']} cores "
           f"(jax {r['machine']['jax']}).", "",
           "| | |", "|---|---|",
           f"| {g['pairs']:,} pairs: peak memory of the process | **{g['peak_megabytes']:,.0f} MB** |",
           f"| {g['pairs']:,} pairs: time, and that of the processors | {g['seconds']:.0f} s, "
           f"{g['processor_seconds']:.0f} s |",
           f"| one matrix of logits would take | {(2 * g['pairs'])**2 * 4 / 1e9:.0f} GB |",
           f"| {e['pairs']:,} pairs: relative error of the value, against float64 | {e['value_error']:.1e} |",
           f"| {e['pairs']:,} pairs: error of the gradient over its largest entry | {e['gradient_error']:.1e} |",
           "", f"At {s['pairs']:,} pairs, on one device (optax's form was compiled, not run):", "",
           "| form | seconds, and those of the processors | temporaries |", "|---|---|---|"]
  seconds = {k: f"{v:.2f}, {s['processor_seconds'][k]:.2f}" for k, v in s["seconds"].items()}
  lines += [f"| {k} | {seconds.get(k, '')} | {m:,.0f} MB |" for k, m in s["megabytes"].items()]
  lines += ["", f"Temporaries a device in MB, by XLA's memory analysis, at {d['pairs']:,} pairs (supcon: rows) sharded",
            "over a mesh, under `jax.jit` without an axis name:", "",
            "| devices | " + " | ".join(map(str, d["devices"])) + " |", "|---" * 5 + "|"]
  lines += [f"| {name} | " + " | ".join(f"{m:,.1f}" for m in row) + " |" for name, row in d["megabytes"].items()]
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--part", choices=PARTS, help="run this part alone and print its figures")
  part = p.parse_args().part
  if part:
    print(json.dumps(globals()[part]()))
    return
  import jax
  found = {"machine": {"cores": os.cpu_count(), "processor": platform.machine(), "jax": jax.__version__}}
  for name in PARTS:
    say(f"part {name}")
    flags = "--xla_force_host_platform_device_count=8" if name == "devices" else ""
    env = {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}
    out = subprocess.run([sys.executable, __file__, "--part", name], env=env, text=True, check=True,
                         stdout=subprocess.PIPE).stdout
    say(out.strip())
    found[name] = json.loads(out)
  RESULTS.mkdir(parents=True, exist_ok=True)
  (RESULTS / "contrastive_memory.json").write_text(json.dumps(found, indent=2) + "\n")
  (RESULTS / "contrastive_memory.md").write_text(page(found))
  print(page(found))


if __name__ == "__main__":
  main()
