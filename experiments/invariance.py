"""Do the numbers depend on the devices? A method of each kind on meshes of several layouts, and on several processes.

  python experiments/invariance.py --runs runs/invariance             # goes on where it stopped; half an hour
  python experiments/invariance.py --runs runs/invariance --methods simclr byol --layouts 8x1 1x4

configs/METHOD.py:tiny on digits, on simulated devices of this machine. DATAxFSDP is a layout; with +P, of P processes.
In float64 fifty steps' loss; in float32 the bits of the views, and one step's loss and gradients, all beside one
device. The table goes to experiments/results/invariance*.
"""

import argparse
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
KINDS = {"simclr": "ntxent", "moco": "queue", "byol": "EMA, batch norm", "swav": "Sinkhorn", "dino": "centering",
         "vicreg": "covariance", "mae": "masked", "context_encoder": "GAN"}
LAYOUTS = ("1x1", "2x1", "4x1", "8x1", "1x2", "1x4", "2x2+2")
STEPS = 50
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"        # to compile sooner


def measure(method, layout, out, address="", process=0):
  """What one process of a layout sees: the curve, and of one float32 step views, loss and gradients, to `out`."""
  import jax
  import numpy as np

  from sslx import checkpoint, config, data, mesh, optim, processes, run, train
  shape, _, count = layout.partition("+")
  if count:
    processes.join(address, int(count), process)
  c = config.load(f"{HERE.parent}/configs/{method}.py:tiny").unlock()
  c.mesh.data, c.mesh.fsdp = map(int, shape.split("x"))
  c.mesh.least = 1                                           # all that can be split is
  source, over = data.load(c.data.name), mesh.make_mesh(c)
  run.fill(c, len(source), 10)

  def begun():
    made, tx = train.build(c)[1], optim.make(c.optim, STEPS, c.batch_size)
    batches = ({k: b[k] for k in made.reads} for b in data.batches(
        source, batch_size=c.batch_size, seed=0, process_index=jax.process_index(), process_count=jax.process_count()))
    state = train.init_state(made, tx, jax.random.key(0), source.batch(np.arange(1)))
    where = mesh.of(c, state, over)
    return made, tx, (mesh.place(b, over) for b in batches), mesh.put(state, where), where

  with jax.enable_x64(True):
    made, tx, batches, state, where = begun()
    step, curve = train.make_step(made, tx, STEPS, where), []
    for _ in range(STEPS):
      state, metrics = step(state, jax.random.key(1), next(batches))
      curve.append(float(metrics["loss"]))
  made, tx, batches, state, where = begun()
  views = jax.jit(made.views)(jax.random.key(2), next(batches))
  (loss, _), grads = jax.jit(jax.value_and_grad(made.loss, has_aux=True))(
      state.params, state.state, views, jax.random.key(3), 0.5)
  digest = hashlib.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in jax.tree.leaves(mesh.whole(views))))
  grads = [np.ravel(g).tolist() for g in jax.tree.leaves(mesh.whole(grads))]
  if processes.first():
    split = sum("fsdp" in str(s.spec) for s in jax.tree.leaves(where))
    checkpoint.write_json(out, {"curve": curve, "loss": float(loss), "grads": sum(grads, []), "split": split,
                                "views": digest.hexdigest()})


def start(method, layout, out):
  """Measures in processes of their own, unless that was done before."""
  if out.exists():
    return
  shape, _, count = layout.partition("+")
  data, fsdp = map(int, shape.split("x"))
  count = int(count or 1)
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{s.getsockname()[1]}"
  env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={data * fsdp // count} {QUICK}",
                      "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
  run = [subprocess.Popen([sys.executable, __file__, "--worker", method, layout, str(out), address, str(i)], env=env)
         for i in range(count)]
  if sum(abs(p.wait()) for p in run):                        # waits for all
    raise SystemExit(f"{method} on {layout} failed")


def apart(one, other):
  """How far a layout's figures are from one device's: of the curve, of the loss, of the gradients; whether views are
  the same."""
  import numpy as np
  a, b = (np.array(r["curve"]) for r in (one, other))
  g, h = (np.array(r["grads"]) for r in (one, other))
  return {"curve": float(np.max(np.abs(a - b) / np.abs(a))), "loss": abs(other["loss"] / one["loss"] - 1),
          "grads": float(np.linalg.norm(g - h) / np.linalg.norm(g)), "views": one["views"] == other["views"],
          "split": other["split"]}


def table(results):
  """The results as Markdown."""
  out = ["# The numbers do not depend on the devices", "",
         "`python experiments/invariance.py`: configs/METHOD.py:tiny on scikit-learn's digits, on simulated devices of",
         "a CPU, beside one device. A layout DATAxFSDP has the batch spread over all its devices and the train state",
         "split over FSDP of them, every array that divides; with +2 they belong to two processes, each of which loads",
         "its part of the same batch. *Curve*: largest relative difference of the loss over 50 float64 steps. *Loss*,",
         "*grads*: that of one float32 step's loss, and of its gradients, norm to norm; *views*: whether they are the",
         "same bit for bit. Compiled with little optimisation, to be sooner done.", "",
         "| kind | method | layout | arrays split | curve, float64 | loss, float32 | grads, float32 | views |",
         "|" + "---|" * 8]
  for method, layouts in results.items():
    for layout, r in layouts.items():
      out.append(f"| {KINDS[method]} | {method} | {layout} | {r['split'] or ''} | {r['curve']:.1e} | {r['loss']:.1e} "
                 f"| {r['grads']:.1e} | {'same' if r['views'] else 'differ'} |")
  worst = {k: max(r[k] for layouts in results.values() for r in layouts.values()) for k in ("curve", "loss", "grads")}
  out += ["", f"The largest: curve {worst['curve']:.1e}, loss {worst['loss']:.1e}, gradients {worst['grads']:.1e}."]
  return "\n".join(out) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--runs", default="runs/invariance")
  p.add_argument("--methods", nargs="+", default=list(KINDS), choices=KINDS, metavar="METHOD")
  p.add_argument("--layouts", nargs="+", default=list(LAYOUTS[1:]), metavar="DATAxFSDP[+P]")
  args = p.parse_args()
  results = {}
  for method in args.methods:
    folder = pathlib.Path(args.runs) / method
    folder.mkdir(parents=True, exist_ok=True)
    for layout in (LAYOUTS[0], *args.layouts):
      start(method, layout, folder / f"{layout}.json")
      found = json.loads((folder / f"{layout}.json").read_text())
      if layout == LAYOUTS[0]:
        one, results[method] = found, {}
      else:
        results[method][layout] = apart(one, found)
        print(f"{method:<16} {layout:<6} " + "  ".join(
            f"{k} {v:.1e}" if isinstance(v, float) else f"{k} {v}" for k, v in results[method][layout].items()),
            flush=True)
    (HERE / "results" / "invariance.json").write_text(json.dumps(results, indent=2) + "\n")
    (HERE / "results" / "invariance.md").write_text(table(results))
  print(table(results))


if __name__ == "__main__":
  if sys.argv[1:2] == ["--worker"]:
    measure(*sys.argv[2:4], pathlib.Path(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
  else:
    main()
