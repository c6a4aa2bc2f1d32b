"""Weights out: the encoder alone, as timm, torchvision or any program that reads safetensors or StableHLO wants it."""

import pathlib

import jax
import numpy as np

from sslx import checkpoint, errors, paths
from sslx.interop import architectures, files, stablehlo
from sslx.interop.table import to_theirs

TARGETS = ("timm", "torchvision", "safetensors", "stablehlo")
MEASURED = ("data", "step", "knn", "linear", "few_label", "health")


def export_weights(workdir, to, out, *, step=None, module=None):
  """Writes the encoder of a workdir (or of anything else that load_encoder reads) to the file `out`, and beside it a
  JSON record of what it is; returns the record.

  Args:
    to: "timm" or "torchvision": a state dict for their own load_state_dict(strict=True); record["model"] says how the
      model is made. "safetensors": our own names, for load_encoder. "stablehlo": the program itself, through
      jax.export.
    out: .safetensors, .npz or .pth; any name for stablehlo.
    step: a checkpoint's step, or "best", as in load_encoder.
    module: the Flax module, where the run used one of the user's own that has no name.

  Raises:
    errors.UsageError: an encoder that has no place in the layout.
    errors.RunError: the file cannot be written.
  """
  if to not in TARGETS:
    raise errors.unknown("target of weights", to, TARGETS)
  out = pathlib.Path(paths.here(out, "the exported file"))
  if not out.parent.is_dir():
    raise errors.UsageError(f"there is no folder {out.parent} for {out}")
  encoder = checkpoint.load_encoder(workdir, step=step, module=module)
  measured = metrics(workdir, encoder.spec["step"]) or encoder.spec.get("metrics", {})
  record = encoder.spec | {"layout": to, "metrics": measured,
                           "normalisation": {k: list(getattr(encoder.module, k, ())) for k in ("mean", "std")}}
  flat = {k: np.asarray(v) for k, v in checkpoint.flat(jax.device_get(encoder.variables)).items()}
  if to == "stablehlo":
    record |= stablehlo.export(encoder, out)
  elif to == "safetensors":
    if out.suffix != ".safetensors":
      raise errors.UsageError(f"--to safetensors writes a .safetensors file, not {out.name}")
    record["layout"] = "sslx"
    files.write(out, flat, record)
  else:
    table = architectures.of(encoder.module)
    if reason := table.refused(encoder.module, to):
      raise errors.UsageError(reason)
    record["model"] = table.call(encoder.module, to, encoder.shape)
    rows = list(table.rows(encoder.module, table.laid_out(encoder.module, to), encoder.shape))
    arrays, counters = to_theirs(rows, architectures.apart(flat)), encoder.spec.get("source", {}).get("counters", {})
    arrays |= {row.theirs[0]: np.array(counters[row.counter], np.int64) for row in rows if row.counter in counters}
    files.write(out, arrays, record)
  checkpoint.write_json(out.with_name(out.name + ".json"), record)
  return record


def metrics(workdir, step):
  """What evaluation.json says of this encoder on its own data, or {}."""
  path = paths.path(workdir) / "evaluation.json"
  found = checkpoint.read_json(path) if path.exists() else {}
  return {k: found[k] for k in MEASURED if k in found} if found.get("step") == step else {}


def recipe(record):
  """Lines of Python that make the model an exported file fits, for a person to copy."""
  model, to = record["model"], record["layout"]
  if model["name"] is None:
    return [f"# {to} has no model of this shape by name; one of its classes takes the weights", *model["then"]]
  options = "".join(f", {k}={v!r}" for k, v in model["options"].items())
  options += "".join(f", {k}={v}" for k, v in model.get("classes", {}).items())
  make = f"timm.create_model({model['name']!r}{options})" if to == "timm" else (
      f"torchvision.models.{model['name']}({options.removeprefix(', ')})")
  return [f"model = {make}", *model["then"]]
