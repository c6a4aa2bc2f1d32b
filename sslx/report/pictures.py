"""What a report shows: the method's own views, what it gives back over training, the first layer's filters."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sslx import checkpoint, errors, inputs, methods, train
from sslx.methods import base
from sslx.report import figures, looks

ROWS, DRAWS, COLUMNS = 8, 3, 12          # images in the grid of views; how often each is augmented, if there is room
PAIRS = 64                               # images in the matrix of similarities
STEPS, FEW = 6, 3                        # checkpoints that show what a network learns to give back, and images of each


def spread(labels, count, rng):
  """`count` positions in which all classes appear alike often (any, without labels), sorted by class."""
  order = rng.permutation(len(labels))
  rank = np.zeros(len(order), int)                         # how many of its class come before it
  for c in np.unique(labels):
    own = np.flatnonzero(labels[order] == c)
    rank[own] = np.arange(len(own))
  chosen = order[np.argsort(rank, kind="stable")][:count]
  return chosen[np.argsort(labels[chosen], kind="stable")]


def views(run, source, names):
  """{"columns", "rows": [(class or None, [data URI])], "matrices": [(name, chart, size)], "strips", "sounds", ...}.

  "strips", "sounds": [(name, [data URI])]; "captioned": [(name, [(data URI, lines)])]; "training": {"columns", "rows":
  [(name, class or None, [data URI])]} of what the method gives back over training; "towers": what a method that
  compares towers reads.
  Raises errors.UsageError or errors.RunError for a run whose method cannot be built or has nothing to show.
  """
  config = ConfigDict(run["config"])
  if config.method.get("name") == "given":
    raise errors.UsageError("the run was given its method as an object, which a report cannot make again")
  if config.method.get("name") == "imported":
    raise errors.UsageError("these weights were imported, without the method that trained them")
  _, method = train.build(config)
  if method.show is None:
    raise errors.UsageError(f"the method {config.method.name} has no `show`, so it has no pictures to give")
  if not any((run["path"] / "checkpoints").glob("[0-9]*")):
    raise errors.UsageError(f"there are no checkpoints in {run['workdir']}, which alone hold the method's own networks")
  saved = checkpoint.Checkpoints(run["path"], create=False)
  try:
    step, tree = saved.restore_plain()
    return drawn(saved, step, tree, method, config, source, names)
  finally:
    saved.close()


def drawn(saved, step, tree, method, config, source, names):
  """`views` of a method whose newest checkpoint was read."""
  labels = source.labels
  rng = np.random.default_rng(config.seed)
  n = min(PAIRS if np.prod(source.shape) <= 3 * 64 ** 2 else PAIRS // 2, len(source))
  index = spread(np.zeros(len(source), int) if labels is None else labels, n, rng)
  batch = source.batch(index)
  inputs.check_reads(method, batch)
  batch = {k: jnp.asarray(batch[k]) for k in method.reads}
  picked = spread(np.zeros(n, int) if labels is None else labels[index], ROWS, rng)
  augment = jax.jit(method.views)
  classes = [None if labels is None else names[labels[index[i]]] for i in picked]

  see = lambda x: looks.picture(source.key, x, config.data.get("tokenizer", "bytes"))
  columns, cells = ["original"], [[see(batch[source.key][i])] for i in picked] if source.key in batch else []
  matrices, strips, sounds, captioned, draws, draw, first = [], [], [], [], DRAWS, 0, None
  while draw < draws:
    made = augment(jax.random.fold_in(jax.random.key(config.seed), draw), batch)
    first = made if draw == 0 else first
    for name, x in method.show(tree["params"], tree["state"], made).items():
      if isinstance(x, base.Text):
        strips += [(name, [looks.text(line) for line in x.lines[:COLUMNS]])] if draw == 0 else []
        continue
      if isinstance(x, base.Sound):
        sounds += [(name, [looks.player(v, x.rate) for v in plain(x.samples[:FEW])])] if draw == 0 else []
        continue
      if isinstance(x, base.Captioned):
        captioned += [(name, looks.captioned(x))] if draw == 0 else []
        continue
      cell, x = look(x)
      if x.ndim == 2 and draw == 0 and cell is None:
        rows = None if labels is None or len(x) % n else np.tile(labels[index], len(x) // n)
        matrices.append((name, figures.heat(x, rows, names, halves=x.shape == (2 * n, 2 * n)), x.shape))
      elif cell and len(x) % n == 0:
        parts = len(x) // n
        for part, images in enumerate(np.split(x, parts)):
          columns.append(name if parts == 1 else f"{name} {part + 1}")
          for row, i in zip(cells, picked, strict=True):
            row.append(cell(images[i]))
      elif cell and draw == 0:
        strips.append((name, [cell(v) for v in x[:COLUMNS]]))
    draw += 1
    draws = max(1, min(draws, COLUMNS // max(1, len(columns) // draw)))
  given, learnt = over_training(saved, step, tree, method, first, n)
  cells_of = lambda name, row: [look(x)[0](x[picked[row]]) for x in (*given.values(), *learnt[name].values())]
  training = {"columns": [*given, *(f"step {s}" for s in next(iter(learnt.values()), {}))],
              "rows": [(name, classes[row], cells_of(name, row)) for name in learnt
                       for row in range(0, len(picked), -(-len(picked) // FEW))]}
  return {"columns": columns, "rows": list(zip(classes, cells, strict=True)), "matrices": matrices, "strips": strips,
          "sounds": sounds, "captioned": captioned, "training": training, "step": step, "count": n, "draws": draws,
          "towers": list(method.reads) if method.spaces else [],
          "crisp": source.key == "image" and looks.crisp(source.shape),
          "note": looks.channels(source.shape[2]) if source.key == "image" else None}


def look(x):
  """(how one of them is drawn, or None, x on the host) of what a method's `show` gives."""
  x = plain(x)
  return {4: looks.thumbnail, 5: looks.film}.get(x.ndim), x


def plain(x):
  """An array on the host, integers as they are, floats of any width in float32."""
  x = np.asarray(x)
  return x if np.issubdtype(x.dtype, np.integer) else x.astype(np.float32)


def over_training(saved, newest, tree, method, made, n):
  """({name: images [n, H, W, C]} that the network does not change, {name: {step: images}} that it does), of `show`."""
  steps = [s for s in saved.steps() if s < newest]
  steps = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, STEPS - 1).round().astype(int))] if steps else []
  shown = {}
  for step in [*steps, newest]:
    try:
      at = tree if step == newest else saved.restore_plain(step)[1]
    except errors.RunError:                                  # a damaged one is left out
      continue
    shown_ = method.show(at["params"], at["state"], made)
    found = {k: plain(x) for k, x in shown_.items() if not isinstance(x, (base.Text, base.Sound, base.Captioned))}
    shown[step] = {k: x[:n] for k, x in found.items() if x.ndim in (4, 5) and len(x) % n == 0}
  first, last = shown[min(shown)], shown[newest]
  changing = [k for k in last if len(shown) > 1 and not np.array_equal(first[k], last[k])]
  return ({k: x for k, x in last.items() if k not in changing},
          {k: {step: x[k] for step, x in shown.items()} for k in changing})


def method_line(name):
  """(name, paper line) of a method."""
  line = methods.describe(name) if name in methods.names() else ""
  return (line.partition(" (")[0] or name, line)


def filters(variables, most=64):
  """{"tiles", "name", "shape", "shown", "width", "note"}: the first kernel [kh, kw, C, K], a PNG for each filter.

  The first in path order, one with "stem" or "patch" in its path before others. Raises errors.UsageError for none.
  """
  leaves = jax.tree_util.tree_flatten_with_path(variables["params"])[0]
  kernels = [(jax.tree_util.keystr(path, simple=True, separator="/"), v) for path, v in leaves if jnp.ndim(v) == 4]
  kernels.sort(key=lambda kernel: not any(word in kernel[0].lower() for word in ("stem", "patch")))
  if not kernels:
    raise errors.UsageError("the encoder has no convolution of images, so no filters that could be seen")
  name, kernel = kernels[0]
  kernel = np.asarray(kernel, np.float32)
  kh, kw, c, k = kernel.shape
  tiles = []
  for i in range(min(k, most)):
    x = kernel[..., i]
    x = x if c == 3 else x.mean(2)
    low, high = x.min(), x.max()
    tiles.append(looks.rgb((x - low) / (high - low) if high > low else np.full_like(x, 0.5)))
  factor = max(1, -(-48 // max(kh, kw)))
  tiles = [figures.png(t.repeat(factor, 0).repeat(factor, 1)) for t in tiles]
  return {"tiles": tiles, "name": name, "shape": kernel.shape, "shown": len(tiles), "width": factor * kw,
          "note": None if c in (1, 3) else f"Each is the mean over its {c} input channels."}
