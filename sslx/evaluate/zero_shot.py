"""Classes by their names alone, by a tower of images and one of text, as in CLIP (Radford et al., 2021): a class is the
mean of the unit embeddings of its name in all templates.
"""

import numpy as np

from sslx import data, errors, tokens
from sslx.data.pairs import ids
from sslx.evaluate.embed import embed
from sslx.evaluate.retrieval import PART, holding, unit

TEMPLATES = ("a photo of a {}.",)
FROZEN = {"version": 1, "templates": list(TEMPLATES)}


def zero_shot(encoders, source, tokenizer, templates=TEMPLATES):
  """{"accuracy", "chance", "per_class": {name: accuracy}, "confusion": [classes, classes] counts, rows are true}.

  encoders: two towers whose outputs are compared, one of text; source: labelled examples of the other one, with class
  names; those of no class (-1) do not count.
  """
  other = next((t for t in encoders if t != "text"), None)
  if "text" not in encoders or other is None:
    raise errors.UsageError("zero-shot classification needs a tower of text; this run compares "
                            f"{' and '.join(encoders)}")
  holding(source, (other,))
  if source.labels is None or not source.class_names:
    raise errors.UsageError("zero-shot classification needs labelled examples with the names of classes; "
                            f"{source.name} has none")
  source = source.take(np.flatnonzero(source.labels >= 0))
  if bad := [t for t in templates if "{}" not in t]:
    raise errors.UsageError(f"the template {bad[0]!r} has no {{}} for the class")
  coder, names = tokens.coder(tokenizer), [n.replace("_", " ") for n in source.class_names]
  prompts = [[t.format(n) for t in templates] for n in names]
  length = encoders["text"].shape[-1]
  if any(len(coder.encode(p.encode())) > length for p in sum(prompts, [])):
    raise errors.UsageError(f"a prompt is longer than the {length} tokens that the text encoder was trained on")
  x = np.concatenate([ids(p, count=len(templates), length=length, tokenizer=tokenizer) for p in prompts])
  z = unit(unit(embed(encoders["text"], x)).reshape(len(names), len(templates), -1).mean(1))
  found = np.concatenate([embed(encoders[other], part[other]) for part in data.parts(source, PART)])
  guess, confusion = np.argmax(unit(found) @ z.T, 1), np.zeros((len(names), len(names)), int)
  np.add.at(confusion, (source.labels, guess), 1)
  right = np.diag(confusion) / np.maximum(confusion.sum(1), 1)
  return {"accuracy": float(np.mean(guess == source.labels)), "chance": 1 / len(names),
          "per_class": dict(zip(source.class_names, map(float, right), strict=True)), "confusion": confusion.tolist()}
