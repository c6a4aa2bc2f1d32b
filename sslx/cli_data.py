"""The commands of `sslx data`: sets listed, prepared and split, tokenizers learnt."""

from sslx import errors


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
    if kind not in ("text", "pairs") or not args.out:
      raise errors.UsageError("data tokenizer needs text:PATH or pairs:PATH, which it learns from, and --out FILE.json")
    learnt = datasets.learn_tokenizer(path, args.out, args.vocab, args.kind, pairs=kind == "pairs",
                                      lower=args.lower)
    log.say(f"written: {args.out}, {learnt} ids; use it with "
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
