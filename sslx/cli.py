"""The commands of `sslx`; arguments.py has what each takes. An error is one line on stderr."""

import os
import pathlib
import sys

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sslx", "compiled")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", CACHE)   # the same command starts faster the next time

from sslx import arguments, errors  # noqa: E402


def main(argv=None):
  """Runs one command and returns its exit code; errors are one line on stderr."""
  argv = sys.argv[1:] if argv is None else list(argv)
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
    if "--debug" in argv and not isinstance(e, errors.Stopped):
      raise
    codes = {errors.Stopped: 3, errors.UsageError: 2, errors.RunError: 1, KeyboardInterrupt: 130}
    code = next((c for kind, c in codes.items() if isinstance(e, kind)), None)
    line = errors.first_line(e) if code else f"{type(e).__name__}: {errors.first_line(e)} (--debug shows where)"
    processes = None if isinstance(e, errors.Stopped) else sys.modules.get("sslx.processes")
    if processes and processes.several():
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
    config = configs.restored(checkpoint.run_of(args.workdir)["config"])
  config = configs.override(config, args.overrides)
  if args.show:
    print(config)
    return
  if not args.workdir:
    raise errors.UsageError("pretrain needs --workdir DIR, the folder of the run")
  extend = extended(args)
  from sslx import log, train
  train.train(config, args.workdir, extend=extend, profile=args.profile)
  log.say(f"done: the encoder is in {args.workdir}/encoder; next: sslx evaluate --workdir {args.workdir}")


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
  from rich.table import Table

  from sslx import config as configs, log, transfer as transfers
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
  names = args.data or [None, *encoder.spec["config"]["evaluate"].get("data", ())]
  for name in dict.fromkeys(names) if len(names) > 1 else ():            # all are there, before the first is embedded
    frozen.load_data(encoder, name, "test")
  for name in dict.fromkeys(names):
    result = frozen.evaluate(encoder, args.workdir, protocols=tuple(p for p in args.protocols.split(",") if p),
                             data=name, train=args.train, test=args.test)
    table = Table("protocol", "setting", "encoder", "random", evaluation.RAW[encoder.reads],
                  title=result["data"] if len(names) > 1 else None)
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


def plan(args):
  """sslx plan"""
  import re

  from rich.table import Table
  found = dict(re.findall(r"(data|fsdp)=(\d+)", args.mesh))
  whole = ",".join(f"{k}={v}" for k, v in found.items()) == args.mesh.replace(" ", "")
  if not whole or "data" not in found or "0" in found.values():
    raise errors.UsageError(f"--mesh takes data=N or data=N,fsdp=M, not {args.mesh}")
  if args.shape and not re.fullmatch(r"\d+x\d+x\d+", args.shape):
    raise errors.UsageError(f"--shape takes HxWxC, such as 256x256x3, not {args.shape}")
  count = int(found["data"]) * int(found.get("fsdp", 1))
  os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
  os.environ["JAX_PLATFORMS"] = "cpu"                        # nothing runs on what is here
  from sslx import checkpoint, config as configs, log, plan as plans
  config = configs.override(configs.load(args.config), [
      *args.overrides, *(f"--config.mesh.{k}={v}" for k, v in found.items())])
  shape = tuple(map(int, args.shape.split("x"))) if args.shape else None
  result = plans.plan(config, args.chip, shape=shape)
  table = Table("each device", "", "", title=f"{args.config} on {count} {args.chip}, {result['mesh']}, batch "
                f"{result['batch']}, {result['precision']}")
  for row in plans.rows(result):
    table.add_row(*row)
  log.Console().print(table)
  if args.out:
    checkpoint.write_json(args.out, result)


def doctor(args):
  """sslx doctor"""
  from rich.table import Table

  from sslx import doctor as doctors, log
  table, wrong = Table(), False
  for title in ("", "", "found", "what to do"):
    table.add_column(title, overflow="fold")
  for what, found, right, advice in doctors.examine(args.workdir):
    table.add_row({True: "ok", False: "!", None: ""}[right], what, found, advice)
    wrong |= right is False
  log.Console().print(table)
  if wrong:
    raise errors.RunError("something can be better here: see what to do")


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
  if args.action == "tokenizer":
    kind, _, path = (args.source or "").partition(":")
    if kind != "text" or not args.out:
      raise errors.UsageError("data tokenizer needs text:PATH, which it learns from, and --out FILE.json")
    log.say(f"written: {args.out}, {datasets.learn_tokenizer(path, args.out, args.vocab, args.kind)} ids; use it with "
            f"--config.data.tokenizer={args.out}")
    return
  if args.action == "split":
    split(args)
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


def split(args):
  """sslx data split"""
  from sslx import config as configs, inputs, log, options
  from sslx.evaluate import split as splits
  if not (args.source and args.labels and args.out):
    raise errors.UsageError("data split needs a set such as folder:PATH, --labels 10% or 5 and --out FILE.txt")
  c = configs.default()
  c.data.name, c.data.dir, c.data.on_error = args.source, args.dir, args.on_error
  own = ":" not in args.source and options.is_own(args.source)
  c.data.size = 0 if own else 1                             # nothing is read, so files may differ in size
  source = inputs.load(c, "train")
  index = splits.labelled(args.labels, source.labels, args.seed, source.paths)
  splits.write(args.out, index, source.paths)
  log.say(f"written: {args.out}, {len(index)} of {len(source)} examples; use it with --config.data.labels={args.out}")


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
