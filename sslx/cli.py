"""The commands of `sslx`; arguments.py has what each takes. An error is one line on stderr."""

import os
import pathlib
import sys
import traceback

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sslx", "compiled")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", CACHE)   # the same command starts faster the next time

from sslx import arguments, cpu, errors  # noqa: E402
from sslx.cli_data import data  # noqa: E402
from sslx.cli_devices import doctor, plan  # noqa: E402


def main(argv=None):
  """Runs one command and returns its exit code; errors are one line on stderr."""
  if argv is None:                                           # a process of its own
    argv = sys.argv[1:]
    command = next((a for a in argv if not a.startswith("-")), "")
    if command in ("pretrain", "transfer", "evaluate", "embed", "doctor"):
      cpu.restart(argv, alone=not any(a.startswith(("--distributed", "--coordinator", "--process")) for a in argv))
  argv = list(argv)
  if str(pathlib.Path.cwd()) not in sys.path:
    sys.path.append(str(pathlib.Path.cwd()))                 # dotted names are looked for here too, but last
  try:
    args, rest = arguments.parser().parse_known_args(argv)
    if args.command not in ("pretrain", "transfer", "plan") and rest:
      raise errors.UsageError(f"unknown argument {rest[0]}; `sslx {args.command} --help` shows what there is")
    args.overrides = rest
    join(args)
    COMMANDS[args.command](args)
    return 0
  except (Exception, KeyboardInterrupt) as e:  # the last resort: whatever it is, a person gets one line
    processes = None if isinstance(e, errors.Stopped) else sys.modules.get("sslx.processes")
    several = processes and processes.several()
    if "--debug" in argv and not isinstance(e, errors.Stopped):
      if not several:
        raise
      traceback.print_exc()
    codes = {errors.Stopped: 3, errors.UsageError: 2, errors.RunError: 1, KeyboardInterrupt: 130}
    code = next((c for kind, c in codes.items() if isinstance(e, kind)), None)
    line = errors.first_line(e) if code else f"{type(e).__name__}: {errors.first_line(e)} (--debug shows where)"
    if several:
      line += "" if code else "; perhaps another process of the run has ended: see what it says"
      processes.leave(code or 1, line)
    print(f"sslx: {line}", file=sys.stderr)
    return code or 1


def join(args):
  """Makes this one of several processes, if it is to be one; all but the first are silent."""
  given = [getattr(args, k, None) for k in ("coordinator", "processes", "process")]
  if not getattr(args, "distributed", False) and given == [None] * 3:
    return
  from sslx import log, processes
  processes.join(*given)
  if not processes.first():
    log.console.quiet, sys.stdout = True, open(os.devnull, "w")  # noqa: SIM115


def pretrain(args):
  """sslx pretrain"""
  from sslx import checkpoint, config as configs
  if not args.config and not args.workdir:
    raise errors.UsageError("pretrain needs --config FILE and --workdir DIR; for a run that exists --workdir is enough")
  if args.config:
    config = configs.load(args.config)
  else:
    config = configs.restored(checkpoint.config_of(args.workdir))
  config = configs.override(config, args.overrides)
  if args.show:
    print(config)
    return
  if not args.workdir:
    raise errors.UsageError("pretrain needs --workdir DIR, the folder of the run")
  extend = extended(args)
  from sslx import log, seeds, train
  train.train(config, args.workdir, extend=extend, profile=args.profile)
  if seeds.several(config):
    rows = seeds.summary(config, args.workdir)
    columns = list(dict.fromkeys(k for _, values in rows for k in values))
    show("run", *columns, rows=[(name, *(values.get(k) for k in columns)) for name, values in rows])
    log.say(f"done: each run is a workdir by itself; next: sslx evaluate --workdir {args.workdir}/"
            f"{next(name for name, values in rows if 'loss' in values)}")
    return
  log.say(f"done: the encoder is in {args.workdir}/encoder; next: sslx evaluate --workdir {args.workdir}")


def show(*columns, rows, title=None):
  """Prints a table; numbers that are not whole with three decimals, None as nothing."""
  from rich.table import Table

  from sslx import log
  table = Table(*columns, title=title)
  for row in rows:
    table.add_row(*("" if v is None else str(v) if isinstance(v, (str, int)) else f"{v:.3f}" for v in row))
  log.Console().print(table)


def extended(args):
  """{"total_steps": N} of --extend, or None."""
  if not args.extend:
    return None
  key, _, value = args.extend.partition("=")
  if key != "total_steps" or not value.isdigit():
    raise errors.UsageError(f"--extend takes total_steps=N, not {args.extend}")
  return {"total_steps": int(value)}


def transfer(args):
  """sslx transfer"""
  from sslx import config as configs, transfer as transfers
  config = configs.override(transfers.onto(configs.load(args.config), args.source), args.overrides)
  if args.strategy:
    config.method.strategy = args.strategy
  if args.show:
    print(config)
    return
  if not args.workdir:
    raise errors.UsageError("transfer needs --workdir DIR, the folder of the run")
  result = transfers.transfer(config, args.workdir, scratch=not args.no_scratch, scratch_lr=args.scratch_lr,
                              extend=extended(args))
  show("measure", *result["runs"], rows=[(name, *values.values()) for name, values in transfers.rows(result)])


def encoder_of(args):
  """The Encoder that --workdir and --step name."""
  from sslx import checkpoint
  step = int(args.step) if args.step and args.step.isdigit() else args.step
  return checkpoint.load_encoder(args.workdir, step=step, read=args.read)


def evaluate(args):
  """sslx evaluate"""
  from sslx import evaluate as evaluation, frozen, log
  encoder = encoder_of(args)
  names = args.data or [None, *encoder.spec["config"]["evaluate"].get("data", ())]
  for name in dict.fromkeys(names) if len(names) > 1 else ():            # all are there, before the first is embedded
    frozen.load_data(encoder, name, "test")
  for name in dict.fromkeys(names):
    result = frozen.evaluate(encoder, args.workdir, protocols=tuple(p for p in args.protocols.split(",") if p),
                             data=name, train=args.train, test=args.test, templates=templates(args.templates))
    found = evaluation.rows(result)
    columns = ["protocol", "setting", "encoder", "random", evaluation.RAW[encoder.reads], "chance"]
    columns = columns if any(row[-1] is not None for row in found) else columns[:-1]
    show(*columns, rows=[row[:len(columns)] for row in found], title=result["data"] if len(names) > 1 else None)
    for note in result.get("notes", []):
      log.say(note)


def templates(file):
  """The lines of a file of templates, or None."""
  if not file:
    return None
  try:
    return [line for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
  except (OSError, UnicodeDecodeError) as e:
    raise errors.UsageError(f"cannot read the templates {file}: {errors.first_line(e)}") from e


def embed(args):
  """sslx embed"""
  from sslx import frozen, log
  count = frozen.embed(encoder_of(args), args.out, data=args.data, split=args.split, layer=args.layer,
                       batch_size=args.batch)
  log.say(f"{args.out}: embeddings of {count} examples")


def search(args):
  """sslx search"""
  from sslx import log
  from sslx.report import search as searches
  step = int(args.step) if args.step and args.step.isdigit() else args.step
  out = searches.write(args.workdir, args.image, data=args.data, split=args.split, index=args.index, k=args.k,
                       step=step, out=args.out)
  log.say(f"written: {out}")


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


COMMANDS = {"pretrain": pretrain, "transfer": transfer, "evaluate": evaluate, "embed": embed, "search": search,
            "report": report, "import": import_, "export": export, "plan": plan, "doctor": doctor, "gallery": gallery,
            "data": data, "list": list_}
