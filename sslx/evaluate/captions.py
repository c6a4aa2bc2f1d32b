"""Captions of held-out images beside the true ones: BLEU-4 (Papineni et al., 2002), and how many are distinct.

BLEU is that of the whole corpus against all references of each image, uniform weights, no smoothing; words are runs of
letters and digits in lower case, so punctuation does not count. The same captions dealt to other images say how much of
it comes from having looked at the image.
"""

import collections
import math
import re

import jax.numpy as jnp
import numpy as np

from sslx import errors, tokens
from sslx.evaluate.embed import fraction

BATCH, EXAMPLES = 50, 8                                    # images at once; in the result by themselves
FROZEN = {"version": 1, "ngrams": 4, "words": r"\w+, lower case", "references": "all"}


def bleu(said, true, most=4):
  """BLEU in [0, 1] of texts, each a list of words, against the lists of references of each.

  The n-grams of a text count as often as they are in that of its references that has the most of them; the brevity
  penalty goes by the reference whose length is nearest, the shorter of two.
  """
  if len(said) != len(true) or not all(true):
    raise errors.UsageError(f"BLEU needs a reference or more for each of {len(said)} texts")
  right, count, length, wanted = np.zeros(most), np.zeros(most), 0, 0
  for text, references in zip(said, true, strict=True):
    length += len(text)
    wanted += min((abs(len(r) - len(text)), len(r)) for r in references)[1]
    for n in range(1, most + 1):
      own, known = grams(text, n), collections.Counter()
      for r in references:
        known |= grams(r, n)                               # the larger of the counts
      right[n - 1] += sum((own & known).values())
      count[n - 1] += sum(own.values())
  if not right.all():
    return 0.0
  return float(np.exp(np.mean(np.log(right / count)) + min(0.0, 1 - wanted / length)))


def grams(text, n):
  """How often each n-gram is in a list of words."""
  return collections.Counter(zip(*(text[i:] for i in range(n)), strict=False))


def words(text):
  """The words of a text, by which captions are compared."""
  return re.findall(r"\w+", text.lower())


def captions(caption, source, tokenizer):
  """{"bleu4", "bleu4_others", "distinct", "length", "count", "examples": [{"index", "said", "true"}]} of a Source.

  bleu4_others: BLEU of the captions when each goes to the image after its own; distinct: share of different ones among
  them; length: mean number of words; examples: some, spread over the source, index their positions in it.

  Args:
    caption: images [B, H, W, C] in [0, 1] -> ids [B, T], 0 behind the end (Method.caption, bound to its parameters).
    source: held-out examples with "image" and "text" [n, T]; those that lack either do not count.
    tokenizer: of both.
  """
  coder, batch = tokens.coder(tokenizer), source.batch(np.arange(len(source)))
  if "image" not in batch or "text" not in batch:
    raise errors.UsageError(f"captions need images with texts to compare with; {source.name} has "
                            f"{', '.join(k for k in batch if k != 'index')}")
  text = batch["text"].reshape(len(source), -1, batch["text"].shape[-1])
  there = np.flatnonzero(text.any((1, 2)) & batch["image"].reshape(len(source), -1).any(1))
  if len(there) < 2:
    raise errors.UsageError(f"{source.name} has {len(there)} images with texts: captions need two at least")
  true = [list(dict.fromkeys(coder.decode(t) for t in text[i] if t.any())) for i in there]
  size, said = min(BATCH, len(there)), []
  for i in range(0, len(there), size):
    x = batch["image"][there[i:i + size]]
    filled = np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])
    said += [coder.decode(ids) for ids in np.asarray(caption(fraction(jnp.asarray(filled))))[:len(x)]]
  own, references = [words(s) for s in said], [[words(t) for t in r] for r in true]
  some = np.unique(np.linspace(0, len(said) - 1, EXAMPLES).round().astype(int))
  return {"bleu4": bleu(own, references), "bleu4_others": bleu(own[-1:] + own[:-1], references),
          "distinct": len(set(said)) / len(said), "length": math.fsum(map(len, own)) / len(own), "count": len(said),
          "examples": [{"index": int(there[i]), "said": said[i], "true": true[i]} for i in some]}
