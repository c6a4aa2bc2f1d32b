"""Is this machine fit for training: its devices and rates, whether the numbers are right on them, and what to fix."""

import importlib.metadata
import os
import pathlib
import shutil
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from sslx import checkpoint, config, cost, cpu, data, encoders, errors, losses, mesh, methods, optim, run, train
from sslx.augment import recipes
from sslx.encoders import attention, layers as plain

SIDE, WORDS = 2048, 2**25                                  # of the products, and floats that are copied
FREE = 5 * 2**30                                           # bytes on the disk that a run may well need


def examine(folder=None):
  """Yields (what, what was found, True | False | None, what to do): whether it is right, None for a fact or
  mere advice.

  folder: where runs shall be written; None for the working folder.
  """
  for check in (software, machine, rates, layers, devices, lambda: disk(folder or ".")):
    try:
      yield from check()
    except Exception as e:  # a machine that is not fit fails in ways of its own
      yield getattr(check, "__name__", "disk"), f"{type(e).__name__}: {errors.first_line(e)}", False, "see above"


def software():
  """Versions beside what the package asks for."""
  from packaging.requirements import Requirement
  for line in importlib.metadata.requires("sslx") or []:
    need = Requirement(line)
    if need.marker is None:
      have = importlib.metadata.version(need.name)
      if not need.specifier.contains(have, prereleases=True):
        yield need.name, have, False, f"pip install '{need.name}{need.specifier}'"
  yield "versions", ", ".join(f"{k} {v}" for k, v in run.machine()["versions"].items() if k != "scikit-learn"), None, ""


def machine():
  """The devices that jax sees, and those that it does not."""
  found = jax.devices()
  yield "devices", f"{len(found)} x {found[0].device_kind} ({found[0].platform})", None, ""
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
  yield "host", f"{cores} cores, {memory:.0f} GiB", None, ""
  if found[0].platform != "cpu":
    return
  for what, there, extra in (("an NVIDIA GPU", shutil.which("nvidia-smi"), "cuda12"),
                             ("a TPU", list(pathlib.Path("/dev").glob("accel*")), "tpu")):
    if there:
      yield what, "is here, and jax runs on the CPU", False, f"pip install 'sslx[{extra}]'"
  if sys.platform.startswith("linux"):
    library, used = cpu.jemalloc(), "jemalloc" in pathlib.Path("/proc/self/maps").read_text()
    yield ("allocator", "jemalloc" if used else "the system's", None,
           "" if library else "apt install libjemalloc2, or conda's jemalloc, saves up to a quarter of a step")
    yield ("from Python", "starts as it is", None,
           " ".join(f"{k}='{v}'" for k, v in cpu.wanted({}, cores, library).items()) + " before python")


def timed(f, *args, rounds=5):
  """Seconds of the fastest of several calls, compiled before."""
  jax.block_until_ready(f(*args))
  best = float("inf")
  for _ in range(rounds):
    begun = time.perf_counter()
    jax.block_until_ready(f(*args))
    best = min(best, time.perf_counter() - begun)
  return best


def rates():
  """How fast one device multiplies and copies, beside its published peaks."""
  chip = cost.chip_of(jax.devices()[0])
  for dtype in (jnp.float32, jnp.bfloat16)[:1 if chip is None else 2]:
    x = jnp.ones((SIDE, SIDE), dtype)
    rate = 2 * SIDE**3 / timed(jax.jit(lambda x: x @ x), x)
    share = "" if chip is None else f", {100 * rate / chip.flops:.0f} % of the published bfloat16 peak"
    slow = chip is not None and dtype == jnp.bfloat16 and rate < 0.3 * chip.flops
    yield (f"products, {jnp.dtype(dtype).name}", f"{rate / 1e9:,.0f} GFLOP/s{share}", False if slow else None,
           "is something else running on it?" if slow else "")
  rate = 8 * WORDS / timed(jax.jit(lambda x: x + 1), jnp.zeros(WORDS))
  share = "" if chip is None else f", {100 * rate / chip.bandwidth:.0f} % of the published peak"
  yield "memory", f"{rate / 1e9:,.0f} GB/s{share}", None, ""


def layers():
  """The forms of layers and losses that are made for speed, beside NumPy in float64."""
  rng = np.random.default_rng(0)
  q, k, v = rng.normal(size=(3, 2, 17, 4, 8))                                    # [B, T, heads, D]
  share = np.exp(np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(8))
  attended = np.einsum("bhts,bshd->bthd", share / share.sum(-1, keepdims=True), v)
  z = rng.normal(size=(48, 8))
  unit = z / np.linalg.norm(z, axis=1, keepdims=True)
  scores = unit @ unit.T / 0.1 - np.diag([np.inf] * 48)
  ntxent = np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(48), (np.arange(48) + 24) % 48])
  tiles = lambda z: losses.ntxent(z[:24], z[24:], temperature=0.1, chunk=5)
  for name, f, args, want in (("attention", attention.attend, (q, k, v), attended),
                              ("GELU", plain.gelu, (z,), z * (1 + special.erf(z / np.sqrt(2))) / 2),
                              ("NT-Xent in tiles", tiles, (z,), ntxent)):
    got = np.asarray(jax.jit(f)(*(jnp.asarray(x, jnp.float32) for x in args)), np.float64)
    apart = float(np.max(np.abs(got - want) / np.abs(want).max()))
    right = apart < (1e-5 if jax.devices()[0].platform == "cpu" else 1e-2)       # products are rounded elsewhere
    yield name, f"{apart:.1e} from NumPy's", right, "" if right else "please report this, with the versions"


def devices():
  """A step of SimCLR on one device and on all: the same views bit for bit, the same loss."""
  c = config.default()
  n = jax.device_count()
  c.batch_size, c.total_steps = 16 * n, 4
  c.encoder = encoders.options("resnet10", width=4, stem="small")
  c.method = methods.options("simclr", widths=(16, 8), aug=recipes.options("handwriting"))
  source, seen = data.load("digits"), []
  for count in dict.fromkeys((1, n)):
    over = mesh.arranged(mesh.ordered()[:count])
    method, tx = train.build(c)[1], optim.make(c.optim, 4, c.batch_size)
    batch = {"image": next(data.batches(source, batch_size=c.batch_size, seed=0))["image"]}
    state = train.init_state(method, tx, jax.random.key(0), batch)
    where = mesh.shardings(state, over)
    placed = {k: mesh.put(v, mesh.rows(over)) for k, v in batch.items()}
    views = jax.device_get(jax.jit(method.views)(jax.random.key(1), placed))
    _, metrics = train.make_step(method, tx, 4, where)(mesh.put(state, where), jax.random.key(1), placed)
    seen.append((views, float(metrics["loss"])))
  (views, loss), (again, other) = seen[0], seen[-1]
  same, apart = jax.tree.all(jax.tree.map(np.array_equal, views, again)), abs(other / loss - 1)
  right = same and apart < 1e-4 and np.isfinite(loss)
  yield ("one step on 1 and on all devices" if n > 1 else "one step",
         f"views {'the same bit for bit' if same else 'differ'}, loss {apart:.1e} apart", bool(right),
         "" if right else "please report this, with the versions")


def disk(folder):
  """A checkpoint written and read where runs shall be."""
  try:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".sslx-doctor-") as here:
      x = {"x": np.random.default_rng(0).random(2**22, np.float32)}
      saved = checkpoint.Checkpoints(here)
      begun = time.perf_counter()
      saved.save(1, x)
      saved.wait()
      rate = 4 * 2**22 / (time.perf_counter() - begun)
      right = np.array_equal(saved.restore(x)[1]["x"], x["x"])
      saved.close()
      free = shutil.disk_usage(here).free
  except OSError as e:
    yield "disk", f"{folder}: {e.strerror or e}", False, "give a folder that can be written: --workdir DIR"
    return
  yield "a checkpoint", f"written at {rate / 1e6:,.0f} MB/s, read again", right, "" if right else "is the disk sound?"
  yield "disk", f"{free / 2**30:,.0f} GiB free", free > FREE, "" if free > FREE else "checkpoints may not fit"
