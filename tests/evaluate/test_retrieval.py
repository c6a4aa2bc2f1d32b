"""Retrieval against a loop over all pairs: recalls, chance, the examples that are kept, what is the same or missing."""

import functools
import sys

import numpy as np
import pytest
import scipy.stats

from sslx import errors
from sslx.data import source
from sslx.evaluate import retrieval, zero_shot
from sslx.evaluate.retrieval import chance, matches, recall

N = 40


@pytest.fixture(autouse=True)
def linear(monkeypatch):
  """Encoders are matrices."""
  homes = [sys.modules[f"sslx.evaluate.{name}"] for name in ("retrieval", "zero_shot")]
  for home in homes:
    monkeypatch.setattr(home, "embed", lambda matrix, x: x.reshape(len(x), -1).astype(np.float32) @ matrix)
  monkeypatch.setattr(homes[0], "PART", 16)


def given(*, key="image", other="text", labels=None, names=None):
  """40 images with two texts each of ten; every fifth has none, and the ninth only one that is said twice."""
  rng = np.random.default_rng(0)
  said = rng.integers(1, 50, (10, 4)).astype(np.int32)
  numbers = rng.integers(0, 10, (N, 2))
  numbers[9] = numbers[9, 0]
  x = {key: rng.random((N, 2, 3, 1), np.float32), other: said[numbers]}
  x[other][::5] = 0
  read = functools.partial(lambda x, rows: {k: v[rows] for k, v in x.items()}, x)
  return source.Source("given", read, np.arange(N), x[key].shape[1:], "float32", labels, names, key=key), x


def towers(other="text"):
  rng = np.random.default_rng(1)
  return {"image": rng.normal(size=(6, 3)).astype(np.float32), other: rng.normal(size=(4, 3)).astype(np.float32)}


def test_all_against_a_loop():
  set_, x = given()
  rows = np.random.default_rng(2).permutation(N)[:30]       # a part of it, in another order
  encoders = towers()
  found = retrieval(encoders, set_.take(rows))
  unit = lambda v: v / np.linalg.norm(v)
  images = {int(i): unit(x["image"][i].reshape(-1) @ encoders["image"]) for i in rows if x["text"][i].any()}
  owners = {}                                               # text -> the images it belongs to
  for i in images:
    for text in x["text"][i]:
      owners.setdefault(tuple(text), set()).add(i)
  texts = {t: unit(np.array(t, np.float32) @ encoders["text"]) for t in owners}
  assert found["count"] == {"image": len(images), "text": len(texts)} and len(texts) <= 10
  read = {"image": lambda p: p["index"], "text": lambda p: tuple(x["text"][p["index"], p["text"]])}
  for a, b, queries, others, belong in (("image", "text", images, texts, lambda i, t: i in owners[t]),
                                        ("text", "image", texts, images, lambda t, i: i in owners[t])):
    order = {q: sorted(others, key=lambda o, q=q: -float(queries[q] @ others[o])) for q in queries}   # noqa: B023
    rank = {q: next(n for n, o in enumerate(order[q], 1) if belong(q, o)) for q in queries}
    way = f"{a} to {b}"
    assert found[way] == pytest.approx({f"R@{k}": np.mean([r <= k for r in rank.values()]) for k in (1, 5, 10)})
    right = [sum(belong(q, o) for o in others) for q in queries]
    for k in (1, 5, 10):
      wanted = np.mean(scipy.stats.hypergeom.sf(0, len(others), right, min(k, len(others))))
      assert found["chance"][way][f"R@{k}"] == pytest.approx(wanted)
    assert len(found["examples"][way]) == 6
    for row in found["examples"][way]:
      q = read[a](row["query"])
      assert row["rank"] == rank[q] and [read[b](m) for m in row["best"]] == order[q][:5]
      for m in row["best"]:
        assert m["right"] == belong(q, read[b](m))
        assert m["similarity"] == pytest.approx(float(queries[q] @ others[read[b](m)]), abs=1e-6)
  assert not any(retrieval(encoders, set_, shown=0)["examples"].values())


def test_towers_of_any_kinds():
  set_, x = given(other="audio")
  x["audio"] = x["audio"][:, 0]
  found = retrieval(towers("audio"), set_)
  assert set(found) == {"count", "chance", "examples", "image to audio", "audio to image"}
  assert set(found["examples"]["audio to image"][0]["query"]) == {"index"}
  with pytest.raises(errors.UsageError, match="this run compares image and audio"):
    zero_shot(towers("audio"), set_, "bytes")


def test_of_equal_similarities_the_wrong_ones_come_first():
  similarity, belongs = np.array([[0.5, 0.9, 0.5, 0.5]]), np.array([[True, False, False, False]])
  assert matches(similarity, belongs) == [(4, [1, 2, 3, 0])]
  assert recall(similarity, belongs) == {"R@1": 0, "R@5": 1, "R@10": 1}
  assert chance(belongs) == pytest.approx({"R@1": 1 / 4, "R@5": 1, "R@10": 1})


def test_nothing_to_compare():
  set_, x = given()
  x["text"][:] = 0
  with pytest.raises(errors.UsageError, match="no example of given has text"):
    retrieval(towers(), set_)
  with pytest.raises(errors.UsageError, match="given has no audio, which the towers read"):
    retrieval(towers("audio"), set_)


def test_texts_of_a_set_with_longer_or_shorter_ones():
  set_, x = given()
  found = retrieval(towers(), set_)
  x["text"] = np.concatenate([x["text"], np.ones((N, 2, 2), np.int32) * x["text"].any(2, keepdims=True)], 2)
  assert retrieval(towers(), set_) == found                  # cut
  x["text"] = x["text"][..., :2]
  short = retrieval(towers(), set_)
  x["text"] = np.concatenate([x["text"], np.zeros((N, 2, 2), np.int32)], 2)
  assert retrieval(towers(), set_) == short                  # filled


def test_zero_shot_leaves_out_what_has_no_class():
  labels = np.arange(N, dtype=np.int32) % 3 - 1
  set_, x = given(labels=labels, names=("p", "q"))
  encoders = {"image": towers()["image"], "text": np.random.default_rng(3).normal(size=(3, 3)).astype(np.float32)}
  with pytest.raises(errors.UsageError, match="longer than the 3 tokens"):
    zero_shot(encoders, set_, "bytes", ["a photo of {}"])
  found = zero_shot(encoders, set_, "bytes", ["a{}", "b{}"])
  unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
  prompt = lambda text: np.array([*(b + 1 for b in text.encode()), 0], np.float32) @ encoders["text"]
  classes = np.stack([unit(unit(prompt(f"a{n}")) + unit(prompt(f"b{n}"))) for n in "pq"])
  guess = np.argmax(unit(x["image"].reshape(N, -1) @ encoders["image"]) @ classes.T, 1)
  there = labels >= 0
  assert found["accuracy"] == pytest.approx(np.mean(guess[there] == labels[there])) and found["chance"] == 0.5
  assert found["confusion"] == [[int(np.sum((labels == i) & (guess == j))) for j in (0, 1)] for i in (0, 1)]
