"""Strategy "auto": by how many labels there are, and by how near the images are to those of the pretraining.

Nearness is measured by the embeddings, as the precision of Kynkaanniemi et al. (2019): the share of the labelled images
that fall among the pretraining images, each of which reaches as far as its NEIGHBOURS-th neighbour; in units of the
same share for held-back pretraining images.
"""

import numpy as np
from ml_collections import ConfigDict

from sslx import checkpoint, data as datasets, errors, evaluate, inputs
from sslx.transfer import stages

EXAMPLES = 1000              # of each set, at most
NEIGHBOURS = 5
SIMILAR = 0.5                # nearness from which the images count as similar
PLENTY = 100                 # labels a class from which they are many


def choose(config, labelled):
  """{"strategy", "layer", "why", "nearness", "labels_per_class"} for the task of a config and its labelled Source."""
  record = checkpoint.load_encoder(config.method.source)
  classes = len(np.unique(labelled.labels)) if labelled.labels is not None else 1
  share, unit = len(labelled) / classes, "labels a class" if classes > 1 else "labelled images"
  try:
    near, note = nearness(record, pretraining(record), labelled, config.seed), ""
  except (errors.UsageError, errors.RunError) as e:
    near, note = 0.0, f" (taken as different: {errors.first_line(e).rstrip('.')})"
  strategy, layer = decide(share >= PLENTY, near >= SIMILAR, stages.count(record.variables["params"]))
  why = (f"{share:.0f} {unit} are {'many' if share >= PLENTY else 'few'} (from {PLENTY} on they are many), and "
         f"the images are {'similar to' if near >= SIMILAR else 'different from'} those of the pretraining: {near:.0%} "
         f"of what held-back pretraining images reach fall among them (similar from {SIMILAR:.0%} on){note}")
  return {"strategy": strategy, "layer": layer, "why": why, "nearness": near, "labels_per_class": share}


def decide(plenty, similar, count):
  """(strategy, layer) for an encoder of `count` stages."""
  if not plenty:
    return "linear", "" if similar or not count else f"stage{-(-count // 2)}"
  return (f"freeze={count - 1}" if count > 1 else "finetune") if similar else "finetune", ""


def pretraining(record):
  """The Source of the images that an encoder was trained on."""
  if record.spec["config"].get("data", {}).get("name", "given") == "given":
    raise errors.UsageError("what it was pretrained on cannot be loaded")
  return inputs.load(ConfigDict(record.spec["config"]), "train")


def nearness(record, source, labelled, seed):
  """How near a labelled Source is to the pretraining Source for an encoder: 0 is far, 1 as near as its own images."""
  images = lambda s, n: datasets.arrays(s, n, seed)[0]
  own, other = evaluate.embed(record, images(source, 2 * EXAMPLES)), evaluate.embed(record, images(labelled, EXAMPLES))
  order = np.random.default_rng(seed).permutation(len(own))
  bank, held = own[order[::2]], own[order[1::2]]
  return float(min(1.0, precision(bank, other) / max(precision(bank, held), 1e-9)))


def precision(bank, queries):
  """The share of queries [M, D] within reach of a row of the bank [N, D]: as far as its NEIGHBOURS-th neighbour."""
  unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  bank, queries = unit(np.asarray(bank, np.float64)), unit(np.asarray(queries, np.float64))
  distance = lambda a, b: np.sqrt(np.maximum(2 - 2 * a @ b.T, 0))
  k = min(NEIGHBOURS, len(bank) - 1)
  reach = np.sort(distance(bank, bank), 1)[:, k]             # the nearest is the row itself
  return float(np.mean(np.any(distance(queries, bank) <= reach, 1)))
