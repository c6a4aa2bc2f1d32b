"""Methods that compare towers: what belongs together is looked for among all that is held out, and classes by prompts.

Retrieval (recall at k, both ways) as in Karpathy and Fei-Fei (2015); zero-shot classification as in CLIP (Radford et
al., 2021): a class is the mean of the unit embeddings of its name in all templates.
"""

import numpy as np

from sslx import errors, tokens
from sslx.data.pairs import ids
from sslx.evaluate.embed import embed

KS = (1, 5, 10)
TEMPLATES = ("a photo of a {}.",)
FROZEN = {"version": 1, "ks": list(KS), "similarity": "cosine"}
FROZEN_ZERO_SHOT = {"version": 1, "templates": list(TEMPLATES)}


def unit(z):
  """Rows of z [N, K] at length 1."""
  return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def recall(similarity, belongs):
  """{"R@k": share of the rows of similarity [N, M] with one that belongs to them among the k most similar}.

  belongs: [N, M], True where row and column belong together. Of equal similarities those that do not come first.
  """
  best = np.max(np.where(belongs, similarity, -np.inf), 1, keepdims=True)
  rank = np.sum((similarity >= best) & ~belongs, 1)          # how many others are before the first that belongs
  return {f"R@{k}": float(np.mean(rank < k)) for k in KS}


def spaces_of(encoders, source):
  """{tower: (z [M, K] of unit length, owner [M], the example of each)} of a Source's examples; what is missing is left
  out, and of several texts each counts."""
  batch, out = source.batch(np.arange(len(source))), {}
  for tower, encoder in encoders.items():
    x = batch[tower]
    owner = np.arange(len(x))
    if tower == "text" and x.ndim == 3:
      owner, x = np.repeat(owner, x.shape[1]), x.reshape(-1, x.shape[-1])
      _, once = np.unique(np.concatenate([owner[:, None], x], 1), axis=0, return_index=True)
      owner, x = owner[np.sort(once)], x[np.sort(once)]
    there = x.reshape(len(x), -1).any(1)
    out[tower] = unit(embed(encoder, x[there])), owner[there]
  return out


def retrieval(encoders, source):
  """{"image to text": {"R@1", "R@5", "R@10"}, "text to image": ..., "chance": the same for random order, "count"}.

  encoders: {tower: Encoder} of two towers whose outputs are compared (checkpoint.spaces); source: held-out examples.
  """
  found = spaces_of(encoders, source)
  (a, (za, oa)), (b, (zb, ob)) = found.items()
  both = np.intersect1d(oa, ob)
  (za, oa), (zb, ob) = ((z[np.isin(o, both)], o[np.isin(o, both)]) for z, o in ((za, oa), (zb, ob)))
  if not len(both):
    raise errors.UsageError(f"no example of {source.name} has both {a} and {b}")
  belongs = oa[:, None] == ob
  return {f"{a} to {b}": recall(za @ zb.T, belongs), f"{b} to {a}": recall(zb @ za.T, belongs.T),
          "count": {a: len(za), b: len(zb)}}


def zero_shot(encoders, source, tokenizer, templates=TEMPLATES):
  """{"accuracy", "per_class": {name: accuracy}, "confusion": [classes, classes] counts, rows are true} by class names.

  encoders: {"image", "text"} whose outputs are compared; source: labelled images with class names.
  """
  if source.labels is None or not source.class_names:
    raise errors.UsageError(f"zero-shot classification needs labelled images with the names of classes; {source.name} "
                            "has none")
  if bad := [t for t in templates if "{}" not in t]:
    raise errors.UsageError(f"the template {bad[0]!r} has no {{}} for the class")
  coder, names = tokens.coder(tokenizer), [n.replace("_", " ") for n in source.class_names]
  prompts = [[t.format(n) for t in templates] for n in names]
  length = encoders["text"].shape[-1]
  if any(len(coder.encode(p.encode())) > length for p in sum(prompts, [])):
    raise errors.UsageError(f"a prompt is longer than the {length} tokens that the text encoder was trained on")
  x = np.concatenate([ids(p, count=len(templates), length=length, tokenizer=tokenizer) for p in prompts])
  z = unit(unit(embed(encoders["text"], x)).reshape(len(names), len(templates), -1).mean(1))
  images = unit(embed(encoders["image"], source.batch(np.arange(len(source)))["image"]))
  guess, confusion = np.argmax(images @ z.T, 1), np.zeros((len(names), len(names)), int)
  np.add.at(confusion, (source.labels, guess), 1)
  right = np.diag(confusion) / np.maximum(confusion.sum(1), 1)
  return {"accuracy": float(np.mean(guess == source.labels)), "chance": 1 / len(names),
          "per_class": dict(zip(source.class_names, map(float, right), strict=True)), "confusion": confusion.tolist()}
