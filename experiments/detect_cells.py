"""Detection of blood cells on an encoder that SimCLR trained on crops of the same photographs, beside random weights.

  python experiments/detect_cells.py --data $DATA/bccd --runs runs/cells               # goes on where it stopped
  python experiments/detect_cells.py --data $DATA/bccd --runs runs/cells --table

$DATA/bccd holds images/*.jpg, 640 x 480, and annotations.json with the boxes; it is brought into COCO's format first.
ResNet-10 at width 16; images are squashed to 192 x 192. Results: experiments/results/detect_cells.{json,md,png}.
"""

import argparse
import json
import pathlib
import time

import numpy as np
from PIL import Image

from sslx import checkpoint, config, data, log, train, transfer
from sslx.transfer import detect, run as transfers

HERE = pathlib.Path(__file__).parent
SIDE, STEPS, BATCH = 192, 500, 8
PRETRAIN = ["--config.total_epochs=0", "--config.total_steps=300", "--config.batch_size=64", "--config.log.every=25",
            "--config.encoder.name=resnet10", "--config.encoder.width=16", "--config.encoder.stem=imagenet",
            "--config.checkpoint.every=300", f"--config.data.size={SIDE}", "--config.data.fit=squash",
            "--config.method.aug.size=96", "--config.method.aug.scale=(0.1,0.5)", "--config.data.limit=0"]
TASK = [f"--config.data.size={SIDE}", "--config.data.fit=squash", f"--config.total_steps={STEPS}",
        f"--config.batch_size={BATCH}", f"--config.checkpoint.every={STEPS}", "--config.data.on_error=skip"]
STRATEGIES = ("finetune", "scratch")
COUNT = 4                    # test images in the picture


def coco(path, runs):
  """The data in COCO's format in runs/cells, and the training images alone in runs/photos."""
  content = json.loads((path / "annotations.json").read_text())
  for part in ("train", "val", "test"):
    images, marks = [], []
    for name, found in content["images"].items():
      if found["split"] == part:
        file = next((path / "images").glob(f"{name}.*"))
        width, height = Image.open(file).size
        images.append({"id": len(images), "file_name": file.name, "height": height, "width": width})
        marks += [{"image_id": images[-1]["id"], "category_id": int(c), "bbox": [x, y, r - x, b - y]}
                  for (x, y, r, b), c in zip(found["boxes_xyxy"], found["labels"], strict=True)]
        for folder in ("cells/images", *(["photos/train"] if part == "train" else ["photos/test"])):
          (runs / folder).mkdir(parents=True, exist_ok=True)
          if not (runs / folder / file.name).exists():
            (runs / folder / file.name).symlink_to(file.resolve())
    checkpoint.write_json(runs / f"cells/{part}.json", {
        "images": images, "annotations": marks,
        "categories": [{"id": i, "name": n} for i, n in enumerate(content["classes"])]})
  return runs / "cells"


def pretrained(runs, seed):
  """The workdir of SimCLR's run."""
  workdir = runs / f"simclr{seed}"
  if not (workdir / "encoder").exists():
    c = config.override(config.load(f"{HERE.parent}/configs/simclr.py:cifar10"),
                        [*PRETRAIN, f"--config.data.name=folder:{runs}/photos", f"--config.seed={seed}"])
    train.train(c, workdir)
  return workdir


def run(strategy, runs, seed):
  """Trains one contender, unless that was done before; its figures."""
  workdir = runs / f"{strategy}{seed}"
  if not (workdir / "seconds.json").exists():
    c = transfer.onto(config.load(f"{HERE.parent}/configs/transfer/detect.py"), pretrained(runs, seed))
    c = config.override(c, [*TASK, f"--config.data.name=boxes:{runs}/cells", f"--config.seed={seed}"])
    c.method.strategy = strategy
    begun = time.monotonic()
    transfer.transfer(c, workdir, scratch=False)
    checkpoint.write_json(workdir / "seconds.json", time.monotonic() - begun)
  found, = json.loads((workdir / "transfer.json").read_text())["runs"].values()
  return {"strategy": strategy, "seed": seed, "seconds": json.loads((workdir / "seconds.json").read_text()), **found}


def table(rows):
  """The results as Markdown."""
  classes = list(rows[0]["classes"])
  out = ["# Detection of blood cells", "",
         f"`python experiments/detect_cells.py --data $DATA/bccd`: FCOS on ResNet-10 at width 16, {STEPS} steps of",
         f"{BATCH} images of BCCD's 205, squashed to {SIDE} x {SIDE} pixels; finetune starts from SimCLR on crops of",
         f"the same training images, {PRETRAIN[1].partition('=')[2]} steps of 64, scratch from random weights.",
         "AP in percent by COCO's rules on the 72 test images; the error is over which images were tested. Boxes",
         "without area are left out. Seconds on one CPU core that other work shared.", "",
         f"| strategy | seed | AP50 | AP | {' | '.join(f'AP50, {c}' for c in classes)} | seconds |",
         "|" + "---|" * (5 + len(classes))]
  percent = lambda v: f"{100 * v:.1f}"
  for r in rows:
    cells = [r["strategy"], r["seed"], f"{percent(r['ap50'])} ± {percent(r['standard_error'])}", percent(r["ap"]),
             *(percent(r["classes"][c]) for c in classes), f"{r['seconds']:.0f}"]
    out.append(f"| {' | '.join(map(str, cells))} |")
  return "\n".join(out) + f"""

From left to right: the true boxes, and those found by {' and '.join(STRATEGIES)}, from a score of {detect.SHOWN} on; a
colour a class.

![Cells](detect_cells.png)
"""


def sheet(rows, runs, out):
  """Test images with their boxes and those that each strategy found, side by side."""
  source = data.load(f"boxes:{runs}/cells", split="test", size=SIDE, fit="squash", on_error="skip")
  batch = source.batch(np.linspace(0, len(source) - 1, COUNT).astype(int))
  outputs = {r["strategy"]: transfers.predictor(runs / f"{r['strategy']}{r['seed']}")(batch["image"])
             for r in rows[::-1]}
  shown = detect.pictures(batch, {s: outputs[s] for s in STRATEGIES if s in outputs}, {"num_classes": 3})
  grid = np.concatenate([np.concatenate(list(x), 0) for x in shown.values()], 1)
  Image.fromarray(np.uint8(255 * grid.repeat(2, 0).repeat(2, 1))).save(out)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True, type=pathlib.Path)
  p.add_argument("--runs", default="runs/cells", type=pathlib.Path)
  p.add_argument("--seeds", type=int, nargs="+", default=[0])
  p.add_argument("--table", action="store_true", help="only from what is there")
  args = p.parse_args()
  runs = args.runs.resolve()
  coco(args.data, runs)
  rows = []
  for seed in args.seeds:
    for strategy in STRATEGIES:
      if not args.table or (runs / f"{strategy}{seed}/seconds.json").exists():
        rows.append(run(strategy, runs, seed))
        log.say(f"{strategy}, seed {seed}: AP50 {rows[-1]['ap50']:.3f}, AP {rows[-1]['ap']:.3f}")
  rows.sort(key=lambda r: (STRATEGIES.index(r["strategy"]), r["seed"]))
  checkpoint.write_json(HERE / "results" / "detect_cells.json", rows)
  checkpoint.write_text(HERE / "results" / "detect_cells.md", table(rows))
  sheet(rows, runs, HERE / "results" / "detect_cells.png")


if __name__ == "__main__":
  main()
