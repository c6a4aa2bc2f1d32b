import functools
import pickle

import images
import numpy as np
import pytest

from sslx import data, errors
from sslx.data import source


def same(a, b):
  assert a.keys() == b.keys()
  for k in a:
    np.testing.assert_array_equal(a[k], b[k])


def take(n, *args, **options):
  it = data.batches(*args, **options)
  out = [next(it) for _ in range(n)]
  if hasattr(it, "close"):
    it.close()
  return out


@functools.cache
def digits():
  return data.load("digits")


def test_batches_have_the_shapes_and_types_promised():
  b = take(1, digits(), batch_size=32, seed=0)[0]
  assert {k: (v.shape, str(v.dtype)) for k, v in b.items()} == {
      "image": ((32, 8, 8, 1), "uint8"), "label": ((32,), "int32"), "index": ((32,), "int32")}
  for i in range(32):
    same(digits()[b["index"][i]], {k: v[i] for k, v in b.items()})


@pytest.mark.parametrize("start", [1, 7, 30, 1000])
def test_the_position_is_the_step(start):
  s = digits().take(np.arange(100))
  if start < 100:
    for a, b in zip(take(start + 4, s, batch_size=24, seed=3)[start:], take(4, s, batch_size=24, seed=3, start=start),
                    strict=True):
      same(a, b)
  same(*take(1, s, batch_size=24, seed=3, start=start), *take(1, s, batch_size=24, seed=3, start=start))


@pytest.mark.parametrize("count", [2, 3, 6])
def test_processes_together_are_one(count):
  s = digits().take(np.arange(50))
  whole = take(12, s, batch_size=12, seed=1, start=2)
  parts = [take(12, s, batch_size=12, seed=1, start=2, process_index=p, process_count=count) for p in range(count)]
  for n, b in enumerate(whole):
    same(b, {k: np.concatenate([p[n][k] for p in parts]) for k in b})


def test_every_pass_has_every_example_once_in_another_order():
  s = digits().take(np.arange(50))
  index = np.concatenate([b["index"] for b in take(15, s, batch_size=20, seed=0)]).reshape(6, 50)
  assert (np.sort(index) == np.arange(50)).all()
  assert len({tuple(x) for x in index.tolist()}) == 6
  other = np.concatenate([b["index"] for b in take(5, s, batch_size=20, seed=1)]).reshape(2, 50)
  assert not any((a == b).all() for a in index for b in other)
  plain = np.concatenate([b["index"] for b in take(5, s, batch_size=20, seed=0, shuffle=False)])
  assert (plain == np.tile(np.arange(50), 2)).all()


def test_the_order_is_the_same_on_every_machine():
  assert take(1, digits(), batch_size=8, seed=0)[0]["index"].tolist() == [960, 880, 1160, 1143, 226, 270, 12, 101]


@pytest.mark.parametrize("make", ["folder", "array", "sequence"])
def test_workers_give_what_threads_give(make, tmp_path):
  if make == "folder":
    s = data.load("folder:" + images.classes(tmp_path / "set", each=10), dir=tmp_path / "d")
  else:
    s = source.from_array("x", images.pixels(0, 20, 4, 4, 3), np.arange(20))
    s = s if make == "array" else [s[i] for i in range(20)]
  threads, workers = (take(5, s, batch_size=6, seed=5, start=3, workers=w) for w in (0, 2))
  for a, b in zip(threads, workers, strict=True):
    same(a, b)


def test_a_plain_sequence_of_dicts():
  rows = [{"image": images.pixels(i, 4, 4, 3), "audio": np.full(7, i, np.float32)} for i in range(9)]
  b = take(1, rows, batch_size=4, seed=0)[0]
  assert b["audio"].shape == (4, 7) and "label" not in b
  assert (b["audio"][:, 0] == b["index"]).all()


@pytest.mark.parametrize(("options", "match"), [
    ({"batch_size": 21}, "batch_size 21 does not fit data set 'x' of 20 examples"),
    ({"batch_size": 0}, "from 1 to 20"),
    ({"batch_size": 9, "process_count": 2}, "does not divide by 2 processes")])
def test_batches_that_cannot_be(options, match):
  with pytest.raises(errors.UsageError, match=match):
    data.batches(source.from_array("x", images.pixels(0, 20, 4, 4, 3)), seed=0, **options)


@pytest.mark.parametrize(("bad", "match"), [([], "empty"), ([3], "dict of arrays"), (3, "needs a length")])
def test_what_is_no_sequence(bad, match):
  with pytest.raises(errors.UsageError, match=match):
    data.batches(bad, batch_size=1, seed=0)


def test_arrays():
  x, y, index = data.arrays(digits(), 100, seed=4)
  assert x.shape == (100, 8, 8, 1) and (np.diff(index) > 0).all() and index.dtype == np.int32
  np.testing.assert_array_equal(y, digits().labels[index])
  np.testing.assert_array_equal(x[7], digits()[index[7]]["image"])
  assert (data.arrays(digits(), 100, seed=4)[2] == index).all()
  assert (data.arrays(digits(), 100, seed=5)[2] != index).any()
  assert len(data.arrays(digits())[0]) == len(data.arrays(digits(), 10**6)[0]) == len(digits())
  assert data.arrays(source.from_array("x", images.pixels(0, 20, 4, 4, 3)))[1] is None


def test_a_source_is_a_sequence_that_can_be_pickled():
  s = digits()
  same(s[-1], s[len(s) - 1])
  with pytest.raises(IndexError):
    s[len(s)]
  same(pickle.loads(pickle.dumps(s))[5], s[5])
  assert s[3]["index"] == 3 and type(s[3]["label"]) is np.int32
  part = s.take([9, 4])
  assert len(part) == 2 and part[1]["index"] == 1 and (part[1]["image"] == s[4]["image"]).all()
  assert part.fingerprint not in ("", s.fingerprint) and s.take(range(len(s))).fingerprint == s.fingerprint
