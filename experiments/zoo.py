"""Every method under one budget: pretrained on scikit-learn's digits, compared with raw pixels and a random encoder.

  python experiments/zoo.py --runs runs/zoo                      # all methods, three seeds; goes on where it stopped
  python experiments/zoo.py --runs runs/zoo --shard 0/2          # half of the runs, in one of two processes
  python experiments/zoo.py --runs runs/zoo --table              # the table and the picture, from what is there

Each method has its config's own hyperparameters (configs/METHOD.py:digits); steps and batch are the same for all, and
the encoder is, but that methods of a ViT keep their config's and have VIT's steps. Figures go to
experiments/results/zoo.{json,md,png}, in place of the same run's before. A finished run is not made again: remove its
folder when its config has changed.
"""

import argparse
import functools
import json
import pathlib
import statistics
import time

from sslx import checkpoint, config, data, errors, evaluate, log, methods, train

HERE = pathlib.Path(__file__).parent
BUDGET = ["--config.total_steps=300", "--config.batch_size=128", "--config.log.every=10",
          "--config.checkpoint.every=300"]
RESNET = ["--config.encoder.name=resnet10", "--config.encoder.width=16"]
VIT = ["--config.total_steps=400", "--config.checkpoint.every=400"]             # methods that need a ViT keep theirs
FIRST = "ResNet-10"                                          # of rows that do not say
MEASURES = ("one", "ten", "knn")
ELSEWHERE = {"colorization": "digits are grey", "rotation": "a turned 6 is a 9, a 0, 1 or 8 itself",
             "super_resolution": "an image of 4x4 pixels is no digit"}             # in experiments/pretext.py
PAIR = lambda measure, *path: lambda r: tuple(
    functools.reduce(lambda d, k: d[k], path, r)[contender][measure] for contender in ("encoder", "random"))
CLIPS = lambda r: (r["probes"]["encoder"][0]["knn"], statistics.fmean(v["knn"] for v in r["probes"]["random"]))
SOLID = lambda tower: lambda r: tuple(r["probes"][tower]["one"][contender] for contender in ("encoder", "random"))
OTHERS = [  # (page, data, measure, {method: the name of its runs there}, run -> (accuracy trained, at random))
    ("pretext", "CIFAR-10", "linear probe", {m: m for m in (
        "rotation", "colorization", "super_resolution", "super_resolution, l2", "context_encoder", "autoencoder",
        "patch_position", "jigsaw", "transform")}, PAIR("linear", "downstream")),
    ("masked", "CIFAR-10", "linear probe", {m: m for m in (
        "mae", "simmim", "data2vec", "ijepa", "ibot", "dinov2")}, PAIR("linear")),
    ("text", "SST-2", "linear probe", {m: m for m in ("bert", "simcse", "text_denoising")}, PAIR("linear")),
    ("audio", "spoken digits", "kNN", {"cola": "cola", "audio_restoration": "autoencoder", "audio_mae": "audio_mae"},
     PAIR("knn")),
    ("video", "clips of 8 actions", "kNN", {"video_contrast": "contrast", "video_frame": "frame",
                                            "temporal_order": "order", "video_mae": "mae"}, CLIPS),
    ("captions", "Flickr8k; CIFAR-10", "kNN", {"virtex": "virtex"}, PAIR("knn")),
    ("cross_modal", "Flickr8k; CIFAR-10", "kNN", {"clip": "clip", "siglip": "siglip"}, PAIR("knn", "probes", "image")),
    ("cross_modal", "AV-MNIST", "kNN", {"audio_visual": "contrast", "audio_visual, correspondence": "correspondence",
                                        "ambient_sound": "ambient"}, PAIR("knn", "probes", "image")),
    ("cross_modal", "KITTI", "R@10, depth of an image; random: chance", {"image_depth": "depth_contrast"}, lambda r: (
        r["retrieval"]["image to depth"]["R@10"], r["retrieval"]["chance"]["image to depth"]["R@10"])),
    ("solid", "ModelNet, 2 classes", "one label a class", {"voxels": "voxels"}, SOLID("voxels")),
    ("solid", "ModelNet, 2 classes", "one label a class", {"points": "points", "image_points": "image_points"},
     SOLID("points"))]
NAMES = {"one": "one label a class", "ten": "ten labels a class", "knn": "kNN"}


def measures(x, y, test_x, test_y, seed, standardise=True):
  """{"one", "ten", "knn"}: test accuracies of features."""
  few = evaluate.few_label(x, y, test_x, test_y, settings=("1", "10"), seed=seed, standardise=standardise)
  return {"one": few["1"]["mean"], "ten": few["10"]["mean"], "knn": evaluate.knn(x, y, test_x, test_y)}


def run(method, seed, workdir):
  """Pretrains a method with one seed, unless that was done before, and returns its figures."""
  out = pathlib.Path(workdir) / "zoo.json"
  if out.exists():
    return json.loads(out.read_text())
  c = config.load(f"{HERE.parent}/configs/{method}.py:digits")
  own, token = c.encoder.name.startswith("vit"), c.encoder.get("pool") == "token"
  c = config.override(c, [*BUDGET, *(VIT if own else RESNET), f"--config.seed={seed}", "--config.online_probe=False"])
  begun = time.monotonic()
  encoder = train.train(c, workdir)
  (x, y, _), (test_x, test_y, _) = (data.arrays(data.load("digits", split=s)) for s in ("train", "test"))
  features = lambda e: (evaluate.embed(e, x), y, evaluate.embed(e, test_x), test_y)
  random = checkpoint.random_encoder(encoder)
  records = [r for r in log.read(f"{workdir}/metrics.jsonl") if "loss" in r]
  result = {"method": method, "seed": seed, "network": f"ViT{', class token' * token}" if own else FIRST,
            "encoder": measures(*features(encoder), seed), "random": measures(*features(random), seed),
            "health": evaluate.health(evaluate.embed(encoder, x)),
            "images_per_s": statistics.median(r["images_per_s"] for r in records),
            "seconds": time.monotonic() - begun, "final_loss": records[-1]["loss"]}
  checkpoint.write_json(out, result)
  return result


def raw(seed):
  """The accuracies of raw pixels."""
  from sslx.evaluate.raw import principal
  (x, y, _), (test_x, test_y, _) = (data.arrays(data.load("digits", split=s)) for s in ("train", "test"))
  flat = [a.reshape(len(a), -1) / 255.0 for a in (x, test_x)]
  low = principal(*(a.astype("float32") for a in flat), 64)
  return measures(low[0], y, low[1], test_y, seed, standardise=False)


def network_of(row):
  return row.get("network", FIRST)


def summary(rows):
  """{method: {"one": (mean, deviation), ..., "short": where the gain over random is within the seeds' deviation}}."""
  out = {}
  for name in sorted({r["method"] for r in rows}):
    mine = [r for r in rows if r["method"] == name]
    value = {m: [r["encoder"][m] for r in mine] for m in MEASURES}
    spread = lambda v: statistics.stdev(v) if len(v) > 1 else 0.0
    gain = {m: [r["encoder"][m] - r["random"][m] for r in mine] for m in MEASURES}
    out[name] = {m: (statistics.fmean(v), spread(v)) for m, v in value.items()} | {
        "short": [m for m in MEASURES if statistics.fmean(gain[m]) <= spread(gain[m])], "seeds": len(mine),
        "network": network_of(mine[0]),
        "seconds": statistics.fmean(r["seconds"] for r in mine),
        **{k: statistics.fmean(r["health"][k] for r in mine) for k in ("feature_std", "effective_rank")}}
  return dict(sorted(out.items(), key=lambda item: -item[1]["one"][0]))


def table(results, baselines):
  """The results as Markdown."""
  note = lambda r: f" (within a deviation of random: {', '.join(NAMES[m] for m in r['short'])})" if r["short"] else ""
  show = lambda pair: f"{100 * pair[0]:.1f} ± {100 * pair[1]:.1f}"
  lines = ["# Every method under one budget", "",
           "`python experiments/zoo.py --runs runs/zoo`: scikit-learn's digits (1,437 / 360), 300 steps of 128;",
           "accuracy in percent on the test split, mean and deviation over seeds. ResNet-10 has width 16; the ViT, of",
           "methods that hide patches, width 96, depth 4, patches of 2, and 400 steps. Hyperparameters are those of",
           "configs/METHOD.py:digits. Seconds: the whole run, compilation and evaluation too. supcon and supervised",
           "train on all labels. A method whose gain over the random encoder of its kind and seed is within one",
           "deviation of the seeds says so. kNN reads all labels: there raw pixels are hard to beat. Not here but",
           "below:", "", *(f"- {m}: {why}" for m, why in ELSEWHERE.items()), "",
           "| method | encoder | seeds | one label a class | ten labels a class | kNN | feature deviation "
           "| effective rank | seconds |",
           "|" + "---|" * 9]
  for name, r in results.items():
    lines.append(f"| {name}{note(r)} | {r['network']} | {r['seeds']} | {show(r['one'])} | "
                 f"{show(r['ten'])} | {show(r['knn'])} | {r['feature_std']:.2f} | {r['effective_rank']:.1f} | "
                 f"{r['seconds']:.0f} |")
  for name, r in baselines.items():
    lines.append(f"| *{name}* | | | {show(r['one'])} | {show(r['ten'])} | {show(r['knn'])} | | | |")
  lines += ["", "## On data of their own", "",
            "Each on its page, with what it was given and what else was measured; here one figure, mostly the accuracy",
            "of frozen features in percent, beside the same encoder at random initialisation, seed by seed. What gpt",
            "writes and frame_prediction draws is judged in [text](text.md) and [video](video.md), the depth that",
            "image_depth draws in [cross_modal](cross_modal.md).", "",
            "| method | page | data | measure | seeds | trained | random | gain | command |", "|" + "---|" * 9,
            *elsewhere()]
  return "\n".join(lines) + "\n"


def elsewhere():
  """Lines of a table: what other experiments say of methods on data of their own, from their results."""
  lines = []
  for page, source, measure, named, pair in OTHERS:
    file = HERE / "results" / f"{page}.json"
    rows = json.loads(file.read_text())["runs"] if file.exists() else []
    for method, name in named.items():
      found = [pair(r) for r in rows if r.get("name", r.get("method", name)) == name]
      if found:
        gain = [100 * (a - b) for a, b in found]
        spread = statistics.stdev(gain) if len(gain) > 1 else 0.0
        short = " (within a deviation)" if statistics.fmean(gain) <= spread else ""
        mean = lambda i, found=found: f"{100 * statistics.fmean(f[i] for f in found):.1f}"
        lines.append(f"| {method}{short} | [{page}]({page}.md) | {source} | {measure} | {len(found)} | {mean(0)} | "
                     f"{mean(1)} | {statistics.fmean(gain):+.1f} ± {spread:.1f} | `python experiments/{page}.py` |")
  return lines


def picture(results, baselines, path):
  """Accuracy with one and ten labels a class, a bar a method, the baselines as lines."""
  import matplotlib
  matplotlib.use("Agg")
  import matplotlib.pyplot as plt
  names = list(results)[::-1]
  figure, axes = plt.subplots(1, len(MEASURES), figsize=(12, 0.32 * len(names) + 1.2), sharey=True,
                              layout="constrained")
  for ax, m in zip(axes, MEASURES, strict=True):
    mean, deviation = zip(*(results[n][m] for n in names), strict=True)
    ax.barh(names, [100 * v for v in mean], xerr=[100 * v for v in deviation], color="#4477aa", height=0.7)
    for (name, r), style in zip(baselines.items(), ("--", ":", "-."), strict=False):
      ax.axvline(100 * r[m][0], color="#cc3311", linestyle=style, label=name)
    ax.set_title(NAMES[m], fontsize=10)
    ax.set_xlim(0, 100)
    ax.margins(y=0.01)
    ax.spines[["top", "right"]].set_visible(False)
  figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="outside upper right", ncols=3)
  figure.supxlabel("test accuracy, percent", fontsize=9)
  figure.savefig(path, dpi=120)


def collect(rows):
  """Puts rows into the results, in place of the same runs' before, and writes the table and the picture."""
  out = HERE / "results"
  found = {(r["method"], r["seed"]): r for r in [*json.loads((out / "zoo.json").read_text())["runs"], *rows]}
  rows = [found[key] for key in sorted(found)]
  results, seeds = summary(rows), sorted({r["seed"] for r in rows})
  many = lambda found: {m: (statistics.fmean(v), statistics.stdev(v) if len(v) > 1 else 0.0)
                        for m in MEASURES for v in [[f[m] for f in found]]}
  pixels, baselines = [raw(s) for s in seeds], {}
  for row in rows:                                           # a random encoder of a kind is the same in all methods
    baselines.setdefault(f"random {network_of(row)}", {})[row["seed"]] = row["random"]
  baselines = {"raw pixels": many(pixels)} | {name: many(list(f.values())) for name, f in baselines.items()}
  checkpoint.write_json(out / "zoo.json", {"budget": BUDGET, "budget_vit": VIT, "runs": rows,
                                           "raw": dict(zip(seeds, pixels, strict=True))})
  checkpoint.write_text(out / "zoo.md", table(results, baselines))
  picture(results, baselines, out / "zoo.png")
  print(table(results, baselines))


def suited():
  """The methods whose config has a variant for digits, but those that do not suit them."""
  def there(name):
    try:
      return config.load(f"{HERE.parent}/configs/{name}.py:digits")
    except errors.UsageError:
      return None
  return [m for m in methods.names() if m not in ELSEWHERE and there(m)]


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--runs", default="runs/zoo")
  p.add_argument("--methods", nargs="+", default=suited(), metavar="METHOD", help="default: all that suit digits")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--shard", default="0/1", metavar="I/N", help="every Nth run from the Ith on")
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  shard, shards = map(int, args.shard.split("/"))
  if not args.table:
    jobs = [(m, s) for s in args.seeds for m in args.methods]
    for m, s in jobs[shard::shards]:
      r = run(m, s, f"{args.runs}/{m}/seed{s}")
      print(f"{m:<16} seed {s}  " + "  ".join(f"{k} {r['encoder'][k]:.3f} (random {r['random'][k]:.3f})"
                                                for k in MEASURES) + f"  {r['seconds']:.0f} s", flush=True)
  if shards == 1 or args.table:
    collect([json.loads(f.read_text()) for f in sorted(pathlib.Path(args.runs).glob("*/seed*/zoo.json"))])


if __name__ == "__main__":
  main()
