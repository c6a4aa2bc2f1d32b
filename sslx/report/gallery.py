"""The gallery: one HTML page with every operation of sslx.augment at several strengths and every recipe, on images."""

import base64
import functools
import importlib
import inspect
import io
import os
import re
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from sslx import augment, data, errors, report
from sslx.augment import color, mask, recipes
from sslx.report import figures, looks, pictures, strengths

SHOWN, DRAWS, VIEWS = 2, 4, 6            # images an operation; draws of one without strengths; views a recipe, at least
CRISP = 48                               # pixels: smaller images are shown pixel by pixel
VEIL = np.array([0.42, 0.47, 0.53], np.float32)            # the colour of what a mask hides
TINT = np.array([0.94, 0.56, 0.19], np.float32)            # and of what is to be predicted
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})     # runs a few times
GIVEN = ("key", "image", "other", "shape")


def write(name, out, *, names=None, images=6, size=0, seed=0):
  """Writes the gallery of a data set to `out` and returns its path.

  Args:
    name, size: as in data.load.
    names: of recipes; None for all of the library's. A dotted name is the user's own.
    images: how many; recipes show all, operations the first two.

  Raises:
    errors.UsageError: an unknown recipe or data set, images that differ in size, no place for a file.
  """
  out = report.place(out, "gallery")
  if images < 1:
    raise errors.UsageError(f"images is {images}; give a number from 1 on")
  names = recipes.names() if names is None else list(dict.fromkeys(names))
  augs = {n: recipes.make(n) for n in names}
  source = data.load(name, size=size)
  batch = picked(source, max(images, SHOWN), seed)
  key = jax.random.key(seed)
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:           # it is the compilers that take the time
    stacks = pool.map(lambda n: recipe(n, augs[n], batch[:images], key), augs)
    shown = sections(batch[:SHOWN], key, pool.map)
    stacks = twins(list(stacks))
  kind, _, path = source.name.partition(":")
  report.save(out, "gallery.html.jinja", name=source.name, title=path.rstrip("/").rpartition("/")[2] or kind,
              shape=source.shape, images=min(images, len(batch)), seed=seed, sections=shown, recipes=stacks,
              note=looks.channels(source.shape[2]), crisp=max(source.shape[:2]) <= CRISP)
  return out


def picked(source, count, seed):
  """`count` images [n, H, W, C], classes alike often; classes take turns, so that the first ones differ."""
  labels = np.zeros(len(source), int) if source.labels is None else source.labels
  index = pictures.spread(labels, min(count, len(source)), np.random.default_rng(seed))
  seen = [int(np.sum(labels[index[:i]] == labels[index[i]])) for i in range(len(index))]
  return np.asarray(source.batch(index[np.argsort(seen, kind="stable")])["image"])


def operations():
  """{module: [(name, function)]}: what sslx.augment exports and the masks, in the order of the source."""
  public = {n: getattr(augment, n) for n in augment.__all__}
  takes = lambda f: inspect.isfunction(f) and {"key", "shape"} <= set(inspect.signature(f).parameters)
  masks = {n: f for n, f in vars(mask).items() if n[0] != "_" and takes(f) and f.__module__ == mask.__name__}
  out = {}
  for name, f in {**masks, **public}.items():
    if callable(f) and not inspect.isclass(f):
      out.setdefault(getattr(f, "__module__", None) or augment.__name__, []).append((name, f))
  line = lambda named: getattr(getattr(inspect.unwrap(named[1]), "__code__", None), "co_firstlineno", 0)
  return {module: sorted(out[module], key=line) for module in sorted(out)}


def sections(batch, key, run):
  """[(id, title, [row])], one a module; `run` is a map."""
  image, home = color.to_float(batch), operations()
  rows = iter(run(lambda named: operation(*named, image, key), [named for part in home.values() for named in part]))
  return [(module.rpartition(".")[2], re.split(r"\.|:", first(importlib.import_module(module)))[0],
           [next(rows) for _ in part]) for module, part in home.items()]


def operation(name, f, image, key):
  """{"name", "line", "call", "missing", ...} of an operation on images [B, H, W, C]; see `applied`."""
  out = {"name": name, "line": first(f), "call": name, "missing": None, "columns": []}
  try:
    return out | applied(name, f, image, key)
  except Exception as e:                                   # of another form than those here, or not for such images
    return out | {"missing": errors.first_line(e).rstrip(".")}


def applied(name, f, image, key):
  """{"call", "columns": [(lines of the caption, [picture])], "fixed": arguments that stay, "note"} of an operation."""
  call = re.sub(r"\d+\.\d{4,}", lambda number: f"{float(number[0]):.3g}", f"{name}{inspect.signature(f)}")
  parameters = inspect.signature(f).parameters
  masked = "shape" in parameters
  if not masked and "image" not in parameters:
    raise ValueError("it takes no image")
  h, w = image.shape[1:3]
  patch = max(1, round(min(h, w) / 14))                    # a grid as fine as that of many encoders
  grid = (-(-h // patch), -(-w // patch)) if masked else (h, w)
  cases, vary = strengths.of(name, f, GIVEN, *grid)
  random = "key" in parameters
  draws = DRAWS if random and not vary else 1
  bound = {"shape": (len(image), *grid)} if masked else {}

  def program(key, image):
    given = {"key": key, "image": image, "other": jnp.roll(image, 1, 0), **bound}
    given = {k: v for k, v in given.items() if k in parameters}
    run = lambda case: f(**given | strengths.plain(case))
    return [run(case) for case in cases]
  program = compiled(program)
  made = [m for i in range(draws) for m in program(jax.random.fold_in(key, i), image)]
  made = [veiled(image, parts(m, jnp.bool_), patch) if masked else parts(m, jnp.floating)[0] for m in made]
  if any(m.ndim != 4 or len(m) != len(image) for m in made):
    raise ValueError(f"it gives {[list(m.shape) for m in made]}, no images")
  captions = ([[f"draw {i + 1}"] for i in range(draws)] if draws > 1 else
              [[f"{k}={strengths.words(c[k])}" for k in vary if k in c] for c in cases])
  fixed = {k: v for k, v in cases[0].items() if k not in vary}
  low, high = min(float(m.min()) for m in made), max(float(m.max()) for m in made)
  note = None
  if low < -0.01 or high > 1.01:
    made = [(m - low) / (high - low) for m in made]
    note = f"Values from {low:.2g} to {high:.2g} are brought to the range of a picture."
  columns = [(["original"], image), *zip(captions, made, strict=True)]
  return {"call": call, "note": note, "fixed": ", ".join(f"{k}={strengths.words(v)}" for k, v in fixed.items()),
          "columns": [(caption, [picture(x, w) for x in np.asarray(m)]) for caption, m in columns]}


def parts(made, kind):
  """The arrays of one kind that an operation gives: a mask or two, or an image and what goes with it."""
  made = [np.asarray(m) for m in jax.tree.leaves(made) if jnp.issubdtype(m.dtype, kind)]
  if not made:
    raise ValueError(f"it gives no {'mask' if kind == jnp.bool_ else 'image'}")
  return made


def veiled(image, masks, patch):
  """Images [B, H, W, C] under masks [B, h, w] of hidden patches; or of seen ones and of targets [B, V, h, w]."""
  H, W, C = image.shape[1:]
  fine = lambda m: m.repeat(patch, -2).repeat(patch, -1)[..., :H, :W, None]
  image = np.asarray(image, np.float32)
  image = image[..., :3] if C >= 3 else image.mean(3, keepdims=True).repeat(3, 3)
  if len(masks) == 1:
    return np.where(fine(masks[0]), VEIL, image)
  seen, targets = fine(masks[0]), fine(masks[1]).any(1)
  return np.where(targets, (image + 2 * TINT) / 3, np.where(seen, image, VEIL))


def picture(image, side):
  """(data URI, width as a share of `side`): lossless where pixels count."""
  x = looks.rgb(image)
  share = x.shape[1] / side
  if max(x.shape[:2]) <= CRISP:
    return figures.png(x), share
  buffer = io.BytesIO()
  Image.fromarray(x if max(x.shape) <= looks.LARGE else looks.sized(x)).save(buffer, "webp", quality=88)
  return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(), share


def recipe(name, aug, batch, key):
  """{"name", "line", "options", "rows": [[(caption, [picture])]], "missing": why there are none} of one recipe."""
  out = {"name": name, "line": first(aug), "options": "", "rows": [], "missing": None}
  if name in recipes.RECIPES:
    out["line"] = first(recipes.RECIPES[name])
    out["options"] = ", ".join(f"{k}={strengths.words(v)}" for k, v in recipes.options(name).items() if k != "name")
  try:
    views = compiled(functools.partial(recipes.views, aug))
    made = [views(key, batch)]
    each = sum(v.shape[1] for v in made[0])
    made += [views(jax.random.fold_in(key, i), batch) for i in range(1, min(DRAWS, VIEWS // each))]
    for i, image in enumerate(batch):
      row = [("original", [picture(image, batch.shape[2])])]
      for draw, arrays in enumerate(made):
        for v in arrays:
          words = [f"draw {draw + 1}"] if len(made) > 1 else []
          words += [f"{v.shape[1]} of {v.shape[2]} x {v.shape[3]}"] if len(arrays) > 1 else []
          row.append((", ".join(words) or "views", [picture(x, batch.shape[2]) for x in np.asarray(v[i])]))
      out["rows"].append(row)
  except Exception as e:                                   # as of an operation
    out["missing"] = errors.first_line(e).rstrip(".")
  return out


def twins(stacks):
  """The recipes; of those with the same views only the first keeps them, and "twin" of the others names it."""
  seen = {}
  for r in stacks:
    r["twin"] = seen.setdefault(str(r["rows"]), r["name"]) if r["rows"] else r["name"]
  return [r if r["twin"] == r["name"] else r | {"rows": []} for r in stacks]


def first(thing):
  """The first line of its docstring."""
  return (inspect.getdoc(thing) or "").partition("\n")[0]
