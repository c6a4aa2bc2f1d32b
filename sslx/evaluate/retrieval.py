"""What belongs together is looked for among all that is held out, by methods that compare towers.

Recall at k, both ways, as in Karpathy and Fei-Fei (2015). What is the same, a text that several images have, is there
once and belongs to all of them.
"""

import hashlib

import numpy as np
import scipy.sparse

from sslx import data, errors
from sslx.evaluate.embed import embed

KS = (1, 5, 10)
SHOWN, BEST = 6, 5                                         # queries each way that are kept, and of each the matches
FROZEN = {"version": 2, "ks": list(KS), "similarity": "cosine"}
PART = 1024                                                # examples on the host at once


def unit(z):
  """Rows of z [N, K] at length 1."""
  return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def ranks(similarity, belongs):
  """[N]: how many of the M columns of similarity [N, M] come before the first that belongs to a row.

  belongs: [N, M], True where row and column belong together. Of equal similarities those that do not come first.
  """
  best = np.max(np.where(belongs, similarity, -np.inf), 1, keepdims=True)
  return np.sum((similarity >= best) & ~belongs, 1)


def recall(similarity, belongs):
  """{"R@k": share of the rows of similarity [N, M] with one that belongs to them among the k most similar}."""
  rank = ranks(similarity, belongs)
  return {f"R@{k}": float(np.mean(rank < k)) for k in KS}


def chance(belongs):
  """The recall to expect of a random order: of M columns, n of them right, {"R@k": 1 - C(M - n, k) / C(M, k)}."""
  M, n = belongs.shape[1], belongs.sum(1)[:, None]
  missed = np.cumprod([np.maximum(M - n - j, 0) / max(M - j, 1) for j in range(max(KS))], 0)[..., 0]       # [k, N]
  return {f"R@{k}": float(np.mean(1 - missed[k - 1])) for k in KS}


def spaces_of(encoders, source):
  """{tower: (z [U, K] of unit length, places [U, 2], holds [N, U], sparse)} of the N examples of a Source.

  What is the same is embedded once; places: in which example, and as which of its texts, it is found first; holds:
  which examples have it. What is missing, all zeros, is left out.
  """
  holding(source, encoders)
  seen, z, places = ({t: [] for t in encoders} for _ in range(3))                  # seen: (example, which content)
  known = {t: {} for t in encoders}
  for part in data.parts(source, PART):
    for tower, encoder in encoders.items():
      x = part[tower]
      x = fitted(x, encoder.shape[0]) if tower == "text" else x
      texts = x.shape[1] if tower == "text" and x.ndim == 3 else 1
      x, new = x.reshape(-1, *x.shape[2:]) if tower == "text" and x.ndim == 3 else x, []
      for i in np.flatnonzero(x.reshape(len(x), -1).any(1)):
        mark = hashlib.blake2b(np.ascontiguousarray(x[i])).digest()
        example = int(part["index"][i // texts])
        if mark not in known[tower]:
          known[tower][mark] = len(known[tower])
          places[tower].append((example, int(i % texts)))
          new.append(i)
        seen[tower].append((example, known[tower][mark]))
      if new:
        z[tower].append(unit(embed(encoder, x[new])))
  for tower in encoders:
    if not places[tower]:
      raise errors.UsageError(f"no example of {source.name} has {tower}")
  holds = lambda t: scipy.sparse.csr_array((np.ones(len(seen[t]), np.int32), np.transpose(seen[t])),
                                           shape=(len(source), len(places[t])))
  return {t: (np.concatenate(z[t]), np.array(places[t]), holds(t)) for t in encoders}


def fitted(text, length):
  """Tokens [..., T] of any set, cut or filled to the length [..., length] that an encoder was trained on."""
  return np.pad(text, ((0, 0),) * (text.ndim - 1) + ((0, max(0, length - text.shape[-1])),))[..., :length]


def holding(source, members):
  """A UsageError where the examples of a Source are without one of the members."""
  there = source.batch(np.arange(1))
  if missing := [m for m in members if m not in there]:
    raise errors.UsageError(f"{source.name} has no {' and no '.join(missing)}, which the towers read")


def retrieval(encoders, source, *, shown=SHOWN, seed=0):
  """{"image to text": {"R@1", "R@5", "R@10"}, "text to image": ..., "chance": {"image to text": ...}, "count": {tower:
  different ones}, "examples": {"image to text": [...], ...}}.

  encoders: {tower: Encoder} of two towers whose outputs are compared (checkpoint.spaces); source: held-out examples.
  shown: so many queries each way, drawn at random, are in "examples" as `matches` gives them.
  """
  found = spaces_of(encoders, source)
  (a, (za, pa, ha)), (b, (zb, pb, hb)) = found.items()
  belongs = (ha.T @ hb).toarray() > 0                                                             # [U of a, U of b]
  rows, columns = belongs.any(1), belongs.any(0)
  if not rows.any():
    raise errors.UsageError(f"no example of {source.name} has both {a} and {b}")
  belongs, similarity = belongs[np.ix_(rows, columns)], za[rows] @ zb[columns].T
  places = {a: pa[rows], b: pb[columns]}
  out = {"count": {t: len(p) for t, p in places.items()}, "chance": {}, "examples": {}}
  for one, other, s, right in ((a, b, similarity, belongs), (b, a, similarity.T, belongs.T)):
    way = f"{one} to {other}"
    queries = np.random.default_rng(seed).permutation(len(s))[:shown]
    out |= {way: recall(s, right)}
    out["chance"][way] = chance(right)
    out["examples"][way] = [{"query": place(source, one, places[one][q]), "rank": rank, "best": [
        place(source, other, places[other][i]) | {"similarity": float(s[q, i]), "right": bool(right[q, i])}
        for i in best]} for q, (rank, best) in zip(queries, matches(s[queries], right[queries]), strict=True)]
  return out


def matches(similarity, belongs, most=BEST):
  """[(rank, counted from 1, of the first that belongs, the `most` best columns)] of each row, ordered as in `ranks`."""
  order = [np.lexsort((own, -s))[:most].tolist() for s, own in zip(similarity, belongs, strict=True)]
  return list(zip((ranks(similarity, belongs) + 1).tolist(), order, strict=True))


def place(source, tower, found):
  """{"index": the row in the data set, "text": which of its texts} of a place; the second for texts alone."""
  example, number = (int(v) for v in found)
  return {"index": int(source.rows[example])} | ({"text": number} if tower == "text" else {})
