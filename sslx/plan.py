"""What a run costs on devices that are not here: its real step is compiled for them and never run.

For TPUs by their own compiler (libtpu, no TPU needed), against the slice that the mesh fills; for GPUs and CPUs on
simulated CPU devices, whose memory is an upper bound: that compiler widens bfloat16 and fuses less.
"""

import math
import os
import re

import jax
import jax.numpy as jnp
import numpy as np

from sslx import cost, data, errors, inputs, mesh, optim, run, train

MOVED = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0, "all-to-all": 1.0, "collective-permute": 1.0}
DATA = {"examples": 1_281_167, "classes": 1000}            # ImageNet's, where the data are not here


def devices(chip, count):
  """`count` devices to compile for: of a TPU slice by libtpu, else simulated ones of this process."""
  kind = cost.CHIPS.get(chip)
  if kind is None or not kind.shape:
    if jax.device_count() < count:
      raise errors.UsageError(f"{count} devices are to be simulated, and there are {jax.device_count()}: start with "
                              f"XLA_FLAGS=--xla_force_host_platform_device_count={count}")
    return mesh.ordered()[:count]
  from jax.experimental import topologies
  try:
    import libtpu  # noqa: F401
  except ImportError:
    raise errors.UsageError(f"planning for TPU {chip} needs its compiler: pip install 'sslx[tpu-plan]'") from None
  for name, value in (("SKIP_MDS_QUERY", "1"), ("WORKER_HOSTNAMES", "localhost"), ("STDERR_LOG_LEVEL", "3"),
                      ("MIN_LOG_LEVEL", "3"), ("ACCELERATOR_TYPE", "v5litepod-4")):      # it need not look for a TPU
    os.environ.setdefault(f"TPU_{name}", value)
  options = {"chip_config_name": "megacore", "chips_per_host_bounds": (2, 2, 1)} if kind.shape == "3d" else {}
  try:
    found = topologies.get_topology_desc(platform="tpu", topology_name=f"{chip}:{wired(count, kind.shape)}", **options)
  except Exception as e:  # the compiler's own errors
    raise errors.UsageError(f"there is no slice of {count} {chip}: {errors.first_line(e)}") from e
  return sorted(found.devices, key=lambda d: (d.process_index, d.id))


def wired(count, shape):
  """The sides of a slice of `count` chips, a power of two: 32 is 4x8 in 2d and 2x4x4 in 3d."""
  axes = int(shape[0])
  power = count.bit_length() - 1
  if count != 2**power or count < 4:
    raise errors.UsageError(f"slices of TPUs have 4, 8, 16, 32, ... chips, not {count}: change --mesh")
  sides = sorted(2 ** (power // axes + (i < power % axes)) for i in range(axes))
  return "x".join(map(str, sides if axes == 2 or count > 4 else (2, 2, 1)))


def plan(config, chip, *, shape=None):
  """What a step of `config` costs each of the devices of config.mesh if they are of the kind `chip` (cost.CHIPS, cpu).

  shape: (H, W, C) of images that stand in for the data, with ImageNet's number of examples and classes.

  Returns {"params", "optimizer", "state", "batch", "peak": bytes a device; "flops": products a device and step;
  "bytes": read and written in its memory, as XLA counts them, what caches serve too; "collectives": {kind: [how many,
  bytes a device]}; "moved": bytes between devices; "seconds": {compute, memory, network} at the chip's peaks, of which
  the largest binds, {} for cpu; "loops": whether there are products in loops, of which XLA counts one round, so that
  bytes and collectives are too few and seconds are those of compute alone; ...}.
  """
  if chip != "cpu" and chip not in cost.CHIPS:
    raise errors.unknown("chip", chip, [*cost.CHIPS, "cpu"])
  n = config.mesh.data * config.mesh.fsdp
  if config.slices < 1 or (shape and min(shape) < 1):
    raise errors.UsageError(f"slices is {config.slices}, shape {shape}: both are at least 1")
  if n < 1 or config.batch_size % (n * config.slices):
    raise errors.UsageError(f"batch_size {config.batch_size} does not divide over {n} devices"
                            + (f" in slices={config.slices}" if config.slices > 1 else "") + ": change it, or --mesh")
  over = mesh.arranged(devices(chip, n), config.mesh.fsdp)
  c, batch = described(config, shape)
  method, tx = train.build(c)[1], optim.make(c.optim, c.total_steps, c.batch_size)
  key = jax.eval_shape(lambda: jax.random.key(0))
  inputs.check_reads(method, batch)
  reads = {k: batch[k] for k in method.reads}
  state = jax.eval_shape(lambda k, b: train.init_state(method, tx, k, b), key,
                         {k: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype) for k, v in reads.items()})
  where = mesh.of(c, state, over)
  laid = lambda tree, s: jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, s)
  batch = {k: laid(v, mesh.rows(over)) for k, v in reads.items()}
  traced = train.make_step(method, tx, c.total_steps, where, c.slices).trace(
      laid(state, where), laid(key, mesh.everywhere(over)), batch)
  compiled = traced.lower().compile()
  rounds = cost.flops(traced.jaxpr, once=True) < cost.flops(traced.jaxpr)
  used, moves = compiled.memory_analysis(), collectives(compiled.as_text(), n)
  result = {
      "chip": chip, "devices": n, "mesh": f"data={c.mesh.data}, fsdp={c.mesh.fsdp}", "batch": c.batch_size,
      "steps": c.total_steps, "precision": c.precision, "slices": c.slices,
      "params": mesh.share(state.params, where.params), "optimizer": mesh.share(state.opt, where.opt),
      "state": mesh.share(state.state, where.state),
      "input": sum(math.prod(v.shape) * v.dtype.itemsize for v in batch.values()) // n,
      "activations": used.temp_size_in_bytes,
      "peak": used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
      + used.temp_size_in_bytes + used.generated_code_size_in_bytes,
      "flops": cost.flops(traced.jaxpr) / n, "bytes": float((compiled.cost_analysis() or {}).get("bytes accessed", 0)),
      "loops": rounds, "collectives": moves, "moved": sum(b for _, b in moves.values())}
  return result | {"seconds": seconds(result, chip)}


def described(config, shape):
  """(the config, resolved and filled for its data, a batch of ShapeDtypeStructs).

  The data are those of the config; of TFDS's, which may have to be fetched, images of `shape` or data.size stand in.
  """
  size, source = config.data.size, None
  if shape is None and config.data.name.startswith("tfds:"):
    if not size:
      raise errors.UsageError(f"the images of {config.data.name} have a size that the config does not say: give "
                              "--shape HxWxC")
    shape = (size, size, 3)
  elif shape is None:
    source = inputs.load(config, "train")
  number, classes = DATA.values() if source is None else (len(source), data.numbered(source)[1])
  number = min(number, config.data.limit or number)
  c = run.resolve(config, number)
  run.fill(c, number, classes)
  if source is None:
    one = {"image": np.zeros((1, *shape), np.uint8), "label": np.zeros(1, np.int32), "index": np.zeros(1, np.int32)}
  else:
    one = source.batch(np.arange(1))
  return c, {k: jax.ShapeDtypeStruct((c.batch_size, *v.shape[1:]), jnp.asarray(v[:1]).dtype) for k, v in one.items()}


def seconds(result, chip):
  """{what may bind: seconds at the chip's published peaks}."""
  if chip not in cost.CHIPS:
    return {}
  peak = cost.CHIPS[chip]
  if result["loops"]:
    return {"compute": result["flops"] / peak.flops}
  return {"compute": result["flops"] / peak.flops, "memory": result["bytes"] / peak.bandwidth,
          "network": result["moved"] / peak.links}


def collectives(text, count):
  """{kind: [how many, bytes that each device sends]} of a compiled program's text; of loops one round.

  Over n devices an all-reduce moves 2 (n - 1) / n of its array, a gather or a scatter (n - 1) / n of the whole one.
  """
  found = {}
  pattern = re.compile(r"= (\(?[^=]*?) (" + "|".join(MOVED) + r")(?:-start)?\(.*")
  for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
    if m := pattern.search(line):
      kind = m[2]
      arrays = [width(t) * math.prod(map(int, filter(None, dims.split(","))))
                for t, dims in re.findall(r"(\w+)\[([\d,]*)\]", m[1])]
      if f"{kind}-start" in line and kind != "all-reduce":                         # what goes in stands there, too
        arrays = arrays[:1] if kind == "collective-permute" else arrays[len(arrays) // 2:]
      size = sum(arrays)
      n = group(line, count)
      size *= n if kind == "reduce-scatter" else 1
      number, moved = found.get(kind, (0, 0))
      share = 1 if kind == "collective-permute" else (n - 1) / n
      found[kind] = [number + 1, moved + int(MOVED[kind] * size * share)]
  return found


def width(name):
  """Bytes of an element of an HLO type: pred, s8, f8e4m3fn, bf16, c64, ..."""
  bits = re.match(r"(?:bf|[sufc])(\d+)", name)
  return max(1, int(bits[1]) // 8) if bits else 1


def group(line, count):
  """How many devices take part in a collective."""
  if m := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
    return m[1].count(",") + 1
  if m := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
    return int(m[1])
  if m := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", line):
    sides = dict(re.findall(r"'(\w+)'=(\d+)", m[1]))
    return math.prod(int(sides.get(a, 1)) for a in re.findall(r"'(\w+)'", m[2]))
  return count


def rows(result):
  """[(what, how much, a word on it)] for people."""
  size = lambda b: f"{b / 2**30:.2f} GiB" if b >= 2**29 else f"{b / 2**20:.1f} MiB"
  chip, least = cost.CHIPS.get(result["chip"]), result["seconds"]
  room = f"{100 * result['peak'] / chip.memory:.0f} % of {size(chip.memory)}" if chip else ""
  loops = "too little: of loops one round is counted" if result["loops"] else ""
  bound = "" if chip and chip.shape else "an upper bound, by the CPU's compiler"
  out = [("parameters", size(result["params"]), ""), ("optimizer", size(result["optimizer"]), ""),
         ("other state", size(result["state"]), "targets, queues, statistics"),
         ("batch", size(result["input"]), f"{result['batch'] // result['devices']} examples"),
         ("activations and the like", size(result["activations"]), bound),
         ("peak memory", size(result["peak"]), room),
         ("products", f"{result['flops'] / 1e12:.2f} TFLOP", "a step"),
         ("memory traffic", size(result["bytes"]), loops or "a step, as XLA counts it: caches take some of it off")]
  out += [(kind, size(moved), loops or f"{number} a step")
          for kind, (number, moved) in sorted(result["collectives"].items())]
  if least:
    binds = max(least, key=least.get)
    step = least[binds]
    out += [(f"time, {k}", f"{1e3 * v:.1f} ms", "binds" if k == binds else "") for k, v in least.items()]
  if least and not loops:
    out += [("speed", f"{result['batch'] / step:,.0f} examples/s", f"{result['steps'] * step / 3600:.1f} hours for "
             f"{result['steps']:,} steps, at {result['chip']}'s published peaks")]
  return out
