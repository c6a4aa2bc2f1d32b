"""Video: frames of a drive that are predicted, and what clips teach about actions, on held-out blocks and clips.

  python experiments/video.py --data $DATA --runs runs/video                                # goes on where it stopped
  python experiments/video.py --data $DATA --runs runs/video --names next contrast --seeds 0
  python experiments/video.py --data $DATA --runs runs/video --table                        # from what is there

$DATA/kitti/rgb holds 340 frames of a drive in order, $DATA/clips {train,test}/CLASS/CLIP/*.jpg, 16 frames each. Runs
have the hyperparameters of configs/METHOD.py:video but for those of RUNS. Figures and pictures of held-out frames go to
experiments/results/video*. A finished run is not made again: remove its folder when its config has changed.
"""

import argparse
import json
import pathlib
import statistics

import jax
import numpy as np
from pretext import PLAIN, many
from scipy.ndimage import affine_transform, gaussian_filter

from sslx import checkpoint, config, data, evaluate, log, methods, train
from sslx.data import video
from sslx.methods import frame_prediction

HERE = pathlib.Path(__file__).parent
DRIVE = ["data.size=0", "data.length=3", "batch_size=8", "encoder.width=12", "method.width=12", "optim.lr=3e-3"]
CLIPS = ["data.size=48", "data.fit=squash", "data.length=16"]
RUNS = {  # name: (config, data, its own options, what it is)
    "next": ("frame_prediction", "kitti/rgb", [*DRIVE, "total_steps=300"], "the next frame from two"),
    "between": ("frame_prediction", "kitti/rgb", [*DRIVE, "total_steps=300", "method.given=-1,1", "method.target=0"],
                "the frame between two"),
    "contrast": ("video_contrast", "clips", [
        *CLIPS, "encoder.name=frames_resnet10", "encoder.width=16", "total_steps=200", "batch_size=128",
        "method.frames=1", "method.aug.scale=0.5,1.0"], "two frames of a clip attract"),
    "frame": ("video_frame", "clips", [
        *CLIPS, "encoder.name=frames_resnet10", "encoder.width=16", "total_steps=200", "batch_size=64",
        "method.frames=3", "method.aug.scale=0.5,1.0"], "a frame finds the three around it"),
    "cuts": ("video_contrast", "clips", [*CLIPS, "total_steps=200", "batch_size=16"], "two cuts of a clip attract"),
    "order": ("temporal_order", "clips", [*CLIPS, "total_steps=300", "batch_size=64"], "are three frames in order"),
    "arrow": ("temporal_order", "clips", [*CLIPS, "total_steps=300", "batch_size=64", "method.task=arrow"],
              "which way do three frames run"),
    "drive": ("temporal_order", "kitti/rgb", ["data.length=8", "batch_size=64", "total_steps=300", "method.task=arrow"],
              "which way do three frames of a drive run"),
    "mae": ("video_mae", "clips", [*CLIPS, "total_steps=900", "method.ratio=0.75"],
            "three quarters of the places hidden at all times")}
ZOOMS = (1.1, 1.15, 1.2, 1.25, 1.3)                      # a drive forwards enlarges what is ahead
RANDOM = 3                                               # untrained encoders beside each trained one
SIGMAS = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12)          # pixels, of copies that are blurred


def workdir_of(runs, name, seed):
  return pathlib.Path(runs) / name / f"seed{seed}"


def configured(name, root, seed):
  method, path, options, _ = RUNS[name]
  return config.override(config.load(f"{HERE.parent}/configs/{method}.py:video"), [
      "--config.online_probe=False", "--config.log.every=10", "--config.checkpoint.every=100",
      f"--config.data.name=video:{pathlib.Path(root).resolve()}/{path}", f"--config.seed={seed}",
      *(f"--config.{o}" for o in options)])


def load(c, split):
  return data.load(c.data.name, split=split, size=c.data.size, fit=c.data.fit, length=c.data.length)


def restored(name, root, runs, seed, **options):
  """(the Method on clips as they are, the encoder, params, state) of a finished run."""
  c = configured(name, root, seed)
  encoder, _ = train.build(c)
  saved = checkpoint.Checkpoints(workdir_of(runs, name, seed), create=False)
  try:
    _, tree = saved.restore_plain()
  finally:
    saved.close()
  method, known = methods.split(c.method)
  return methods.make(method, encoder, **known | {"aug": PLAIN} | options), encoder, tree["params"], tree["state"]


def predictions(name, root, runs, seed):
  """(given frames [N, n, H, W, C], real ones [N, H, W, C], predicted ones) of all held-out places, in [0, 1]."""
  c = configured(name, root, seed)
  method, encoder, params, state = restored(name, root, runs, seed)
  views = method.views(jax.random.key(0), {"video": data.arrays(load(c, "test"))[0]})      # clips of just that length
  net = frame_prediction.network(encoder, c.method.given, c.method.target, c.method.how, c.method.width)
  apply = jax.jit(lambda x: net.apply({"params": params["net"], **state["net"]}, x).clip(0, 1))
  x = views["video"]
  return np.asarray(x), np.asarray(views["target"]), np.concatenate([apply(x[i:i + 8]) for i in range(0, len(x), 8)])


def zoomed(x, factor):
  """Frames [N, H, W, C] enlarged about a point a little above their middle, where the road ends."""
  centre = np.array([0, 0.4 * x.shape[1], x.shape[2] / 2, 0])
  scale = np.array([1, 1 / factor, 1 / factor, 1])
  return affine_transform(x, scale, centre - scale * centre, order=1, mode="nearest")


def predicted(name, root, runs, seed):
  """{what: mean squared error on held-out frames}; blurs are as is best for these very frames."""
  given, real, mine = predictions(name, root, runs, seed)
  error = lambda x: float(np.mean((x - real) ** 2))
  blurred = lambda x: {s: error(gaussian_filter(x, (0, s, s, 0), mode="nearest")) for s in SIGMAS}
  copy = given[:, -1] if name == "next" else given[:, 0]
  found = {"mine": error(mine), "copy": error(copy)}
  sigma, found["blurred copy"] = min(blurred(copy).items(), key=lambda v: v[1])
  zoom = None
  if name == "next":
    found["zoomed copy"], zoom = min((min(blurred(zoomed(copy, z)).values()), z) for z in ZOOMS)
  if name == "between":
    found["mean"], found["blurred mean"] = error(given.mean(1)), min(blurred(given.mean(1)).values())
  better = np.mean(np.mean((mine - real) ** 2, (1, 2, 3)) < np.mean(
      (gaussian_filter(copy, (0, sigma, sigma, 0), mode="nearest") - real) ** 2, (1, 2, 3)))
  return {"error": found, "sigma": sigma, "zoom": zoom, "better": float(better), "frames": len(real)}


def acted(encoder, c):
  """{contender: [{probe: accuracy}]} of the classes of held-out clips: the encoder, RANDOM untrained ones, pixels."""
  (x, y), (test_x, test_y) = (data.arrays(load(c, split))[:2] for split in ("train", "test"))
  def probed(features):
    train_z, test_z = features(x), features(test_x)
    return {"knn": evaluate.knn(train_z, y, test_z, test_y),
            "linear": evaluate.linear(train_z, y, test_z, test_y)["accuracy"]}
  others = [checkpoint.random_encoder(encoder, RANDOM * c.seed + i) for i in range(RANDOM)]
  return {"encoder": [probed(lambda clips: evaluate.embed(encoder, clips))],
          "random": [probed(lambda clips, e=e: evaluate.embed(e, clips)) for e in others],
          "mean frame": [probed(lambda clips: clips.mean(1).reshape(len(clips), -1))]}


def run(name, root, runs, seed):
  """Pretrains one, unless that was done before, and returns its figures."""
  workdir = workdir_of(runs, name, seed)
  out = workdir / "video.json"
  if out.exists():
    return json.loads(out.read_text())
  c = configured(name, root, seed)
  encoder = train.train(c, workdir)
  rate = statistics.median(r["images_per_s"] for r in log.read(workdir / "metrics.jsonl") if "loss" in r)
  result = {"name": name, "seed": seed, "seconds": c.total_steps * c.batch_size / rate, "steps": c.total_steps}
  if c.method.name == "frame_prediction":
    result |= predicted(name, root, runs, seed)
  else:
    method, _, params, state = restored(name, root, runs, seed)
    result["task"] = evaluate.pretext(method, params, state, load(c, "test"), batch_size=48)
  if RUNS[name][1] == "clips":
    result["probes"] = acted(encoder, c)
  checkpoint.write_json(out, result)
  return result


def table(rows, drive, clips):
  """The results as Markdown."""
  held = {part: f"{a} to {b - 1}" for part, (a, b) in video.ranges(drive).items()}
  out = ["# Video", "", "`python experiments/video.py --data $DATA`, on a CPU core.", "", "## Frames of a drive", "",
         f"{drive} frames of KITTI's odometry drive 00, every third one (0.3 seconds apart), 208x64, in order. Trained",
         f"on frames {held['train']}, judged on frames {held['test']}; the {video.GAP} between are in neither. Mean",
         "squared error of pixels in [0, 1], mean and deviation over seeds. Predicted frames are mixes of given ones,",
         "moved by a flow, and of a painted one: an R(2+1)D-10 of width 12, 300 steps of 8. The copy is of the nearest",
         "given frame; blurs, and the one zoom for all frames, are those that are best on the very frames that are",
         "judged. *Better*: share of frames on which the prediction has less error than the blurred copy.", "",
         "| task | seeds | seconds | predicted | copy | copy, blurred | copy, zoomed and blurred | mean of both "
         "| mean, blurred | better |",
         "|" + "---|" * 10]
  for name in ("next", "between"):
    mine = [r for r in rows if r["name"] == name]
    if mine:
      cells = [many([r["error"]["mine"] for r in mine], "**{:.4f}**", ".4f")]
      cells += [f"{mine[0]['error'][k]:.4f}" if k in mine[0]["error"] else "" for k in
                ("copy", "blurred copy", "zoomed copy", "mean", "blurred mean")]
      cells += [many([100 * r["better"] for r in mine], "{:.0f} %", ".0f")]
      out.append(f"| {RUNS[name][3]} | {len(mine)} | {statistics.fmean(r['seconds'] for r in mine):.0f} | "
                 f"{' | '.join(cells)} |")
  if found := [100 * r["task"]["arrow_accuracy"] for r in rows if r["name"] == "drive"]:
    out += ["", f"Which way three frames run, forwards or backwards, is told for {many(found, '{:.0f}', '.0f')} % of",
            f"the held-out places, by chance 50 ({len(found)} seeds; a ResNet-10 a frame, 300 steps of 64)."]
  out += ["", "![](video_next.png)", "", "## Actions", "",
          f"{clips[0]} clips to learn from, without labels, and {clips[1]} held out, 16 frames of 48x48, of 8 actions",
          "seen from the ceiling. The labels are rough: this exercises the methods and ranks nothing. Accuracy on",
          f"held-out clips, with a sampling deviation of about {50 / clips[1] ** 0.5:.0f} points; the most frequent",
          f"class has {100 * clips[2]:.0f} %. *Random* is the same encoder untrained, {RANDOM} of them beside each",
          "trained one, *mean frame* the pixels of the frames' mean. The encoder, batch and crops of *contrast* are",
          "the best of ten tries in a cross-validation over the training clips' recordings; the others had none.", "",
          "| method | seeds | seconds | its task, held out | kNN | random | linear probe | random |",
          "|" + "---|" * 8]
  for name in ("contrast", "frame", "cuts", "order", "arrow", "mae"):
    mine = [r for r in rows if r["name"] == name]
    if mine:
      task = next(k for k in ("top1", "order_accuracy", "arrow_accuracy", "r2") if k in mine[0]["task"])
      values = lambda p, contender, mine=mine: [100 * found[p] for r in mine for found in r["probes"][contender]]
      percent = lambda v: many(v, "{:.1f}", ".1f")
      cells = [f"{task} {many([r['task'][task] for r in mine], '{:.2f}', '.2f')}"]
      cells += [percent(values(p, contender)) for p in ("knn", "linear") for contender in ("encoder", "random")]
      out.append(f"| {name}: {RUNS[name][3]} | {len(mine)} | {statistics.fmean(r['seconds'] for r in mine):.0f} | "
                 f"{' | '.join(cells)} |")
  raw = next((r["probes"]["mean frame"][0] for r in rows if "probes" in r), None)
  if raw:
    out.append(f"| *mean frame* | | | | {100 * raw['knn']:.1f} | | {100 * raw['linear']:.1f} | |")
  return "\n".join(out) + "\n"


def pictures(root, runs, count=6):
  """Held-out frames: given, real, predicted, and the last one copied and blurred."""
  import matplotlib
  matplotlib.use("Agg")
  import matplotlib.pyplot as plt
  for name in ("next", "between"):
    done = workdir_of(runs, name, 0) / "video.json"
    if not done.exists():
      continue
    given, real, mine = predictions(name, root, runs, 0)
    rows = np.linspace(0, len(real) - 1, count).astype(int)
    sigma = json.loads(done.read_text())["sigma"]
    copy = gaussian_filter(given[:, -1 if name == "next" else 0], (0, sigma, sigma, 0), mode="nearest")
    both = ("given", "given, the last") if name == "next" else ("given, before", "given, after")
    titles = (*both, "real", "predicted", f"copied, blurred by {sigma:g}")
    columns = dict(zip(titles, (given[:, 0], given[:, 1], real, mine, copy), strict=True))
    figure, axes = plt.subplots(count, len(columns), figsize=(2.6 * len(columns), 0.85 * count + 0.3),
                                layout="constrained")
    for ax, (title, x) in zip(axes.T, columns.items(), strict=True):
      ax[0].set_title(title, fontsize=9)
      for cell, image in zip(ax, x[rows], strict=True):
        cell.imshow(image, interpolation="nearest")
        cell.set_axis_off()
    figure.savefig(HERE / "results" / f"video_{name}.png", dpi=100)
    plt.close(figure)


def collect(root, runs):
  """Writes the table and the pictures."""
  rows = [json.loads(f.read_text()) for n in RUNS for f in sorted(pathlib.Path(runs).glob(f"{n}/seed*/video.json"))]
  if not rows:
    raise SystemExit(f"no finished run in {runs}")
  drive = len(list((pathlib.Path(root) / "kitti" / "rgb").glob("*.jpg")))
  train_, test = (data.load(f"video:{root}/clips", split=s) for s in ("train", "test"))
  clips = len(train_), len(test), float(np.bincount(test.labels).max() / len(test))
  checkpoint.write_json(HERE / "results" / "video.json", {
      "options": {k: v[2] for k, v in RUNS.items()}, "frames": video.ranges(drive), "gap": video.GAP, "runs": rows})
  checkpoint.write_text(HERE / "results" / "video.md", table(rows, drive, clips))
  print(table(rows, drive, clips))
  pictures(root, runs)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/video")
  p.add_argument("--names", nargs="+", default=list(RUNS), choices=list(RUNS), metavar="NAME",
                 help=f"of {', '.join(RUNS)} (default: all)")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  if not args.table:
    for seed in args.seeds:
      for name in args.names:
        r = run(name, args.data, args.runs, seed)
        print(name, seed, {k: r[k] for k in ("error", "task", "probes") if k in r}, flush=True)
  collect(args.data, args.runs)


if __name__ == "__main__":
  main()
