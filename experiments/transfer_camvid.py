"""Segmentation of CamVid on an encoder that SimCLR trained on CIFAR-10: beside random weights, frozen and trained.

  python experiments/transfer_camvid.py --data $DATA --runs runs/transfer_camvid       # goes on where it stopped
  python experiments/transfer_camvid.py --data $DATA --runs runs/transfer_camvid --table

$DATA/cifar10 holds {train,test}/CLASS/*.jpg, $DATA/camvid {train,val,test}/{images,masks}. ResNet-10 at width 8, the
stem for small images; CamVid at 96 x 96 pixels. Results: experiments/results/transfer_camvid.{json,md,png}.
"""

import argparse
import json
import pathlib
import time

import jax
import numpy as np
from PIL import Image

from sslx import checkpoint, config, data, log, train, transfer
from sslx.transfer import run as transfers, segment

HERE = pathlib.Path(__file__).parent
PRETRAIN = ["--config.total_epochs=0", "--config.total_steps=600", "--config.batch_size=128", "--config.log.every=25",
            "--config.encoder.name=resnet10", "--config.encoder.width=8", "--config.checkpoint.every=200"]
STEPS, BATCH = 300, 8
TASK = ["--config.data.size=96", "--config.data.fit=squash", f"--config.total_steps={STEPS}",
        f"--config.batch_size={BATCH}", f"--config.checkpoint.every={STEPS}"]
CONTENDERS = {  # name: (whose weights, strategy)
    "pretrained, frozen": ("simclr", "linear"), "random, frozen": ("random", "linear"),
    "pretrained, finetuned": ("simclr", "finetune"), "from scratch": ("simclr", "scratch")}
HEADS = ("linear", "fcn", "upernet")
MEASURES = ("miou", "standard_error", "pixel_accuracy")


def sources(path, runs):
  """{"simclr": workdir, "random": workdir} of the encoders, made if need be."""
  c = config.override(config.load(f"{HERE.parent}/configs/simclr.py:cifar10"),
                      [f"--config.data.name=folder:{path}/cifar10", *PRETRAIN])
  if not (runs / "simclr" / "encoder").exists():
    train.train(c, runs / "simclr")
  record = checkpoint.load_encoder(runs / "simclr")
  if not (runs / "random" / "encoder").exists():
    (runs / "random").mkdir(parents=True, exist_ok=True)
    checkpoint.export_encoder(runs / "random" / "encoder", jax.device_get(checkpoint.random_encoder(record).variables),
                              record.spec)
  return {name: str(runs / name) for name in ("simclr", "random")}


def run(name, head, path, runs):
  """Trains one contender with one head, unless that was done before; its figures."""
  workdir = runs / f"{name.replace(', ', '_').replace(' ', '_')}_{head}"
  if not (workdir / "transfer.json").exists():
    weights, strategy = CONTENDERS[name]
    c = transfer.onto(config.load(f"{HERE.parent}/configs/transfer/segment.py"), sources(path, runs)[weights])
    c = config.override(c, [*TASK, f"--config.data.name=masks:{path}/camvid", f"--config.method.head={head}"])
    c.method.strategy = strategy
    begun = time.monotonic()
    transfer.transfer(c, workdir, scratch=False)
    checkpoint.write_json(workdir / "seconds.json", time.monotonic() - begun)
  found, = json.loads((workdir / "transfer.json").read_text())["runs"].values()
  return {"name": name, "head": head, "seconds": json.loads((workdir / "seconds.json").read_text()), **found}


def table(rows):
  """The results as Markdown."""
  out = ["# Segmentation of CamVid on a pretrained encoder", "",
         "`python experiments/transfer_camvid.py --data $DATA`: SimCLR on 10,000 CIFAR-10 images "
         f"({PRETRAIN[1].partition('=')[2]} steps of 128,",
         f"ResNet-10 at width 8), then {STEPS} steps of {BATCH} images of CamVid's 367 at 96 x 96 pixels. Percent on",
         "the 233 test images, 11 classes; the error is over which images were tested, not over seeds, of which there",
         "is one; seconds on one shared CPU core. These are minutes of training: no contender finds the rare classes.",
         "", "| encoder | head | mean IoU | pixel accuracy | seconds |", "|---|---|---|---|---|"]
  out += [f"| {r['name']} | {r['head']} | {100 * r['miou']:.1f} ± {100 * r['standard_error']:.1f} | "
          f"{100 * r['pixel_accuracy']:.1f} | {r['seconds']:.0f} |" for r in rows]
  names = [f"{r['name']}, {r['head']}" for r in rows]
  out += ["", "## IoU of each class", "", "| class | " + " | ".join(names) + " |", "|" + "---|" * (1 + len(names))]
  out += [f"| {c} | " + " | ".join(f"{100 * r['classes'].get(c, 0):.1f}" for r in rows) + " |"
          for c in rows[0]["classes"]]
  return "\n".join(out) + "\n\nFrom left to right: test images, their masks, and with the UPerNet head " + (
      ", ".join(r["name"] for r in rows if r["head"] == HEADS[-1])) + (
      ".\n\n![Test images, masks and predictions](transfer_camvid.png)\n")


def sheet(rows, path, runs, out, count=4, zoom=2):
  """Test images, their masks and the predictions of the last of HEADS, side by side."""
  source = data.load(f"masks:{path}/camvid", split="test", size=96, fit="squash")
  batch = source.batch(np.linspace(0, len(source) - 1, count).astype(int))
  image, mask = batch["image"] / np.float32(255), batch["mask"].astype(int)
  columns = [image, segment.painted(image, mask, 11)]
  for r in rows:
    if r["head"] == HEADS[-1]:
      predict = transfers.predictor(runs / f"{r['name'].replace(', ', '_').replace(' ', '_')}_{HEADS[-1]}")
      columns.append(segment.painted(image, predict(batch["image"]).argmax(-1), 11))
  grid = np.concatenate([np.concatenate(list(np.asarray(x)), 0) for x in columns], 1)
  Image.fromarray(np.uint8(255 * grid.repeat(zoom, 0).repeat(zoom, 1))).save(out)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/transfer_camvid", type=pathlib.Path)
  p.add_argument("--table", action="store_true", help="only from what is there")
  args = p.parse_args()
  rows = []
  for head in HEADS:
    for name in CONTENDERS:
      if not args.table or (args.runs / f"{name.replace(', ', '_').replace(' ', '_')}_{head}/seconds.json").exists():
        rows.append(run(name, head, args.data, args.runs))
        log.say(f"{name}, {head}: " + ", ".join(f"{m} {rows[-1][m]:.3f}" for m in MEASURES))
  checkpoint.write_json(HERE / "results" / "transfer_camvid.json", rows)
  checkpoint.write_text(HERE / "results" / "transfer_camvid.md", table(rows))
  sheet(rows, args.data, args.runs, HERE / "results" / "transfer_camvid.png")


if __name__ == "__main__":
  main()
