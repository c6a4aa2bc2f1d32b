"""How far puzzles on tiles are solved by cues that need no understanding, with each guard against them on and off.

  python experiments/shortcuts.py --data $DATA/cifar10 --pretext experiments/results/pretext.json

A linear model reads the tiles' mean colours, how far each side of a tile is from that of each other which it would
touch, where each tile begins in the blocks of eight pixels of the JPEG file, or how well the colour channels of a tile
match when one is moved by a pixel; accuracy on held-out images. Small images show hardly any chromatic aberration, so
the CIFAR-10 config keeps colours, and what dropping them does is measured with a lens simulated. Figures go to
experiments/results/shortcuts.{json,md}.
"""

import argparse
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sslx import augment, checkpoint, config, data, encoders, methods

HERE = pathlib.Path(__file__).parent
PLAIN = lambda key, image: augment.to_float(image)
DROP = {"color": "drop"}
# method: (its answer in the views, {guard: (the cue it is against, options that switch it off, and on)})
PUZZLES = {
    "patch_position": ("position", {
        "normalised patches": ("means", {"standardize": False}, {}), "gap": ("borders", {"gap": 0.0}, {}),
        "crop and jitter": ("blocks", {"aug": PLAIN, "jitter": 0.0, "side": 0}, {}),
        "": ("aberration", {}, {}), "colour dropping": ("aberration, simulated", {}, DROP)}),
    "jigsaw": ("index", {
        "normalised tiles": ("means", {"standardize": False}, {}), "inset": ("borders", {"inset": 1.0}, {}),
        "crop and inset": ("blocks", {"aug": PLAIN, "inset": 1.0, "side": 0}, {})}),
}


def made(name, options):
  """The method with the options of its CIFAR-10 config and others."""
  c = config.load(f"{HERE.parent}/configs/{name}.py:cifar10")
  _, known = methods.split(c.method)
  return methods.make(name, encoders.make("resnet10", width=4, stem="small"), **known | options)


def tiles(name, options, images, key):
  """(tiles [N, T, h, w, C], answers [N], where each begins in the image [N, T, 2]) under one set of draws.

  Where: from an image whose colours are the places of its pixels, cut with the same draws and its colours kept.
  """
  answer, _ = PUZZLES[name]
  cut = jax.jit(made(name, options).views)
  keep = {"color": "keep"} if name == "patch_position" else {}
  placed = jax.jit(made(name, options | keep | {"standardize": False}).views)
  y, x = jnp.mgrid[:images.shape[1], :images.shape[2]] / 64
  out = []
  for i in range(0, len(images), 500):
    part, k = images[i:i + 500], jax.random.fold_in(key, i)
    views = cut(k, {"image": part})
    grid = jnp.broadcast_to(jnp.stack([y, x, x], -1), part.shape).astype(float)
    place = placed(k, {"image": grid})["image"][0][..., :2] * 64
    out.append((views["image"][0], views[answer], place.min((2, 3))))
  return tuple(np.concatenate(v) for v in zip(*out, strict=True))


def lens(images):
  """Images [N, H, W, 3] whose red is 5 % larger than the rest, from the middle: as a lens may have it."""
  x = augment.to_float(images)
  return np.concatenate([augment.affine(x[..., :1], 0.0, scale=1.05), x[..., 1:]], -1)


def cue(kind, tile, begin):
  """What the linear model reads [N, F]."""
  if kind.startswith("aberration"):
    inner, moved = tile[:, :, 1:-1, 1:-1], [(0, 1), (2, 1), (1, 0), (1, 2)]
    h, w = inner.shape[2:4]
    off = [np.abs(tile[:, :, y:y + h, x:x + w, c] - inner[..., 1]).mean((2, 3)) for c in (0, 2) for y, x in moved]
    return np.concatenate(off, 1)
  if kind == "means":
    return tile.mean((2, 3)).reshape(len(tile), -1)
  if kind == "borders":
    sides = {"below": (tile[:, :, -1], tile[:, :, 0]), "above": (tile[:, :, 0], tile[:, :, -1]),
             "right": (tile[:, :, :, -1], tile[:, :, :, 0]), "left": (tile[:, :, :, 0], tile[:, :, :, -1])}
    match = [np.abs(a[:, :, None] - b[:, None]).mean((3, 4)) for a, b in sides.values()]             # [N, T, T] each
    other = ~np.eye(tile.shape[1], dtype=bool)
    return np.concatenate([m[:, other] for m in match], 1)
  return np.eye(8)[np.round(begin).astype(int) % 8].reshape(len(tile), -1)


def accuracy(name, options, kind, train, test):
  """Of the linear model on held-out images."""
  sets = []
  for i, images in enumerate((train, test)):
    images = lens(images) if kind == "aberration, simulated" else images
    tile, answer, begin = tiles(name, options, images, jax.random.key(i))
    sets.append((cue(kind, tile, begin), answer))
  (x, y), (test_x, test_y) = sets
  model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300)).fit(x, y)
  return float(model.score(test_x, test_y))


def table(rows):
  """The results as Markdown."""
  out = ["# Shortcuts in puzzles", "",
         "`python experiments/shortcuts.py --data $DATA/cifar10`: a linear model on a cue alone, trained on",
         "10,000 images; its accuracy on 2,000 held-out ones, with a sampling deviation of up to 1.1 points, without",
         "any guard, with the one against it, and with all; beside it the method's own, of pretext.md's runs, on",
         "held-out images under the same crops. Simulated aberration: of images whose red is enlarged by 5 %.", "",
         "| method | chance | cue | guard | no guards | this one | all | the method |", "|" + "---|" * 8]
  show = lambda v: "–" if v is None else f"{100 * v:.1f}"
  for r in rows:
    out.append(f"| {r['method']} | {show(r['chance'])} | {r['cue']} | {r['guard']} | "
               + " | ".join(show(r[k]) for k in ("off", "on", "all", "reached")) + " |")
  return "\n".join(out) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--pretext", default=str(HERE / "results" / "pretext.json"), help="figures of experiments/pretext.py")
  args = p.parse_args()
  path = f"folder:{pathlib.Path(args.data).resolve()}"
  train, test = (data.arrays(data.load(path, split=s, limit=n))[0] for s, n in (("train", 10_000), ("test", 2000)))
  runs = json.loads(pathlib.Path(args.pretext).read_text())["runs"] if pathlib.Path(args.pretext).exists() else []
  rows = []
  for name, (answer, guards) in PUZZLES.items():
    every = {k: v for _, off, _ in guards.values() for k, v in off.items()}             # all guards off
    metric = {"position": "position_accuracy", "index": "permutation_accuracy"}[answer]
    reached = [r["viewed"][metric] for r in runs if r["name"] == name]
    c = config.load(f"{HERE.parent}/configs/{name}.py:cifar10")
    chance = 1 / c.method.get("number", 8)
    for guard, (kind, off, on) in guards.items():
      rest = {k: v for k, v in every.items() if k not in off} | on
      columns = {"off": every, "on": rest, "all": on}
      r = {"method": name, "chance": chance, "cue": kind, "guard": guard,
           **{k: accuracy(name, o, kind, train, test) if guard or k != "on" else None for k, o in columns.items()},
           "reached": float(np.mean(reached)) if reached else None}
      rows.append(r)
      print(r, flush=True)
  checkpoint.write_json(HERE / "results" / "shortcuts.json", rows)
  checkpoint.write_text(HERE / "results" / "shortcuts.md", table(rows))
  print(table(rows))


if __name__ == "__main__":
  main()
