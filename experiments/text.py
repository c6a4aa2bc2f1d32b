"""Text: a GPT's bits per byte and what it writes; sentence encoders on SST-2 beside a random one and bags of tokens.

  python experiments/text.py --data $DATA/text --runs runs/text             # goes on where it stopped
  python experiments/text.py --data $DATA/text --runs runs/text --table     # from what is there

$DATA/text holds tinyshakespeare.txt and sst2_{train,dev,test}.tsv. Figures go to experiments/results/text*. A finished
run is not made again: remove its folder when its config has changed.
"""

import argparse
import bz2
import json
import pathlib
import statistics
import time

import jax
import numpy as np

from sslx import checkpoint, config, data, evaluate, tokens, train
from sslx.data import text as texts
from sslx.evaluate.surprisal import surprisal
from sslx.methods import words

HERE = pathlib.Path(__file__).parent
CONTEXTS = (1, 4, 16, 64, 128)
VOCAB = 2048
PROMPT = b"ROMEO:\n"
SST = ["--config.data.name=text:{data}/sst2_train.tsv", "--config.data.length=48", "--config.data.tokenizer={bpe}",
       "--config.online_probe=False",
       "--config.encoder.width=128", "--config.encoder.depth=2", "--config.encoder.heads=4"]
FRESH = [*SST, "--config.total_steps=400"]
FROM_BERT = [*SST, "--config.init={runs}/bert/seed{seed}", "--config.total_steps=200", "--config.optim.lr=0.002"]
# name: (config, what it has besides, seeds)
RUNS = {"gpt": ("gpt", ["--config.data.name=text:{data}/tinyshakespeare.txt"], (0,)),
        "bert": ("bert", FRESH, (0, 1, 2)), "simcse": ("simcse", FROM_BERT, (0, 1, 2)),
        "text_denoising": ("text_denoising", FRESH, (0,))}


def configured(name, path, runs, seed):
  """The config of a run; subwords are learnt from the training sentences."""
  file, options, _ = RUNS[name]
  bpe = pathlib.Path(runs) / "bpe.json"
  if name != "gpt" and not bpe.exists():
    bpe.parent.mkdir(parents=True, exist_ok=True)
    texts.learn_tokenizer(f"{path}/sst2_train.tsv", bpe, VOCAB)
  return config.override(config.load(f"{HERE.parent}/configs/{file}.py:text"), [
      *(o.format(data=path, bpe=bpe.resolve(), runs=bpe.resolve().parent, seed=seed) for o in options),
      f"--config.seed={seed}"])


def sentences(path, split):
  """(texts as bytes, labels [N]) of SST-2."""
  return texts.part(f"{path}/sst2_train.tsv", split)[:2]


def run(name, path, runs, seed):
  """Pretrains one, unless that was done before, and returns its figures; seconds are of all its sittings."""
  workdir = pathlib.Path(runs) / name / f"seed{seed}"
  out, clock = workdir / "text.json", workdir / "seconds.json"
  if out.exists():
    return json.loads(out.read_text())
  c = configured(name, path, runs, seed)
  begun = time.monotonic(), time.process_time()
  spent = json.loads(clock.read_text()) if clock.exists() else [0, 0]
  try:
    encoder = train.train(c, workdir)
  finally:
    if workdir.exists():
      now = time.monotonic(), time.process_time()
      spent = [s + b - a for s, a, b in zip(spent, begun, now, strict=True)]
      checkpoint.write_json(clock, spent)
  result = {"name": name, "seed": seed, "steps": c.total_steps, "seconds": spent[0], "cpu_seconds": spent[1],
            "parameters": sum(v.size for v in jax.tree.leaves(encoder.variables["params"])),
            **(written(c, workdir) if name == "gpt" else worth(encoder, c, path, seed))}
  checkpoint.write_json(out, result)
  return result


def written(c, workdir):
  """A GPT's bits per byte on the last tenth of the text, each byte counted, by how far it sees; and what it writes."""
  saved = checkpoint.Checkpoints(workdir, create=False)
  try:
    _, tree = saved.restore_plain()
  finally:
    saved.close()
  encoder, _ = train.build(c)
  net, variables = words.Scores(encoder), {"params": tree["params"]["net"]}
  read = lambda split: data.arrays(data.load(c.data.name, split=split, length=c.data.length))[0]
  before, ids = (x[x > 0] for x in map(read, ("train", "test")))
  most, coder = c.method.context, tokens.coder()
  bits = {k: surprisal(net, variables, ids, before, context=k, batch_size=4096 // k) for k in CONTEXTS if k <= most}
  fine = most // 4
  bits[f"{most}, at least {most - fine + 1}"] = surprisal(net, variables, ids, before, context=most, stride=fine)
  counts = np.bincount(before, minlength=257) + 1
  scores = jax.jit(lambda seen: net.apply(variables, seen))
  text = words.continued(scores, jax.random.key(0), coder.encode(PROMPT)[None], number=600, context=most,
                         temperature=c.method.temperature, top_p=c.method.top_p)
  whole = (np.concatenate([before, ids]) - 1).astype(np.uint8).tobytes()
  return {"held_out": [len(before), len(before) + len(ids)],
          "bits_per_byte": {str(k): float(b.mean()) for k, b in bits.items()},
          "by_frequency": float(-np.log2(counts / counts.sum())[ids].mean()),
          "bz2": 8 * (len(bz2.compress(whole)) - len(bz2.compress(whole[:len(before)]))) / len(ids),
          "text": coder.decode(np.asarray(text)[0])}


def worth(encoder, c, path, seed):
  """Accuracies on SST-2's test sentences of a linear probe and of kNN, and of a random encoder's."""
  known = {"length": c.data.length, "tokenizer": c.data.tokenizer}
  (x, y, _), (z, test_y, _) = (data.arrays(data.load(c.data.name, split=s, **known)) for s in ("train", "test"))
  return {kind: probed(evaluate.embed(e, x), y, evaluate.embed(e, z), test_y, seed) for kind, e in (
      ("encoder", encoder), ("random", checkpoint.random_encoder(encoder)))}


def probed(x, y, z, test_y, seed=0, standardise=True):
  """{"linear", "knn"} of features [N, D]."""
  return {"linear": evaluate.linear(x, y, z, test_y, seed=seed, standardise=standardise)["accuracy"],
          "knn": evaluate.knn(x, y, z, test_y)}


def bags(path, runs):
  """What a linear probe and kNN make of counts of bytes, and of subwords."""
  out, (x, y), (z, test_y) = {}, *(sentences(path, s) for s in ("train", "test"))
  for kind, name in (("bytes", "bytes"), ("subwords", str((pathlib.Path(runs) / "bpe.json").resolve()))):
    coder = tokens.coder(name)
    count = lambda text, c=coder: np.bincount(c.encode(text), minlength=c.vocab).astype(np.float32)
    counts = (np.stack([count(t) for t in texts_]) for texts_ in (x, z))
    share, test = (a / a.sum(1, keepdims=True) for a in counts)                         # as in a mean over tokens
    out[kind] = probed(share / share.std(), y, test / share.std(), test_y, standardise=False)
  return out


def table(rows, base):
  """The results as Markdown."""
  out = ["# Text", "", "`python experiments/text.py --data $DATA/text`; seconds of two CPU cores that others used,",
         "too."]
  for r in (r for r in rows if r["name"] == "gpt"):
    first, last = r["held_out"]
    bits = r["bits_per_byte"]
    out += ["", "## GPT on tinyshakespeare", "",
            f"{r['parameters']:,} parameters, {r['steps']:,} steps, {r['cpu_seconds']:.0f} s of CPU time.",
            f"Held out: bytes {first:,} to {last:,}, the last tenth of the file. Each of them is predicted, from at",
            "most k bytes before it and more than k / 2.", "",
            "| k | " + " | ".join(k for k in bits) + " |", "|---" * (len(bits) + 1) + "|",
            "| bits per byte | " + " | ".join(f"{v:.3f}" for v in bits.values()) + " |",
            "| perplexity | " + " | ".join(f"{2 ** v:.2f}" for v in bits.values()) + " |", "",
            f"By the frequency of bytes alone it is {r['by_frequency']:.3f} bits; bz2 takes {r['bz2']:.3f}.",
            "What it writes (temperature 0.8, top-p 0.95):", "", "```", *r["text"].splitlines(), "```"]
  rows = [r for r in rows if r["name"] != "gpt"]
  if rows:
    out += ["", "## SST-2", "",
            f"All is learnt on the 6,920 sentences of sst2_train.tsv, the {VOCAB:,} subwords, too; accuracy on the",
            "1,821 of sst2_test.tsv (deviation of sampling 1.1 points); mean and deviation over seeds. SimCSE starts",
            "from the encoder that BERT trained with the same seed, as in the paper; its rate and steps were chosen on",
            "sst2_dev.tsv, from random weights it was worth no more than they are.", "",
            "| | seeds | steps | seconds | linear | over random | kNN | over random |", "|" + "---|" * 8]
  of = lambda mine, f, form="{:.1f}": form.format(statistics.fmean(map(f, mine))) + (
      f" ± {statistics.stdev(map(f, mine)):.1f}" if len(mine) > 1 else "")
  for name in RUNS:
    if mine := [r for r in rows if r["name"] == name]:
      cells = [name, len(mine), f"{mine[0]['steps']:,}", of(mine, lambda r: r["seconds"], "{:.0f}").partition(" ")[0]]
      for m in ("linear", "knn"):
        cells += [of(mine, lambda r, m=m: 100 * r["encoder"][m]),
                  of(mine, lambda r, m=m: 100 * (r["encoder"][m] - r["random"][m]), "{:+.1f}")]
      out.append(f"| {' | '.join(map(str, cells))} |")
  if rows:
    first = {r["seed"]: r["random"] for r in rows}.values()
    for name, found in (("*random encoder*", {m: statistics.fmean(r[m] for r in first) for m in ("linear", "knn")}),
                        *((f"*counts of {k}*", v) for k, v in base.items())):
      out.append(f"| {name} | | | | {100 * found['linear']:.1f} | | {100 * found['knn']:.1f} | |")
  return "\n".join(out) + "\n"


def collect(path, runs):
  """Writes the table."""
  rows = [json.loads(f.read_text()) for f in sorted(pathlib.Path(runs).glob("*/seed*/text.json"))]
  if not rows:
    raise SystemExit(f"no finished run in {runs}")
  rows.sort(key=lambda r: (list(RUNS).index(r["name"]), r["seed"]))
  base = bags(path, runs) if (pathlib.Path(runs) / "bpe.json").exists() else {}
  checkpoint.write_json(HERE / "results" / "text.json", {"runs": rows, "bags": base})
  checkpoint.write_text(HERE / "results" / "text.md", table(rows, base))
  print(table(rows, base))


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/text")
  p.add_argument("--names", nargs="+", default=list(RUNS), choices=RUNS)
  p.add_argument("--seeds", type=int, nargs="+", help="default: all")
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  path = str(pathlib.Path(args.data).resolve())
  for name in args.names if not args.table else ():
    for seed in args.seeds or RUNS[name][2]:
      r = run(name, path, args.runs, seed)
      print(name, seed, {k: v for k, v in r.items() if k != "text"}, flush=True)
  collect(path, args.runs)


if __name__ == "__main__":
  main()
