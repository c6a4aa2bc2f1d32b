"""VirTex on a thousand photographs with five captions each: what it says of held-out ones, what its encoder is worth.

  python experiments/captions.py --data $DATA --runs runs/captions                # goes on where it stopped
  python experiments/captions.py --data $DATA --runs runs/captions --seeds 0
  python experiments/captions.py --data $DATA --runs runs/captions --table        # from what is there

$DATA/flickr8k holds {train,test}.jsonl with the images that they name, 800 and 200 of Flickr8k; $DATA/cifar10 holds
{train,test}/CLASS/*, on which kNN and a linear probe judge the encoder beside itself untrained, for Flickr8k has no
labels. Hyperparameters are those of configs/virtex.py:pairs but for OPTIONS. Figures, and held-out images with their
captions, go to experiments/results/captions*. A finished run is not made again: remove its folder when its config has
changed.
"""

import argparse
import json
import pathlib
import statistics
import textwrap

import numpy as np
from pretext import many

from sslx import checkpoint, config, data, evaluate, frozen, log, tokens, train
from sslx.evaluate.captions import bleu, words

HERE = pathlib.Path(__file__).parent
OPTIONS = ["encoder.width=16", "method.width=128", "method.length=20", "batch_size=64", "total_steps=500"]
VOCAB, COLUMNS, ROWS = 1200, 4, 3                            # ids of the tokenizer; of the picture


def workdir_of(runs, seed):
  return pathlib.Path(runs) / "virtex" / f"seed{seed}"


def configured(path, runs, seed):
  words = (pathlib.Path(runs) / "words.json").absolute()
  if not words.exists():
    words.parent.mkdir(parents=True, exist_ok=True)
    data.learn_tokenizer(f"{path}/flickr8k", words, VOCAB, "words", pairs=True, lower=True)
  return config.override(config.load(f"{HERE.parent}/configs/virtex.py:pairs"), [
      f"--config.data.name=pairs:{path}/flickr8k", f"--config.data.tokenizer={words}", f"--config.seed={seed}",
      "--config.checkpoint.every=0", *(f"--config.{o}" for o in OPTIONS)])


def worth(encoder, path, seed):
  """{measure: accuracy on 2,000 held-out images of CIFAR-10} of frozen features, learnt from 10,000."""
  (x, y, _), (test_x, test_y, _) = (data.arrays(data.load(f"folder:{path}/cifar10", split=s, size=encoder.shape[0],
                                                          limit=n)) for s, n in (("train", 10_000), ("test", 2000)))
  features, test_features = evaluate.embed(encoder, x), evaluate.embed(encoder, test_x)
  return {"knn": evaluate.knn(features, y, test_features, test_y),
          "linear": evaluate.linear(features, y, test_features, test_y, seed=seed)["accuracy"]}


def run(path, runs, seed):
  """Pretrains one, unless that was done before, and returns its figures."""
  workdir, c = workdir_of(runs, seed), configured(path, runs, seed)
  out = workdir / "captions.json"
  if not out.exists():
    encoder = train.train(c, workdir)
    records = [r for r in log.read(workdir / "metrics.jsonl") if "loss" in r]
    method, params, state, _ = checkpoint.trained(workdir)
    test = data.load(c.data.name, split="test", size=c.data.size, tokenizer=c.data.tokenizer)
    said = frozen.evaluate(encoder, workdir, protocols=("captions",), test=0)["captions"]["encoder"]
    checkpoint.write_json(out, {
        "seed": seed, "captions": said, "encoder": worth(encoder, path, seed),
        "random": worth(checkpoint.random_encoder(encoder), path, seed),
        "seconds": c.total_steps * c.batch_size / statistics.median(r["images_per_s"] for r in records),
        "perplexity": records[-1]["perplexity"], "task": evaluate.pretext(method, params, state, test)})
  return json.loads(out.read_text())


def people(path):
  """What a person is worth by the same measure: of each held-out image the first caption against the other four."""
  lines = (pathlib.Path(path) / "flickr8k" / "test.jsonl").read_text().splitlines()
  texts = [[words(t) for t in json.loads(line)["text"]] for line in lines]
  return bleu([t[0] for t in texts], [t[1:] for t in texts])


def table(rows, own):
  """The results as Markdown."""
  each = lambda f, scale=100, form="{:.1f}": many([scale * f(r) for r in rows], form, ".1f")
  said = lambda k: (lambda r: r["captions"][k])
  seeds = f"Mean and deviation over {len(rows)} seeds" if len(rows) > 1 else f"Seed {rows[0]['seed']} alone"
  return "\n".join([
      "# Captions", "",
      "`python experiments/captions.py --data $DATA`: VirTex on 800 images of Flickr8k, five captions each;",
      f"{rows[0]['captions']['count']} images held out. 64 pixels, {' '.join(f'`{o}`' for o in OPTIONS)}.",
      f"{seeds}; seconds on a CPU core that others used. `[UNK]` is a word that the vocabulary lacks.", "",
      "| what | of held-out images |", "|---|---|",
      f"| BLEU-4 of the captions, beam 5 | {each(said('bleu4'))} |",
      f"| the same captions, each given to another image | {each(said('bleu4_others'))} |",
      f"| a person's caption against the other four | {100 * own:.1f} |",
      f"| distinct captions, % | {each(said('distinct'))} |",
      f"| words a caption | {each(said('length'), 1)} |",
      f"| perplexity, forwards | {each(lambda r: r['task']['perplexity'], 1)} |",
      f"| perplexity of training captions at the end | {each(lambda r: r['perplexity'], 1)} |",
      f"| seconds of pretraining | {each(lambda r: r['seconds'], 1, '{:.0f}')} |", "",
      "What the encoder is worth on CIFAR-10 at 64 pixels, 10,000 images to learn from and 2,000 held out, accuracy",
      "in % with a sampling deviation of 1.1:", "",
      "| encoder | kNN | linear probe |", "|---|---|---|",
      *(f"| {name} | {each(lambda r: r[k]['knn'])} | {each(lambda r: r[k]['linear'])} |"
        for k, name in (("encoder", "VirTex"), ("random", "untrained"))), "",
      "Of seed 0, what was said and one of five true captions:", "", "| said | true |", "|---|---|",
      *(f"| {e['said']} | {e['true'][0]} |" for e in rows[0]["captions"]["examples"]), ""])


def picture(path, runs, seed):
  """Held-out images spread over the set, above each what was said of it, below it a true caption."""
  import matplotlib
  matplotlib.use("Agg")
  import matplotlib.pyplot as plt
  encoder, c = checkpoint.load_encoder(workdir_of(runs, seed)), configured(path, runs, seed)
  source, coder = frozen.load_data(encoder, None, "test"), tokens.coder(c.data.tokenizer)
  index = np.linspace(0, len(source) - 1, COLUMNS * ROWS).round().astype(int)
  batch = source.batch(index)
  said = checkpoint.captioner(workdir_of(runs, seed))(batch["image"] / np.float32(255))
  figure, axes = plt.subplots(ROWS, COLUMNS, figsize=(2.2 * COLUMNS, 2.9 * ROWS), layout="constrained")
  for ax, image, ids, true in zip(axes.ravel(), batch["image"], np.asarray(said), batch["text"][:, 0], strict=True):
    ax.imshow(image, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.set_title(textwrap.fill(coder.decode(ids), 34), fontsize=7, weight="bold")
    ax.set_xlabel(textwrap.fill(coder.decode(true), 38), fontsize=6.5, color="#555")
  figure.savefig(HERE / "results" / "captions.png", dpi=110)
  plt.close(figure)


def collect(path, runs):
  """Writes the table and the picture."""
  rows = [json.loads(f.read_text()) for f in sorted(pathlib.Path(runs).glob("virtex/seed*/captions.json"))]
  if not rows:
    raise SystemExit(f"no finished run in {runs}")
  own = people(path)
  checkpoint.write_json(HERE / "results" / "captions.json", {"options": OPTIONS, "runs": rows, "people": own})
  checkpoint.write_text(HERE / "results" / "captions.md", table(rows, own))
  print(table(rows, own))
  picture(path, runs, rows[0]["seed"])


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/captions")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  path = str(pathlib.Path(args.data).resolve())
  if not args.table:
    for seed in args.seeds:
      r = run(path, args.runs, seed)
      print(f"seed {seed}  " + "  ".join(f"{k} {r['captions'][k]:.3f}" for k in ("bleu4", "bleu4_others", "distinct")),
            *(f"{m} {r['encoder'][m]:.3f} (random {r['random'][m]:.3f})" for m in ("knn", "linear")), flush=True)
  collect(path, args.runs)


if __name__ == "__main__":
  main()
