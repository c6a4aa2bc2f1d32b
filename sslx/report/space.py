"""The embedding space in pictures: nearest neighbours, and maps in two dimensions."""

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from sslx import data, errors, evaluate
from sslx.evaluate import raw
from sslx.report import figures, looks, pictures

BANK, POINTS = 5000, 1500                # at most that many training images, test images
QUERIES, NEIGHBOURS = 8, 6


def load(encoder, train, test, seed):
  """{"train", "test": (examples, labels), "encoder", "raw": unit features of both}: at most BANK and POINTS of them;
  "titles" of the two spaces; "see": how an example is drawn."""
  parts = [data.arrays(source, limit, seed)[:2] for source, limit in ((train, BANK), (test, POINTS))]
  found = {"encoder": [evaluate.embed(encoder, x) for x, _ in parts],
           "raw": [raw.raw(x, encoder) for x, _ in parts]}
  if not all(np.isfinite(x).all() for x in found["encoder"]):
    raise errors.RunError("the encoder gives numbers that are not finite: its training diverged")
  tokenizer = encoder.spec["config"]["data"].get("tokenizer", "bytes")
  return {"train": parts[0], "test": parts[1], "see": lambda x: looks.picture(encoder.reads, x, tokenizer),
          "titles": {"encoder": "Encoder", "raw": evaluate.RAW[encoder.reads].capitalize()},
          **{k: tuple(map(unit, v)) for k, v in found.items()}}


def unit(x):
  """Rows of x [N, D] at length 1; rows of 0 stay."""
  length = np.linalg.norm(x, axis=1, keepdims=True)
  return x / np.where(length > 0, length, 1)


def neighbours(space, names, seed):
  """{"spaces": [(title, share of agreeing classes or None, [(query, [neighbour])])]}, each as (URI, class, agrees).

  Queries are test images drawn over all classes; neighbours the training images of highest cosine.
  """
  (train_images, train_labels), (test_images, test_labels) = space["train"], space["test"]
  labelled = train_labels is not None and test_labels is not None
  rng = np.random.default_rng(seed)
  queries = pictures.spread(test_labels if labelled else np.zeros(len(test_images), int), QUERIES, rng)
  out, see = [], space["see"]
  for name, title in space["titles"].items():
    bank, x = space[name]
    nearest = np.concatenate([np.argsort(-(x[i:i + 256] @ bank.T), axis=1, kind="stable")[:, :NEIGHBOURS]
                              for i in range(0, len(x), 256)])
    share = float(np.mean(train_labels[nearest] == test_labels[:, None])) if labelled else None
    rows = [((see(test_images[q]), names[test_labels[q]] if labelled else None, None),
             [(see(train_images[i]), names[train_labels[i]] if labelled else None,
               bool(train_labels[i] == test_labels[q]) if labelled else None) for i in nearest[q]]) for q in queries]
    out.append((title, share, rows))
  return {"spaces": out, "count": NEIGHBOURS, "crisp": looks.crisp(test_images.shape[1:]), "bank": len(train_images),
          "tests": len(test_images)}


def maps(space, names, seed):
  """{"charts": [(title, chart)], "legend": [(name, colour)], "points": N} of the test images."""
  labels, n = space["test"][1], len(space["test"][0])
  if n < 10:
    raise errors.UsageError(f"{n} test examples are too few for a map")
  if space["encoder"][1].std(0).max() < 1e-6:
    raise errors.UsageError("all test examples have the same embedding (the encoder has collapsed), so there is no map")
  charts = []
  for name, title in space["titles"].items():
    x = principal(space[name][1], 50)
    start = x[:, :2] / x[:, 0].std() * 1e-4
    with threadpool_limits(1):                             # ten times faster on few cores that others use too
      near = TSNE(init=start, perplexity=min(30.0, n / 4), random_state=seed).fit_transform(x)
    charts += [(f"{title}, t-SNE", figures.scatter(near, labels, names)),
               (f"{title}, PCA", figures.scatter(x[:, :2], labels, names))]
  legend = [g[:2] for g in figures.class_groups(labels, names)] if labels is not None else []
  return {"charts": [c for i in (0, 1) for c in charts[i::2]], "legend": legend, "points": n}


def principal(x, width):
  """x [N, D] on its first principal components [N, at least 2], float32."""
  x = x - x.mean(0)
  u, s, _ = np.linalg.svd(x, full_matrices=False)
  out = (u * s)[:, :width]
  return np.pad(out, ((0, 0), (0, max(0, 2 - out.shape[1])))).astype(np.float32)
