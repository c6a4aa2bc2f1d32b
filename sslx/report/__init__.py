"""The report of a pretraining run: one HTML page that needs nothing but itself."""

import datetime
import os
import pathlib

import jinja2
from ml_collections import ConfigDict

from sslx import checkpoint, errors, inputs, paths
from sslx.report import figures, pictures, record, retrieved, space, tables, transferred, verdict

PAGES = jinja2.Environment(loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent), autoescape=True,
                           trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def write(workdir, *, out=None):
  """Writes the report of the run in `workdir` to `out` (default: workdir/report.html) and returns its path.

  What cannot be shown (no checkpoint, data gone, no evaluation) is left out, and the page says why.

  Raises:
    errors.UsageError: no run there, or `out` is not a place for a file.
    errors.RunError: a damaged file, or `out` cannot be written.
  """
  run = record.read(workdir)
  out = place(paths.path(workdir) / "report.html" if out is None else out, "report")
  save(out, "report.html.jinja", **gather(run))
  return out


def place(out, what):
  """`out` as a path at which a page can be written; errors.UsageError or errors.RunError where it cannot."""
  if paths.remote(out):
    return paths.path(out)
  out = pathlib.Path(out)
  if out.is_dir() or not out.parent.is_dir():
    raise errors.UsageError(f"the {what} cannot be {out}: "
                            + ("that is a folder" if out.is_dir() else f"there is no folder {out.parent}"))
  if not os.access(out.parent, os.W_OK):
    raise errors.RunError(f"cannot write {out}: no permission to write in {out.parent}")
  return out


def save(out, template, **parts):
  """Writes the page of a template, with the time and the colours, to `out`."""
  made = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
  page = PAGES.get_template(template).render(made=made, palettes=figures.PALETTES, **parts)
  checkpoint.write_text(out, page.encode("ascii", "xmlcharrefreplace").decode())     # whatever the locale's encoding


def gather(run):
  """All that the page shows; (part, None), or (None, why it is missing), for the parts that need weights and data."""
  evaluation, seed = run["evaluation"] or {}, run["config"]["seed"]
  encoder, no_encoder = attempt(checkpoint.load_encoder, run["workdir"])
  sources, no_data = attempt(data, run)
  missing = no_encoder or no_data
  names, view, near, chart = {}, (None, no_data), (None, missing), (None, missing)
  if sources:
    names = class_names(*sources)
    view = attempt(pictures.views, run, sources[1], names)
  if sources and encoder:
    embedded, why = attempt(space.load, encoder, *sources, seed)
    near = attempt(space.neighbours, embedded, names, seed) if embedded else (None, why)
    chart = attempt(space.maps, embedded, names, seed) if embedded else (None, why)
  name, line = pictures.method_line(run["config"]["method"]["name"])
  kind, _, path = run["environment"]["data"]["name"].partition(":")
  return {
      "run": run, "title": f"{name} on {path.rstrip('/').rpartition('/')[2] or kind}", "line": line,
      "verdict": (transferred.of if run["transfer"] else verdict.of)(run),
      "transfer": transferred.tables(run["transfer"]) if run["transfer"] else None,
      "predictions": attempt(transferred.pictures, run, sources[1]) if run["transfer"] and sources else (None, None),
      "mistakes": attempt(transferred.mistakes, run, sources[1]) if run["transfer"] and sources else (None, None),
      "changed": changed(run, sources[0]) if sources else None,
      "contenders": figures.CONTENDERS, "accuracies": tables.accuracies(evaluation),
      "sets": [(r["data"], rows) for r in run["sets"] if (rows := tables.accuracies(r))],
      "others": [(f"{r['data']}, step {r['step']}", rows) for r in run["others"] if (rows := tables.accuracies(r))],
      "notes": evaluation.get("notes", []), "few_label": tables.few_label_charts(evaluation),
      "towers": [(name, part) for name, r in ((None, evaluation), *((r["data"], r) for r in run["sets"]), *(
          (f"{r['data']}, step {r['step']}", r) for r in run["others"])) if (part := retrieved.of(r))],
      "matches": attempt(retrieved.pictures, run, sources[1], names) if sources else (None, no_data),
      "columns": retrieved.COLUMNS,
      "stages": tables.stage_charts(evaluation),
      "curves": tables.curves(run["records"]), "views": view, "neighbours": near, "maps": chart,
      "filters": attempt(pictures.filters, encoder.variables) if encoder else (None, no_encoder),
      "health": tables.health(evaluation), "settings": tables.settings(run["config"]),
      "environment": tables.environment(run["environment"]), "protocols": tables.protocols(evaluation),
      "commands": tables.commands(run)}


def attempt(part, *args):
  """(what `part` gives, None), or (None, why not in one line) where the reason is one that a person can act on."""
  try:
    return part(*args), None
  except (errors.UsageError, errors.RunError) as e:
    return None, errors.first_line(e).rstrip(".")


def data(run):
  """The (train, test) Sources of a run. Raises errors.UsageError where they are not to be had any more."""
  if run["environment"]["data"]["name"] == "given":
    raise errors.UsageError("the run has no data set of its own that a report could load: it was given its data as an "
                            "object, or its encoder was imported without --data")
  config = ConfigDict(run["config"])
  sources = inputs.load(config, "train"), inputs.load(config, "test")
  for source in sources:
    *sides, channels = run["environment"]["data"]["shape"]
    grey = source.key == "image" and source.shape[2] == 1                                  # grey becomes RGB
    if list(source.shape) != [*sides, source.shape[2] if grey else channels]:
      raise errors.UsageError(f"the data {source.name} are of shape {list(source.shape)} now; the run had "
                              f"{list(run['environment']['data']['shape'])}")
  return sources


def changed(run, source):
  """A line that says so where the training data are not those of the run any more, else None."""
  then = run["environment"]["data"]
  if then.get("fingerprint") in (None, source.fingerprint):
    return None
  return (f"The training data have changed since the run: {then['examples']:,} examples (fingerprint "
          f"{then.get('fingerprint')}) then, {len(source):,} ({source.fingerprint}) now. The pictures below "
          "show the data as they are now.")


def class_names(*sources):
  """{label: name} of all labels in the Sources; the number itself where a class has no name."""
  labels = sorted({int(v) for s in sources if s.labels is not None for v in set(s.labels.tolist())})
  names = next((s.class_names for s in sources if s.class_names), ())
  return {v: str(names[v]) if 0 <= v < len(names) else str(v) for v in labels}
