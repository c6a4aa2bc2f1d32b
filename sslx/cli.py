"""The command line: sslx pretrain | transfer | evaluate | embed | report | import | export | gallery | data | list.
Exit codes: 0 done, 1 a failure, 2 wrong use, 3 stopped by a signal with everything saved."""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from sslx import errors  # noqa: E402


class Parser(argparse.ArgumentParser):
  """Prints wrong use as one line, with the nearest valid choice."""

  def error(self, message):
    raise errors.UsageError(f"{message}; `{self.prog} --help` shows what there is")

  def _check_value(self, action, value):
    if action.choices is not None and value not in action.choices:
      raise errors.unknown(action.metavar or action.dest, value, action.choices)


def parser():
  """The whole command line."""
  top = Parser(prog="sslx", description=__doc__, allow_abbrev=False)
  top.add_argument("--debug", action="store_true", help="show the traceback of an error")
  commands = top.add_subparsers(metavar="command", required=True, dest="command", parser_class=Parser)

  def command(name, function, text):
    p = commands.add_parser(name, help=text.partition(":")[0], description=text, allow_abbrev=False,
                            formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    p.set_defaults(run=function)
    return p

  p = command("pretrain", pretrain, "Pretrain, or go on with the run in --workdir: the same command resumes.\n\n"
              "Any key of the config can be set: --config.batch_size=512 --config.data.name=folder:photos\n"
              "(`sslx pretrain --config FILE --show` prints them all).")
  p.add_argument("--config", metavar="FILE[:VARIANT]", help="a config file, such as configs/simclr.py:digits; "
                 "left out, the run in --workdir goes on as it was configured")
  p.add_argument("--workdir", metavar="DIR", help="folder of the run, made if need be")
  p.add_argument("--extend", metavar="total_steps=N", help="take a run past its planned end")
  p.add_argument("--show", action="store_true", help="print the config and exit")

  p = command("transfer", transfer, "Train a task with labels on a pretrained encoder, beside the same network from "
              "scratch: writes DIR/transfer.json.\n\nThe same command goes on with what is in --workdir. Any key of "
              "the config can be set, as in pretrain:\n--config.data.name=folder:photos --config.method.mixup=0.2")
  p.add_argument("--config", required=True, metavar="FILE[:VARIANT]", help="a config file, such as "
                 "configs/transfer/classify.py:digits")
  p.add_argument("--from", required=True, dest="source", metavar="RUN", help="workdir of the pretraining run, its "
                 "encoder's folder or that of a checkpoint")
  p.add_argument("--workdir", required=True, metavar="DIR", help="folder of this run, made if need be")
  p.add_argument("--strategy", metavar="S", help="linear (encoder frozen), freeze=K (its first K stages frozen), "
                 "finetune, copy=K (only the first K stages pretrained), scratch, or auto (default: method.strategy)")
  p.add_argument("--no-scratch", action="store_true", help="leave out the comparison with random weights")
  p.add_argument("--scratch-lr", type=float, metavar="X", help="peak learning rate from scratch (default: optim.lr)")

  p = command("evaluate", evaluate, "Evaluate the encoder of a run, beside a random one and the raw data: writes "
              "DIR/evaluation.json.")
  p.add_argument("--workdir", required=True, metavar="DIR")
  p.add_argument("--protocols", default="knn,linear,few_label,health", metavar="P,P,...",
                 help="of knn, linear, few_label, health (default: these), stages and "
                 "stages_ridge (a probe of every stage, the second in closed form)")
  p.add_argument("--data", metavar="NAME", help="another data set than the run's own")
  p.add_argument("--step", metavar="N|best", help="a checkpoint in place of the final encoder")
  p.add_argument("--read", default="h", choices=("h", "z"), metavar="h|z", help="the representation (default), or the "
                 "projection that the loss compares")
  p.add_argument("--train", type=int, metavar="N", help="at most N training examples (default: evaluate.train)")
  p.add_argument("--test", type=int, metavar="N", help="at most N test examples (default: evaluate.test)")

  p = command("embed", embed, "Write embeddings, labels, index and paths of a data set to an .npz file.")
  p.add_argument("--workdir", required=True, metavar="DIR")
  p.add_argument("--data", metavar="NAME", help="default: the run's own data")
  p.add_argument("--split", default="test", metavar="SPLIT", help="train or test (default: test)")
  p.add_argument("--out", required=True, metavar="FILE.npz")
  p.add_argument("--layer", metavar="LAYER", help="stage1, stage2, ... in place of the final representation")
  p.add_argument("--step", metavar="N|best", help="a checkpoint in place of the final encoder")
  p.add_argument("--read", default="h", choices=("h", "z"), metavar="h|z", help="the representation (default), or the "
                 "projection that the loss compares")
  p.add_argument("--batch", type=int, default=256, metavar="N", help="images a forward pass (default: 256)")

  p = command("report", report, "Write DIR/report.html: verdict, tables, curves, views, neighbours, a map.")
  p.add_argument("--workdir", required=True, metavar="DIR")
  p.add_argument("--out", metavar="FILE", help="default: DIR/report.html")

  p = command("import", import_, "Make a workdir of somebody's weights: evaluate, embed and report work on it, and a "
              "run can start from it.\n\nsslx import dino_vits16.pth --from dino --encoder vit_s --workdir runs/dino\n"
              "A file that sslx exported needs no more than --workdir.")
  p.add_argument("file", metavar="FILE", help=".safetensors, .npz, or PyTorch's .pth, .pt, .ckpt, of which nothing is "
                 "ever run; these need `pip install 'sslx[torch]'`")
  p.add_argument("--from", dest="source", metavar="SOURCE", help="whose layout: timm, torchvision, dino, ibot, dinov2, "
                 "mae, mocov3, simclr, solo-learn, lightly, vissl or big_vision (default: the first that fits)")
  p.add_argument("--encoder", metavar="NAME", help="what the file holds: `sslx list encoders`")
  p.add_argument("--workdir", required=True, metavar="DIR", help="folder to be made")
  p.add_argument("--size", type=int, default=0, metavar="S", help="side of the images in pixels (default: 224)")
  p.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="of the encoder, where the file does "
                 "not show them: width=16, pool=mean, 'mean=(0.5,)'")
  p.add_argument("--data", metavar="NAME", help="the data set that evaluate, embed and report take by default")
  p.add_argument("--prefix", metavar="PREFIX", help="what stands before the encoder's keys, in place of the source's")
  p.add_argument("--heads", nargs="+", default=[], metavar="PREFIX", help="further keys that are left out")

  p = command("export", export, "Write the encoder alone, for another library, and a JSON record beside it.\n\n"
              "sslx export --workdir runs/mine --to timm --out encoder.safetensors")
  p.add_argument("--workdir", required=True, metavar="DIR", help="of a run, or a file that --to safetensors wrote")
  p.add_argument("--to", required=True, choices=("timm", "torchvision", "safetensors", "stablehlo"),
                 metavar="timm|torchvision|safetensors|stablehlo", help="a state dict for their load_state_dict("
                 "strict=True), our own names for sslx.load_encoder, or a program that runs without this library")
  p.add_argument("--out", required=True, metavar="FILE", help=".safetensors, .npz or .pth; any name for stablehlo")
  p.add_argument("--step", metavar="N|best", help="a checkpoint in place of the final encoder")

  p = command("gallery", gallery, "Show the augmentations on images of a data set: every operation at several "
              "strengths, every recipe.\n\nThe page needs nothing but itself: "
              "sslx gallery --data folder:photos --size 160 --out gallery.html")
  p.add_argument("--data", required=True, metavar="NAME", help="digits, fashion_mnist, folder:PATH, tfds:NAME, "
                 "npz:PATH, a prepared set, or your own")
  p.add_argument("--out", required=True, metavar="FILE", help="the page to write")
  p.add_argument("--recipes", metavar="R,R,...", help="recipes to show, your own by their dotted names (default: all; "
                 "`sslx list augmentations` names them)")
  p.add_argument("--images", type=int, default=6, metavar="N", help="images for the recipes (default: 6); operations "
                 "show two of them")
  p.add_argument("--size", type=int, default=0, metavar="S", help="side in pixels that images are resized to, the "
                 "short side first, the middle kept (default: 0, as they are)")
  p.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of images and of all draws (default: "
                 "0)")

  p = command("data", data, "Data sets: `sslx data list`, `sslx data prepare folder:PATH --name flowers`.")
  p.add_argument("action", choices=("prepare", "list"), metavar="prepare|list")
  p.add_argument("source", nargs="?", metavar="NAME", help="folder:PATH or tfds:NAME, to prepare")
  p.add_argument("--name", metavar="NAME", help="what the prepared set shall be called")
  p.add_argument("--dir", metavar="DIR", help="where prepared sets live (default: TFDS_DATA_DIR, else a cache folder)")
  p.add_argument("--on_error", default="raise", choices=("raise", "skip"), metavar="raise|skip",
                 help="what to do with corrupt images (default: raise)")

  p = command("list", list_, "List what there is: methods, encoders, augmentations.")
  p.add_argument("what", choices=("methods", "encoders", "augmentations"), metavar="methods|encoders|augmentations")
  p.add_argument("--cite", action="store_true", help="methods: their papers as BibTeX")
  return top


def main(argv=None):
  """Runs one command and returns its exit code; errors are one line on stderr."""
  argv = sys.argv[1:] if argv is None else list(argv)
  if str(pathlib.Path.cwd()) not in sys.path:
    sys.path.insert(0, str(pathlib.Path.cwd()))              # dotted names are looked for here too
  try:
    args, rest = parser().parse_known_args(argv)
    if args.command not in ("pretrain", "transfer") and rest:
      raise errors.UsageError(f"unknown argument {rest[0]}; `sslx {args.command} --help` shows what there is")
    args.overrides = rest
    args.run(args)
    return 0
  except (Exception, KeyboardInterrupt) as e:  # the last resort: whatever it is, a person gets one line
    if "--debug" in argv and not isinstance(e, errors.Stopped):
      raise
    codes = {errors.Stopped: 3, errors.UsageError: 2, errors.RunError: 1, KeyboardInterrupt: 130}
    code = next((c for kind, c in codes.items() if isinstance(e, kind)), None)
    line = errors.first_line(e) if code else f"{type(e).__name__}: {errors.first_line(e)} (--debug shows where)"
    print(f"sslx: {line}", file=sys.stderr)
    return code or 1


def pretrain(args):
  """sslx pretrain"""
  from sslx import checkpoint, config as configs
  if not args.config and not args.workdir:
    raise errors.UsageError("pretrain needs --config FILE and --workdir DIR; for a run that exists --workdir is enough")
  if args.config:
    config = configs.load(args.config)
  else:
    config = configs.restored(checkpoint.run_of(args.workdir)["config"])
  config = configs.override(config, args.overrides)
  if args.show:
    print(config)
    return
  if not args.workdir:
    raise errors.UsageError("pretrain needs --workdir DIR, the folder of the run")
  extend = None
  if args.extend:
    key, _, value = args.extend.partition("=")
    if key != "total_steps" or not value.isdigit():
      raise errors.UsageError(f"--extend takes total_steps=N, not {args.extend}")
    extend = {"total_steps": int(value)}
  from sslx import log, train
  train.train(config, args.workdir, extend=extend)
  log.say(f"done: the encoder is in {args.workdir}/encoder; next: sslx evaluate --workdir {args.workdir}")


def transfer(args):
  """sslx transfer"""
  from rich.table import Table

  from sslx import config as configs, log, transfer as transfers
  config = configs.override(transfers.onto(configs.load(args.config), args.source), args.overrides)
  if args.strategy:
    config.method.strategy = args.strategy
  result = transfers.transfer(config, args.workdir, scratch=not args.no_scratch, scratch_lr=args.scratch_lr)
  table = Table("measure", *result["runs"])
  for name, values in transfers.rows(result):
    table.add_row(name, *("" if v is None else f"{v:.3f}" for v in values.values()))
  log.Console().print(table)


def encoder_of(args):
  """The Encoder that --workdir and --step name."""
  from sslx import checkpoint
  step = int(args.step) if args.step and args.step.isdigit() else args.step
  return checkpoint.load_encoder(args.workdir, step=step, read=args.read)


def evaluate(args):
  """sslx evaluate"""
  from rich.table import Table

  from sslx import evaluate as evaluation, frozen, log
  encoder = encoder_of(args)
  result = frozen.evaluate(encoder, args.workdir, protocols=tuple(p for p in args.protocols.split(",") if p),
                           data=args.data, train=args.train, test=args.test)
  table = Table("protocol", "setting", "encoder", "random", evaluation.RAW[encoder.reads])
  for row in evaluation.rows(result):
    table.add_row(*(f"{v:.3f}" if isinstance(v, float) else "" if v is None else str(v) for v in row))
  log.Console().print(table)
  for note in result.get("notes", []):
    log.say(note)


def embed(args):
  """sslx embed"""
  from sslx import frozen, log
  count = frozen.embed(encoder_of(args), args.out, data=args.data, split=args.split, layer=args.layer,
                       batch_size=args.batch)
  log.say(f"{args.out}: embeddings of {count} examples")


def report(args):
  """sslx report"""
  from sslx import log, report as reports
  log.say(f"written: {reports.write(args.workdir, out=args.out)}")


def import_(args):
  """sslx import"""
  from sslx import interop, log
  found = interop.import_weights(
      args.file, args.workdir, encoder=args.encoder, source=args.source, size=args.size, data=args.data,
      options=interop.parsed(args.options), prefix=args.prefix, heads=tuple(args.heads)).spec
  source = found["source"]
  if "keys" in source:
    log.say(f"{found['encoder']['name']} from {source['keys']} keys"
            + (f" below {source['prefix']}" if source["prefix"] else "") + f", in the layout of {source['from']}")
  for what, keys in (("heads, left out", source.get("heads")), ("beside the encoder, left out", source.get("beside"))):
    if keys:
      log.say(f"{what}: {', '.join(keys if args.debug else interop.grouped(keys))}")
  log.say(f"done: the encoder is in {args.workdir}/encoder; next: sslx evaluate --workdir {args.workdir}"
          + ("" if found["data"]["name"] != "given" else " --data NAME"))


def export(args):
  """sslx export"""
  from sslx import interop, log
  step = int(args.step) if args.step and args.step.isdigit() else args.step
  record = interop.export_weights(args.workdir, args.to, args.out, step=step)
  log.say(f"written: {args.out} and {args.out}.json")
  for line in interop.recipe(record) if "model" in record else []:
    log.say(f"  {line}")


def gallery(args):
  """sslx gallery"""
  from sslx import log
  from sslx.report import gallery as galleries
  names = None if args.recipes is None else [n for n in args.recipes.split(",") if n]
  try:
    out = galleries.write(args.data, args.out, names=names, images=args.images, size=args.size, seed=args.seed)
  except errors.UsageError as e:
    raise errors.UsageError(str(e).replace("data.size", "--size")) from e
  log.say(f"written: {out}")


def data(args):
  """sslx data"""
  from rich.table import Table

  from sslx import data as datasets, log
  if args.action == "list":
    table = Table("name", "splits", "shape", "classes", "skipped", "path")
    for r in datasets.listing(args.dir):
      table.add_row(r["name"], ", ".join(f"{k} {v}" for k, v in r["splits"].items()),
                    "x".join("any" if n is None else str(n) for n in r["shape"]),
                    str(len(r["classes"])) if r["classes"] else "", str(r["skipped"] or ""), r["path"])
    log.Console().print(table)
    return
  if not args.source:
    raise errors.UsageError("data prepare needs what to prepare: folder:PATH or tfds:NAME")
  with log.progress() as bar:
    task = bar.add_task("preparing", total=None)
    found = datasets.prepare(args.source, dir=args.dir, as_name=args.name, on_error=args.on_error,
                             progress=lambda done, total: bar.update(task, completed=done, total=total))
  splits = ", ".join(f"{k} {v}" for k, v in found["splits"].items())
  log.say(f"{found['name']}: {splits}; {found['skipped']} corrupt, {found['ignored']} no images; in {found['path']}")
  for note in found["notes"]:
    log.say(note)


def list_(args):
  """sslx list"""
  from sslx import encoders, methods
  from sslx.augment import recipes
  if args.cite:
    if args.what != "methods":
      raise errors.UsageError(f"--cite gives the papers of methods, not of {args.what}")
    print("\n\n".join(dict.fromkeys(filter(None, map(methods.cite, methods.names())))))
  elif args.what == "methods":
    for name in methods.names():
      print(f"{name:<16} {methods.describe(name)}")
  else:
    home = {"encoders": encoders, "augmentations": recipes}[args.what]
    for name in home.names():
      print(f"{name:<16} " + " ".join(f"{k}={v}" for k, v in home.options(name).items() if k != "name"))
