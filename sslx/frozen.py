"""A run's frozen encoder put to use: evaluated beside its baselines, and data sets embedded with it."""

import collections
import functools

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.progress import TextColumn

from sslx import checkpoint, data as datasets, errors, evaluate as evaluation, inputs, log, paths, processes
from sslx.augment import recipes
from sslx.evaluate import sets
from sslx.evaluate.embed import usual

IMAGES = 1024                # on the host at once


def load_data(encoder, name, split):
  """A split of the run's own data (name None), or of another set at the encoder's size."""
  config = ConfigDict(encoder.spec["config"])
  source = sets.load(name, split, encoder.shape, encoder.reads, config.data) if name else inputs.load(config, split)
  if source.key != encoder.reads:
    raise errors.UsageError(f"the encoder reads {encoder.reads}, {source.name} holds {source.key}: give --data NAME of "
                            f"what holds {encoder.reads}")
  return source


def evaluate(encoder, workdir, *, protocols, data=None, train=None, test=None, templates=None):
  """evaluate.evaluate on the run's own data, or the set `data`; adds the result to workdir/evaluation.json.

  protocols: those of evaluate.evaluate and, for runs that compare towers, "retrieval" and "zero_shot" (evaluate.
    retrieval), the first by itself where the usual ones are asked for; for those that say what they see, "captions".
  train, test: at most so many examples (0: all; None: as the run's config says).
  templates: of zero-shot classification, texts with {} for the class.
  """
  config, splits = encoder.spec["config"], []
  if tuple(protocols) == evaluation.USUAL and data is None and checkpoint.compares(encoder.spec):
    protocols = (*protocols, "retrieval")
  between, said = ([p for p in protocols if p in kind] for kind in (evaluation.BETWEEN, evaluation.SAID))
  protocols = [p for p in protocols if p not in (*between, *said)]
  data = data and datasets.absolute(data)
  data = None if data == config["data"]["name"] else data
  for split, limit in (("train", train), ("test", test)):
    source = load_data(encoder, data, split)
    limit = config["evaluate"][split] if limit is None else limit
    source = source.take(datasets.drawn(source, limit, config["seed"]))
    splits.append((source, source.labels))
  with log.progress() as bar:
    task = bar.add_task("evaluating", total=1.0)
    result = evaluation.evaluate(
        encoder, *splits, protocols=protocols, random=checkpoint.random_encoder(encoder), seed=config["seed"],
        views=view_pair(config, splits[1][0]) if "health" in protocols and encoder.reads == "image" else None,
        progress=lambda name, share: bar.update(task, description=name, completed=share))
  found, settings = compared(workdir, encoder, splits[1][0], between, templates)
  result |= found
  result["protocols"] |= settings
  if said:
    result["captions"] = {"encoder": captioned(workdir, encoder, splits[1][0])}
    result["protocols"]["captions"] = {**evaluation.SAID["captions"]}
  projection = encoder.spec.get("read") == "z"
  step = f"{encoder.spec['step']}, projection" if projection else encoder.spec["step"]
  result |= {"data": data or config["data"]["name"], "step": step}
  keeping = functools.partial(keep, paths.path(workdir) / "evaluation.json", result)
  return processes.by_first(lambda: keeping(own=data is None and not projection)) or result


def compared(workdir, encoder, test, protocols, templates=None):
  """({protocol: {contender: result}}, {protocol: settings}) of those that compare the towers of a run."""
  if not protocols:
    return {}, {}
  towers, templates = checkpoint.spaces(workdir, encoder.spec["step"]), tuple(templates or evaluation.TEMPLATES)
  contenders = {"encoder": towers, "random": {t: checkpoint.random_encoder(e) for t, e in towers.items()}}
  tokenizer, shown = encoder.spec["config"]["data"]["tokenizer"], {"encoder": evaluation.SHOWN, "random": 0}
  run = {"retrieval": lambda e, name: evaluation.retrieval(e, test, shown=shown[name]),
         "zero_shot": lambda e, _: evaluation.zero_shot(e, test, tokenizer, templates)}
  settings = {p: {**evaluation.BETWEEN[p], **({"templates": templates} if p == "zero_shot" else {})} for p in protocols}
  return {p: {name: run[p](e, name) for name, e in contenders.items()} for p in protocols}, settings


def captioned(workdir, encoder, test):
  """evaluate.captions of what the method of a run says of held-out images."""
  caption = checkpoint.captioner(workdir, encoder.spec["step"])
  return evaluation.captions(caption, test, encoder.spec["config"]["data"]["tokenizer"])


def keep(path, result, own):
  """Adds a result to evaluation.json, which has all of them by data and step; as it now stands there.

  {"knn": ..., "data": ..., "step": ..., "runs": {data: {step: {"knn": ..., ...}}}}: at the top is the last one of the
  run's own data. Protocols of the same data, step and sizes are put together.
  """
  content = checkpoint.read_json(path) if path.exists() else {}
  runs = content.pop("runs", {})
  if "step" in content:                                     # a file from before there were "runs"
    runs.setdefault(content["data"], {}).setdefault(str(content["step"]), content)
  steps = runs.setdefault(result["data"], {})
  old = steps.get(str(result["step"]), {})
  size = lambda r: [r.get("protocols", {}).get("sizes", {}).get(k) for k in ("train", "test")]
  if old and size(old) == size(result):
    result = {**old, **result, "protocols": {**old["protocols"], **result["protocols"]}}
  steps[str(result["step"])] = result
  checkpoint.write_json(path, {**(result if own else content), "runs": runs})
  return result


def view_pair(config, source):
  """Two views of 512 images by the run's own augmentation, for the alignment of positive pairs; None if it has none."""
  if not config["method"].get("aug"):
    return None
  aug = recipes.make(**config["method"]["aug"])
  images = source.batch(np.arange(min(512, len(source))))["image"]
  large = jax.jit(lambda key, image: recipes.views(aug, key, image)[0])(jax.random.key(0), images)
  return [jax.device_get(large[:, i]) for i in range(2)]


def embed(encoder, out, *, data=None, split="test", layer=None, batch_size=None):
  """Writes embeddings, labels, index and paths of a data set, however large, to an .npz file; how many there are.

  "encoder" and "data" in it say what it is of: digests of the weights, with the layer's name, and of the data.
  """
  source = load_data(encoder, data, split)
  arrays = {"embeddings": None, "index": np.arange(len(source), dtype=np.int32)}
  if source.labels is not None:
    arrays["labels"] = source.labels
  if source.paths is not None:
    arrays["paths"] = np.asarray(source.paths)
  arrays["encoder"] = f"{checkpoint.digest(encoder.variables)} {layer or ''}".strip()
  arrays["data"] = source.fingerprint
  batch_size = usual(encoder) if batch_size is None else batch_size
  size = max(1, IMAGES // max(1, batch_size)) * max(1, batch_size)                # whole batches, but for the last
  with log.progress(TextColumn("{task.completed}/{task.total}")) as bar:
    task = bar.add_task("embedding", total=len(source))

    def embeddings():
      for part in datasets.parts(source, size):
        yield evaluation.embed(encoder, part[source.key], layer=layer, batch_size=batch_size)
        bar.advance(task, len(part["index"]))

    if processes.first():
      checkpoint.write_npz(out, arrays | {"embeddings": checkpoint.Rows(len(source), embeddings())})
    else:                                                   # its share of the work
      collections.deque(embeddings(), 0)
  return len(source)
