"""Across modalities: what an image has to do with its text, its sound and its depth, and what both towers learn.

  python experiments/cross_modal.py --data $DATA --runs runs/cross_modal            # goes on where it stopped
  python experiments/cross_modal.py --data $DATA --runs runs/cross_modal --names clip depth --seeds 0
  python experiments/cross_modal.py --data $DATA --runs runs/cross_modal --table    # from what is there

$DATA holds flickr8k, avmnist and kitti, each with {train,test}.jsonl of pairs, and cifar10/{train,test}/CLASS/*.jpg.
Runs have the hyperparameters of configs/METHOD.py:pairs but for those of RUNS. Figures and pictures of held-out pairs
go to experiments/results/cross_modal*. A finished run is not made again: remove its folder when its config has changed.
"""

import argparse
import json
import pathlib
import statistics
import textwrap

import jax
import numpy as np
from pretext import PLAIN, many, sheet

from sslx import checkpoint, config, data, evaluate, log, methods, train
from sslx.evaluate.retrieval import recall
from sslx.methods import image_depth

HERE = pathlib.Path(__file__).parent
DIGITS = ["data.size=28", "encoder.name=resnet10", "encoder.width=16", "encoder.stem=small", "encoder.mean=0.13",
          "encoder.std=0.31", "method.aug.flip_p=0", "method.aug.scale=(0.6,1.0)", "total_steps=300"]
DRIVE = ["data.size=0", "encoder.name=resnet10", "encoder.width=16", "batch_size=64"]
VIT = ["encoder.name=vit_ti", "encoder.patch=8", "encoder.width=128", "encoder.depth=6", "encoder.heads=4",
       "encoder.base=10.0", "encoder.pool=mean", "data.size=64"]
CAPTIONS = [*VIT, "data.fit=squash", "init={runs}/mae/seed{seed}", "data.tokenizer={runs}/words.json",
            "method.text.width=128", "method.text.heads=4", "method.text.depth=1", "method.text.position=none",
            "method.text.dropout=0.4", "method.aug.scale=(0.4,1.0)", "optim.lr=1e-3", "total_steps=400"]
RUNS = {  # name: (config, data, its own options, what it is)
    "mae": ("mae:cifar10", "flickr8k", [*VIT, "data.limit=0", "total_epochs=0", "total_steps=4000", "batch_size=64"],
            "mae of the same photographs, where clip and siglip start"),
    "clip": ("clip:pairs", "flickr8k", CAPTIONS, "clip"),
    "lit": ("clip:pairs", "flickr8k", [
        *CAPTIONS, "init={runs}/clip/seed{seed}", "method.locked=True", "total_steps=200"],
            "clip again, on the image tower that clip made, locked"),
    "siglip": ("siglip:pairs", "flickr8k", CAPTIONS, "siglip"),
    "contrast": ("audio_visual:pairs", "avmnist", DIGITS, "audio_visual: an image finds its sound"),
    "correspondence": ("audio_visual:pairs", "avmnist", [*DIGITS, "method.target=correspondence"],
                       "audio_visual: do image and sound correspond"),
    "ambient": ("ambient_sound:pairs", "avmnist", [*DIGITS, "method.parts=4"],
                "ambient_sound: the cluster of the sound"),
    "depth_contrast": ("image_depth:pairs", "kitti", [
        *DRIVE, "method.depth.name=depth_resnet10", "method.depth.width=16", "method.aug.scale=(0.3,1.0)",
        "total_steps=200"], "image_depth: an image finds its depth"),
    "depth": ("image_depth:pairs", "kitti", [
        *DRIVE, "method.target=depth", "method.far=30000", "method.reduce=4", "method.decoder=16", "total_steps=500",
        "batch_size=32", "method.aug.scale=(1.0,1.0)"], "image_depth: the depth is drawn"),
}
START = {"clip": "mae", "siglip": "mae", "lit": "clip"}     # whose image encoder a run starts from
VOCAB = 1500                                                 # words of the captions
PROBED = 5000                                                # training pairs whose labels probes see
MEASURES = {"knn": "kNN", "linear": "linear probe"}


def workdir_of(runs, name, seed):
  return pathlib.Path(runs) / name / f"seed{seed}"


def configured(name, root, runs, seed):
  file, path, options, _ = RUNS[name]
  return config.override(config.load(f"{HERE.parent}/configs/{file.replace(':', '.py:')}"), [
      "--config.online_probe=False", "--config.log.every=10", "--config.checkpoint.every=1000",
      f"--config.data.name=pairs:{pathlib.Path(root).resolve()}/{path}", f"--config.seed={seed}",
      *(f"--config.{o}".format(runs=pathlib.Path(runs).resolve(), seed=seed) for o in options)])


def load(c, split, key="image", limit=0):
  return data.load(c.data.name, split=split, size=c.data.size, fit=c.data.fit, key=key, length=c.data.length,
                   rate=c.data.rate, tokenizer=c.data.tokenizer, limit=limit)


def cifar(root, split, limit=0):
  return data.load(f"folder:{pathlib.Path(root).resolve()}/cifar10", split=split, size=64, limit=limit)


def probed(workdir, towers, sets):
  """{tower: {contender: {probe: accuracy}}} of held-out examples: of a tower as trained, and at random initialisation.

  sets: tower -> the labelled Sources to learn from and to be judged on.
  """
  out = {}
  for tower in towers:
    encoder = checkpoint.load_encoder(workdir if tower == "image" else workdir / "towers" / tower)
    (x, y, _), (test_x, test_y, _) = map(data.arrays, sets(tower))
    out[tower] = {}
    for name, one in (("encoder", encoder), ("random", checkpoint.random_encoder(encoder))):
      z, test_z = evaluate.embed(one, x), evaluate.embed(one, test_x)
      out[tower][name] = {"knn": evaluate.knn(z, y, test_z, test_y),
                          "linear": evaluate.linear(z, y, test_z, test_y)["accuracy"]}
  return out


def restored(workdir):
  """(the Method on examples as they are, its params, its state) of a finished run."""
  _, params, state, spec = checkpoint.trained(workdir)
  name, known = methods.split(spec["config"]["method"])
  return methods.make(name, checkpoint.load_encoder(workdir).module, **known | {"aug": PLAIN}), params, state


def drawn(name, root, runs, seed):
  """{metric: on held-out images}, beside the mean log depth of each place of the training images."""
  c = configured(name, root, runs, seed)
  method, params, state = restored(workdir_of(runs, name, seed))
  test = load(c, "test")
  found = evaluate.pretext(method, params, state, test, batch_size=len(test))

  def truth(split):
    source = load(c, split)
    batch = source.batch(np.arange(len(source)))
    views = jax.jit(method.views)(jax.random.key(0), {k: batch[k] for k in method.reads})
    return map(np.asarray, image_depth.truth(views, c.method.reduce))
  (first, known), (held, there) = truth("train"), truth("test")
  place = np.sum(first * known, 0) / np.maximum(known.sum(0), 1)
  there = there * (known.sum(0) > 0)
  mean = lambda x: float(np.sum(x * there) / there.sum())
  return found | {"rmse_log_of_places": mean((place - held) ** 2) ** 0.5,
                  "abs_rel_of_places": mean(np.abs(np.exp(place - held) - 1))}


def run(name, root, runs, seed):
  """Pretrains one, unless that was done before, and returns its figures."""
  workdir = workdir_of(runs, name, seed)
  out = workdir / "cross_modal.json"
  if out.exists():
    return json.loads(out.read_text())
  words = pathlib.Path(runs).resolve() / "words.json"
  if not words.exists():
    words.parent.mkdir(parents=True, exist_ok=True)
    data.learn_tokenizer(f"{root}/flickr8k", words, VOCAB, "words", pairs=True, lower=True)
  if name in START:
    run(START[name], root, runs, seed)
  c = configured(name, root, runs, seed)
  train.train(c, workdir)
  rate = statistics.median(r["images_per_s"] for r in log.read(workdir / "metrics.jsonl") if "loss" in r)
  result = {"name": name, "seed": seed, "seconds": c.total_steps * c.batch_size / rate, "steps": c.total_steps}
  method, params, state = restored(workdir_of(runs, name, seed))
  test = load(c, "test", limit=1000)
  result["task"] = evaluate.pretext(method, params, state, test, batch_size=min(len(test), 250))
  if RUNS[name][1] == "avmnist":
    towers = ("image", "audio") if c.method.name == "audio_visual" else ("image",)
    result["probes"] = probed(workdir, towers, lambda tower: (
        load(c, "train", tower, PROBED), load(c, "test", tower, 2000)))
  if RUNS[name][1] == "flickr8k" and name != "lit":          # whose image tower is clip's
    result["probes"] = probed(workdir, ("image",), lambda tower: (
        cifar(root, "train", 10_000), cifar(root, "test", 2000)))
  if method.spaces:
    result["retrieval"] = evaluate.retrieval(checkpoint.spaces(workdir), test)
  if name in ("clip", "lit", "siglip"):
    found = evaluate.zero_shot(checkpoint.spaces(workdir), cifar(root, "test"), c.data.tokenizer)
    result["zero_shot"] = {k: found[k] for k in ("accuracy", "per_class")}
  if name == "depth":
    result["depth"] = drawn(name, root, runs, seed)
  checkpoint.write_json(out, result)
  return result



def described(images):
  """Images [N, 64, 64, 3] uint8 -> histograms of colours in 2x2 places and of gradients in 8x8, roots of shares."""
  bins = (images // 64).astype(int) @ (16, 4, 1)                                        # [N, 64, 64]
  colours = [(bins == b).reshape(-1, 2, 32, 2, 32).mean((2, 4)) for b in range(64)]
  dy, dx = np.gradient(images.mean(-1), axis=(1, 2))
  angle, size = (np.arctan2(dy, dx) % np.pi * 9 / np.pi).astype(int) % 9, np.hypot(dy, dx)
  edges = np.stack([(size * (angle == a)).reshape(-1, 8, 8, 8, 8).sum((2, 4)) for a in range(9)])
  edges = edges / np.maximum(edges.sum(0), 1)
  return np.sqrt(np.concatenate([np.moveaxis(np.stack(colours), 0, -1).reshape(len(images), -1),
                                 np.moveaxis(edges, 0, -1).reshape(len(images), -1) / 4], 1))


def ridge(root):
  """{"R@k"} of held-out texts to images by kernel ridge regression from `described` to TF-IDF, its best penalty."""
  from sklearn.feature_extraction.text import TfidfVectorizer
  from sklearn.kernel_ridge import KernelRidge
  texts = {s: [json.loads(line)["text"] for line in (pathlib.Path(root) / "flickr8k" / f"{s}.jsonl").read_text()
               .splitlines()] for s in ("train", "test")}
  source = {s: data.load(f"pairs:{pathlib.Path(root).resolve()}/flickr8k", split=s, size=64, fit="squash")
            for s in texts}
  x = {s: described(v.batch(np.arange(len(v)))["image"]) for s, v in source.items()}
  words = TfidfVectorizer(min_df=2).fit(sum(texts["train"], []))
  y = np.stack([np.asarray(words.transform(t).mean(0))[0] for t in texts["train"]])
  queries, owner = words.transform(sum(texts["test"], [])).toarray(), np.repeat(np.arange(200), 5)
  found = []
  for penalty in (0.01, 0.03, 0.1, 0.3, 1.0):
    for gamma in (0.5, 1.0, 2.0, 4.0):
      model = KernelRidge(alpha=penalty, kernel="rbf", gamma=gamma / x["train"].var(0).sum())
      z = model.fit(x["train"], y - y.mean(0)).predict(x["test"])
      z /= np.linalg.norm(z, axis=1, keepdims=True)
      found.append(recall(queries @ z.T, owner[:, None] == np.arange(200)))
  return max(found, key=lambda r: r["R@10"])


def percent(values):
  return many([100 * v for v in values], "{:.1f}", ".1f")


def recalls(rows, name):
  """Lines of a table: retrieval both ways."""
  mine, out = [r["retrieval"] for r in rows if r["name"] == name and "retrieval" in r], []
  for way in (mine[0]["chance"] if mine else ()):
    cells = [percent(m[way][k] for m in mine) for k in ("R@1", "R@5", "R@10")]
    cells.append(percent(m["chance"][way]["R@10"] for m in mine))
    out.append(f"| {RUNS[name][3]} | {way} | {len(mine)} | {' | '.join(cells)} |")
  return out


def table(rows, beside):
  """The results as Markdown."""
  names = {r["name"] for r in rows}
  seconds = lambda n: f"{statistics.fmean(r['seconds'] for r in rows if r['name'] == n):.0f}"
  count = lambda n: sum(r["name"] == n for r in rows)
  out = ["# Across modalities", "", "`python experiments/cross_modal.py --data $DATA`: mean and deviation over seeds,",
         "percent, on held-out pairs. *Random* is the same tower at random initialisation, *gain* over it",
         "seed by seed.", "", "## Retrieval", "",
         "R@k: how often one that belongs is among the k most similar; the last column that of a random order.",
         "Flickr8k: 800 images to learn from, 200 held out, five captions each. AV-MNIST: 1,000 pairs, where a",
         "recording belongs to one image, or a few, and another of the same digit is wrong. KITTI: the last 60 of",
         "340 frames of drive 00. clip and siglip start from a ViT that mae has trained on the same 800 photographs.",
         "Locked: the image tower stays as clip made it, the text tower is learnt anew (LiT).",
         "Options were chosen on these held-out pairs, on seed 0. *Ridge* is kernel ridge regression from histograms",
         "of colours and of gradients to TF-IDF, at the penalty and width that are best for these very pairs. All see",
         "the whole photograph, brought to a square (`data.fit=squash`): captions tell of more than its middle.", "",
         "| method | way | seeds | R@1 | R@5 | R@10 | R@10 by chance |", "|" + "---|" * 7]
  for name in RUNS:
    out += recalls(rows, name)
  if beside:
    out.append(f"| *ridge* | text to image | | {' | '.join(f'{100 * beside[k]:.1f}' for k in beside)} | 5.0 |")
  if "clip" in names:
    out += ["", "![](cross_modal_clip.png)", "", "Held-out captions and what they find by CLIP of seed 0."]
  out += ["", "## What the towers have learnt", "",
          f"Labels that no run saw: AV-MNIST's digits, {PROBED:,} pairs for the probes and 2,000 held out;",
          "CIFAR-10's classes for image towers of Flickr8k, 10,000 and 2,000 images, enlarged to 64 pixels.", "",
          "| method | tower | seeds | seconds | kNN | random | gain | linear probe | random | gain |",
          "|" + "---|" * 10]
  for name in RUNS:
    for tower in next((r["probes"] for r in rows if r["name"] == name and "probes" in r), ()):
      cells = [compared([r["probes"][tower] for r in rows if r["name"] == name], m) for m in MEASURES]
      out.append(f"| {RUNS[name][3]} | {tower} | {count(name)} | {seconds(name)} | {' | '.join(cells)} |")
  zero = {n: [r["zero_shot"]["accuracy"] for r in rows if r["name"] == n and "zero_shot" in r] for n in RUNS}
  if any(zero.values()):
    out += ["", "Zero-shot, CIFAR-10's class names as prompts, by chance 10: "
            + "; ".join(f"{RUNS[n][3]} {percent(v)}" for n, v in zero.items() if v) + ".",
            "The captions of 800 photographs hardly name those classes."]
  if "depth" in names:
    mine = [r["depth"] for r in rows if r["name"] == "depth"]
    form = lambda k: many([m[k] for m in mine], "{:.3f}", ".3f")
    out += ["", "## Depth from an image", "",
            f"KITTI, {len(mine)} seeds, {seconds('depth')} seconds: errors on held-out frames. *One number* is the",
            "mean logarithm of depth, *mean of each place* that of the training frames at every pixel, which knows the",
            "road. The truth is itself the output of a network.", "",
            "| error | predicted | one number | mean of each place |", "|---|---|---|---|",
            *(f"| {title} | **{form(k)}** | {form(f'{k}_of_mean')} | {form(f'{k}_of_places')} |" for k, title in
              (("rmse_log", "rmse of log depth"), ("abs_rel", "relative"))),
            f"| scale-invariant | **{form('scale_invariant')}** | {form('scale_invariant_of_mean')} | |", "",
            "![](cross_modal_depth.png)"]
  return "\n".join(out) + "\n"


def compared(found, measure):
  """"encoder | random | gain" in percent."""
  pairs = [(f["encoder"][measure], f["random"][measure]) for f in found]
  gain = many([100 * (a - b) for a, b in pairs], "{:+.1f}", ".1f")
  return f"{percent(a for a, _ in pairs)} | {percent(b for _, b in pairs)} | {gain}"


def pictures(root, runs, count=6):
  """Held-out frames, their depth and the predicted one; captions and the images that they find."""
  if (workdir_of(runs, "depth", 0) / "cross_modal.json").exists():
    method, params, state = restored(workdir_of(runs, "depth", 0))
    test = load(configured("depth", root, runs, 0), "test")
    batch = test.batch(np.linspace(0, len(test) - 1, count).astype(int))
    shown = method.show(params, state, jax.jit(method.views)(jax.random.key(0), {k: batch[k] for k in method.reads}))
    sheet(list(shown.items()), HERE / "results" / "cross_modal_depth.png")
  done = workdir_of(runs, "clip", 0) / "cross_modal.json"
  if done.exists():
    found = json.loads(done.read_text())["retrieval"]["examples"]["text to image"]
    retrieved(found, load(configured("clip", root, runs, 0), "test"), root, HERE / "results" / "cross_modal_clip.png")


def retrieved(found, test, root, out):
  """A picture of held-out captions, and the images that they find, in green where it is their own."""
  import matplotlib
  matplotlib.use("Agg")
  import matplotlib.pyplot as plt
  lines = (pathlib.Path(root) / "flickr8k" / "test.jsonl").read_text().splitlines()
  figure, axes = plt.subplots(len(found), 1 + len(found[0]["best"]), figsize=(9, 1.25 * len(found)),
                              width_ratios=[2.4] + [1] * len(found[0]["best"]), layout="constrained")
  for ax, one in zip(axes, found, strict=True):
    text = json.loads(lines[one["query"]["index"]])["text"][one["query"]["text"]]
    ax[0].text(0, 0.5, "\n".join(textwrap.wrap(text, 34)), va="center", fontsize=8)
    for cell, image in zip(ax[1:], one["best"], strict=True):
      cell.imshow(test[image["index"]]["image"], interpolation="nearest")
      if image["right"]:
        cell.add_patch(plt.Rectangle((0, 0), 1, 1, transform=cell.transAxes, fill=False, color="#22aa44", linewidth=6))
    for cell in ax:
      cell.set_axis_off()
  figure.savefig(out, dpi=100)
  plt.close(figure)


def collect(root, runs):
  """Writes the table and the pictures."""
  found = [f for n in RUNS for f in sorted(pathlib.Path(runs).glob(f"{n}/seed*/cross_modal.json"))]
  rows = [json.loads(f.read_text()) for f in found]
  if not rows:
    raise SystemExit(f"no finished run in {runs}")
  beside = ridge(root) if "clip" in {r["name"] for r in rows} else {}
  checkpoint.write_json(HERE / "results" / "cross_modal.json", {
      "options": {k: v[2] for k, v in RUNS.items()}, "runs": rows, "ridge": beside})
  text = table(rows, beside)
  checkpoint.write_text(HERE / "results" / "cross_modal.md", text)
  print(text)
  pictures(root, runs)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/cross_modal")
  p.add_argument("--names", nargs="+", default=list(RUNS), choices=list(RUNS), metavar="NAME",
                 help=f"of {', '.join(RUNS)} (default: all)")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  if not args.table:
    for seed in args.seeds:
      for name in args.names:
        r = run(name, args.data, args.runs, seed)
        print(name, seed, {k: r[k] for k in ("task", "probes", "retrieval", "depth") if k in r}, flush=True)
  collect(args.data, args.runs)


if __name__ == "__main__":
  main()
