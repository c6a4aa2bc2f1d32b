"""Images/s of SimCLR's pair, DINO's 2 + 6 views and RandAugment, beside torchvision and kornia, in one run.

  make bench-peers                                     # once: an environment with PyTorch, for the peers alone
  python experiments/bench/views.py                    # about 6 minutes on 2 cores; leave the machine to it
  python experiments/bench/views.py --contenders sslx  # some of them, nothing is written

Every contender gets the same photos (scikit-learn's two, cut to pieces) and takes turns (turns.py); a figure is the
median of them. sslx takes batches of bytes from the host and runs the jitted
recipe on all cores; torchvision runs in a DataLoader with a worker a core, on tensors of bytes and on PIL images;
kornia takes batches. One image counts once, however many views are made of it. The results go to
experiments/results/views.{json,md}.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import turns

HERE = pathlib.Path(__file__).parents[1]
VIEWS = {"simclr": "SimCLR pair", "dino": "DINO 2 + 6", "rand_augment": "RandAugment, one view"}
CASES = [(recipe, side) for side in (32, 224) for recipe in VIEWS]
SOURCE, SMALL, BATCH = {32: 32, 224: 256}, {32: 16, 224: 96}, {32: 256, 224: 32}
CONTENDERS = ("sslx", "torchvision", "pil", "kornia")
NAMES = {"sslx": "sslx", "torchvision": "torchvision, tensors", "pil": "torchvision, PIL", "kornia": "kornia"}


def photos(side, number=256):
  """Bytes [number, side, side, 3]: pieces of scikit-learn's photos."""
  from sklearn import datasets
  rng, pictures = np.random.default_rng(0), datasets.load_sample_images().images
  out = []
  for _ in range(number):
    picture = pictures[rng.integers(len(pictures))]
    top, left = (rng.integers(0, n - side) for n in picture.shape[:2])
    out.append(picture[top:top + side, left:left + side])
  return np.stack(out)


def serve(recipe, side, path, seconds):
  """The contender sslx."""
  import jax

  from sslx import mesh
  from sslx.augment import recipes
  images, batch = np.load(path), BATCH[side]
  options = {"small": 6, "small_size": SMALL[side], "interpolation": "bilinear"} if recipe == "dino" else {}
  aug = recipes.make(recipe, size=side, **options)
  number, key, over = 1 if recipe == "rand_augment" else 2, jax.random.key(0), mesh.arranged(jax.devices())
  f = jax.jit(lambda key, n, x: recipes.views(aug, jax.random.fold_in(key, n), x, number=number))

  def turn():
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds or done < 2:
      at = np.arange(done * batch, (done + 1) * batch) % len(images)
      jax.block_until_ready(f(key, done, mesh.place({"image": images[at]}, over)["image"]))
      done += 1
    return {"work": done * batch}
  turns.serve(turn, batch=batch)


def command(name, recipe, side, path, seconds, python):
  """What starts a contender."""
  case = ["--recipe", recipe, "--side", side, "--input", path, "--seconds", seconds]
  if name == "sslx":
    return [sys.executable, __file__, "--serve", *case]
  case += ["--small", SMALL[side], "--batch", BATCH[side]]
  return [python, HERE / "peers/views_torch.py", *case, "--library", name]


def compete(recipe, side, contenders, python, rounds, seconds):
  """{contender: [images/s, one a turn]}."""
  with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/images.npy"
    np.save(path, photos(SOURCE[side]))
    found = turns.compete({c: (command(c, recipe, side, path, seconds, python), {}) for c in contenders}, rounds)
  found = {name: turns.rates(f) for name, f in found.items()}
  turns.tell(f"{recipe} at {side}: " + ", ".join(f"{k} {statistics.median(v):.0f}" for k, v in found.items())
             + " images/s")
  return found


def page(machine, cases):
  """The results as Markdown."""
  lines = ["# Views, images/s", "", "`python experiments/bench/views.py`", "",
           f"{machine['cores']} cores, jax {machine['jax']}, {machine['peers']}. Median of turns taken one after the",
           "other; a pair of views (or 2 + 6) counts as one image. In RandAugment sslx runs all fourteen operations on",
           "every image, as a program without branches must, and keeps the drawn one.", "",
           "| views | " + " | ".join(NAMES[c] for c in CONTENDERS) + " | sslx over the better torchvision |",
           "|---" * (len(CONTENDERS) + 2) + "|"]
  for c in cases:
    rate = {k: statistics.median(v) for k, v in c["images_per_s"].items()}
    small = f" ({SMALL[c['side']]} px)" if c["recipe"] == "dino" else ""
    lines.append(f"| {VIEWS[c['recipe']]}{small}, {c['side']} px | " + " | ".join(f"{rate[k]:,.0f}" for k in CONTENDERS)
                 + f" | **{rate['sslx'] / max(rate['torchvision'], rate['pil']):.1f}x** |")
  return "\n".join(lines) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
  p.add_argument("--python", default=HERE.parent / ".venv-peers/bin/python", help="of the peers' environment")
  p.add_argument("--rounds", type=int, default=3)
  p.add_argument("--seconds", type=float, default=3.0, help="of a turn")
  p.add_argument("--sides", type=int, nargs="+", default=list(SOURCE), choices=list(SOURCE))
  p.add_argument("--recipe", choices=VIEWS, help="this one alone")
  p.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
  p.add_argument("--side", type=int, help=argparse.SUPPRESS)
  p.add_argument("--input", help=argparse.SUPPRESS)
  args = p.parse_args()
  if args.serve:
    serve(args.recipe, args.side, args.input, args.seconds)
    return
  if set(args.contenders) != {"sslx"}:
    versions = turns.versions(args.python, ("torchvision", "kornia"))
  chosen = [(r, s) for r, s in CASES if s in args.sides and args.recipe in (None, r)]
  cases = [{"recipe": r, "side": s,
            "images_per_s": compete(r, s, args.contenders, args.python, args.rounds, args.seconds)} for r, s in chosen]
  if set(args.contenders) == set(CONTENDERS) and chosen == CASES:
    import jax
    found = {"machine": {"cores": os.cpu_count(), "jax": jax.__version__, "peers": versions}, "cases": cases}
    (HERE / "results/views.json").write_text(json.dumps(found, indent=2) + "\n")
    (HERE / "results/views.md").write_text(page(found["machine"], cases))
    print(page(found["machine"], cases))


if __name__ == "__main__":
  main()
