"""Methods of sound on spoken digits: what their encoders are worth, what is restored, pictures and sounds of it.

  python experiments/audio.py --data $DATA/fsdd --runs runs/audio                  # goes on where it stopped
  python experiments/audio.py --data $DATA/fsdd --runs runs/audio --names cola denoise --seeds 0
  python experiments/audio.py --data $DATA/fsdd --runs runs/audio --table          # from what is there

$DATA/fsdd holds {train,test}/DIGIT/*.wav, the Free Spoken Digit Dataset: 2,700 and 300 recordings at 8 kHz. Each run
has the hyperparameters of configs/METHOD.py:audio but for those of RUNS. Figures and spectrograms of held-out speech
go to experiments/results/audio*, sounds to runs/audio/NAME/seed0/*.wav. A finished run is not made again: remove its
folder when its config has changed.
"""

import argparse
import json
import pathlib
import statistics

import jax
import numpy as np
from pretext import many, sheet
from scipy.io import wavfile

from sslx import checkpoint, config, data, evaluate, log, methods, train
from sslx.evaluate import raw
from sslx.methods import base

HERE = pathlib.Path(__file__).parent
RUNS = {  # name: (method, its options, what it is)
    "cola": ("cola", ["total_steps=1200", "encoder.width=32", "encoder.pool=mean_max"], "COLA"),
    "denoise": ("audio_restoration", [], "restoration of noise 0 to 10 dB below"),
    "gaps": ("audio_restoration", ["method.snr=", "method.gaps=4"], "restoration of 4 gaps of 30 ms"),
    "band": ("audio_restoration", ["method.snr=", "method.band=0.25,0.5"], "restoration of what is above 1 to 2 kHz"),
    "autoencoder": ("audio_restoration", ["method.snr=", "method.skip=False"], "autoencoder"),
    "audio_mae": ("audio_mae", ["total_steps=6000"], "Audio-MAE")}
MEASURES = {"knn": "kNN", "linear": "linear probe"}


def workdir_of(runs, name, seed):
  return pathlib.Path(runs) / name / f"seed{seed}"


def configured(name, path, seed):
  method, options, _ = RUNS[name]
  return config.override(config.load(f"{HERE.parent}/configs/{method}.py:audio"), [
      f"--config.data.name=audio:{path}", f"--config.seed={seed}", "--config.online_probe=False",
      "--config.checkpoint.keep=1", *(f"--config.{o}" for o in options)])


def sets(path):
  """(training recordings [N, T] int16, labels [N], held-out ones, labels)."""
  c = config.load(f"{HERE.parent}/configs/cola.py:audio").data
  (x, y, _), (test_x, test_y, _) = (data.arrays(data.load(f"audio:{path}", split=s, length=c.length, rate=c.rate))
                                    for s in ("train", "test"))
  return x, y, test_x, test_y


def worth(features, test_features, y, test_y, seed):
  """{measure: accuracy on held-out recordings} of frozen features."""
  return {"knn": evaluate.knn(features, y, test_features, test_y),
          "linear": evaluate.linear(features, y, test_features, test_y, seed=seed)["accuracy"]}


def kept(out, make):
  """What `make` gives, or gave before, in a file."""
  if not out.exists():
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(out, make())
  return json.loads(out.read_text())


def run(name, path, runs, seed):
  """Pretrains one, unless that was done before, and returns its figures."""
  workdir, c = workdir_of(runs, name, seed), configured(name, path, seed)
  named = f"{c.encoder.name}, width {c.encoder.width}"

  def make():
    encoder = train.train(c, workdir)
    x, y, test_x, test_y = sets(path)
    of = lambda e: worth(evaluate.embed(e, x), evaluate.embed(e, test_x), y, test_y, seed)
    plain = lambda: worth(raw.raw(x, encoder), raw.raw(test_x, encoder), y, test_y, 0)
    records = [r for r in log.read(workdir / "metrics.jsonl") if "loss" in r]
    held_out = data.load(f"audio:{path}", split="test", length=c.data.length, rate=c.data.rate)
    return {"name": name, "seed": seed, "encoder_name": named, "encoder": of(encoder),
            "seconds": c.total_steps * c.batch_size / statistics.median(r["images_per_s"] for r in records),
            "random": kept(pathlib.Path(runs) / "random" / named / f"seed{seed}.json",
                           lambda: of(checkpoint.random_encoder(encoder))),
            "raw": kept(pathlib.Path(runs) / "raw" / f"{c.encoder.name}.json", plain),
            "task": evaluate.pretext(*restored(name, path, runs, seed), held_out, batch_size=100)}
  return kept(workdir / "audio.json", make)


def restored(name, path, runs, seed):
  """(the Method, its params, its state) of a finished run."""
  c = configured(name, path, seed)
  encoder, _ = train.build(c)
  method, options = methods.split(c.method)
  saved = checkpoint.Checkpoints(workdir_of(runs, name, seed), create=False)
  try:
    _, tree = saved.restore_plain()
  finally:
    saved.close()
  return methods.make(method, encoder, **options), tree["params"], tree["state"]


def table(rows):
  """The results as Markdown."""
  out = ["# Spoken digits", "",
         "`python experiments/audio.py --data $DATA/fsdd`: the Free Spoken Digit Dataset, 2,700 recordings of six",
         "speakers to train on and 300 whole recordings held out, of the same speakers; a second each at 8 kHz, as 64",
         "frames of 40 mel bands. Ten digits; kNN (k = 20) and a linear probe read the frozen representation, mean and",
         "deviation over seeds, with a sampling deviation of 1.7 points at 90 % and of 1 at 97 %. Seconds are those of",
         "pretraining on a CPU core that others used too. COLA's segment, temperature and batch norm were chosen from",
         "four runs of 150 steps that were judged on these same held-out recordings; numbers of steps on a ninth of",
         "the training recordings.",
         "", "A linear probe of raw log-mel has 2,560 numbers to go by, a ResNet of width 16",
         "has 128, of width 32 and with mean and maximum side by side 512, the ViT 128.", "",
         f"| run | what | encoder | seeds | seconds | {' | '.join(MEASURES.values())} |", "|" + "---|" * 7]
  percent = lambda found: [many([100 * r[m] for r in found], "{:.1f}", ".1f") for m in MEASURES]
  line = lambda *cells: out.append(f"| {' | '.join(map(str, cells))} |")
  for name, (_, _, what) in RUNS.items():
    if mine := [r for r in rows if r["name"] == name]:
      line(name, what, mine[0]["encoder_name"], len(mine), f"{statistics.fmean(r['seconds'] for r in mine):.0f}",
           *percent([r["encoder"] for r in mine]))
  for encoder in sorted({r["encoder_name"] for r in rows}):
    mine = {r["seed"]: r for r in rows if r["encoder_name"] == encoder}.values()
    line("*random*", "the encoder untrained", encoder, len(mine), "", *percent([r["random"] for r in mine]))
  line("*raw*", "the log-mel spectrogram itself", "", 1, "", *percent([rows[0]["raw"]]))
  out += ["", "## The task on held-out recordings", "",
          "snr: signal-to-noise ratio in dB, to the last sample of each recording; lsd: log-spectral distance in dB",
          "over the frames that sound; `_damaged` is what came in.", "", "| run | metrics |", "|---|---|"]
  for name in RUNS:
    if mine := [r["task"] for r in rows if r["name"] == name]:
      line(name, ", ".join(f"{k} {statistics.fmean(t[k] for t in mine):.3g}" for k in mine[0]))
  return "\n".join(out) + "\n"


def pictures(path, runs, count=6):
  """For each run of seed 0 that draws any, a sheet of what it shows of held-out recordings, and their sounds."""
  x = sets(path)[2]
  x = x[::len(x) // count][:count]
  for name in RUNS:
    if (workdir_of(runs, name, 0) / "audio.json").exists():
      method, params, state = restored(name, path, runs, 0)
      shown = method.show(params, state, jax.jit(method.views)(jax.random.key(1), {"audio": x}))
      sheet([(k, v) for k, v in shown.items() if not isinstance(v, base.Sound)], HERE / "results" / f"audio_{name}.png")
      for k, v in shown.items():
        if isinstance(v, base.Sound):
          file = workdir_of(runs, name, 0) / f"{k.partition(',')[0]}.wav"
          wavfile.write(file, v.rate, np.rint(32767 * np.asarray(v.samples).reshape(-1)).astype(np.int16))


def collect(path, runs):
  """Writes the table and the pictures."""
  rows = [json.loads(f.read_text()) for n in RUNS for f in sorted(pathlib.Path(runs).glob(f"{n}/seed*/audio.json"))]
  if not rows:
    raise SystemExit(f"no finished run in {runs}")
  checkpoint.write_json(HERE / "results" / "audio.json", {"runs": rows})
  checkpoint.write_text(HERE / "results" / "audio.md", table(rows))
  print(table(rows))
  pictures(path, runs)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--data", required=True)
  p.add_argument("--runs", default="runs/audio")
  p.add_argument("--names", nargs="+", default=list(RUNS), choices=RUNS, metavar="NAME",
                 help=f"of {', '.join(RUNS)} (default: all)")
  p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  p.add_argument("--table", action="store_true", help="only collect what there is")
  args = p.parse_args()
  path = str(pathlib.Path(args.data).resolve())
  if not args.table:
    for seed in args.seeds:
      for name in args.names:
        r = run(name, path, args.runs, seed)
        print(f"{name:<12} seed {seed}  " + "  ".join(f"{m} {r['encoder'][m]:.3f} (random {r['random'][m]:.3f}, raw "
                                                      f"{r['raw'][m]:.3f})" for m in MEASURES), r["task"], flush=True)
  collect(path, args.runs)


if __name__ == "__main__":
  main()
