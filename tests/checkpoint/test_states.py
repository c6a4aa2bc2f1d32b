"""Train states on disk: which are kept, which is best, what they say of themselves, what becomes of damaged ones."""

import contextlib
import pathlib

import numpy as np
import pytest

from sslx import checkpoint, errors

STATE = {"step": np.array(0, np.int32), "params": {"w": np.arange(6.0), "list": [np.ones(2), np.zeros(3)]}}
RECORD = {"config": {"seed": 3, "widths": [1, 2], "none": None}, "environment": {"data": {"shape": [8, 8, 1]}}}


def opened(workdir, **options):
  return contextlib.closing(checkpoint.Checkpoints(workdir, **options))


def save(workdir, numbers, **options):
  """Saves {step: best} one after the other."""
  with opened(workdir, **options) as saved:
    for step, best in numbers.items():
      saved.save(step, STATE | {"step": np.array(step, np.int32)}, best)
      saved.wait()
    return saved.steps(), saved.best_step()


def test_the_last_and_the_best_stay(tmp_path):
  assert save(tmp_path, {1: 0.5, 2: 0.9, 3: 0.7, 4: None, 5: None}, keep=2, metric="knn") == ([2, 4, 5], 2)
  assert save(tmp_path, {6: 0.9}, keep=1, metric="knn") == ([6], 6)                # of equals the latest


def test_numbers_of_another_metric_do_not_count(tmp_path):
  assert save(tmp_path, {1: 0.5, 2: 0.4}, keep=2, metric="knn")[1] == 1
  with opened(tmp_path, create=False) as saved:
    assert saved.best_step() == 1                           # whoever only reads goes by the newest one's metric
  with opened(tmp_path, keep=2, metric="rankme") as saved:
    assert saved.best_step() is None
  assert save(tmp_path, {3: 17.0, 4: 12.0, 5: 11.0}, keep=2, metric="rankme") == ([3, 4, 5], 3)
  assert save(tmp_path, {6: 0.1}, keep=2, metric="knn") == ([5, 6], 6)


def test_a_checkpoint_says_what_it_is(tmp_path):
  save(tmp_path, {1: None, 2: 0.5}, metric="knn", record=RECORD)
  first, second = checkpoint.folders(tmp_path)
  assert checkpoint.record_of(first) == RECORD | {"best": None}
  assert checkpoint.record_of(second) == RECORD | {"best": {"metric": "knn", "value": 0.5}}
  assert checkpoint.run_of(tmp_path) == RECORD
  checkpoint.write_json(tmp_path / "config.json", {"seed": 4})
  assert checkpoint.run_of(tmp_path) == RECORD | {"config": {"seed": 4}}
  (second / "_CHECKPOINT_METADATA").write_text("{")
  assert checkpoint.record_of(second) == {} == checkpoint.record_of(tmp_path)
  with pytest.raises(errors.UsageError, match="no .*config.json"):
    checkpoint.run_of(tmp_path / "checkpoints")


@pytest.mark.parametrize("file", ["default/_METADATA", "default/manifest.ocdbt", "default/d/*", "_CHECKPOINT_METADATA"])
def test_a_damaged_checkpoint_is_set_aside(tmp_path, file):
  save(tmp_path, {1: None, 2: None}, record=RECORD)
  newest = tmp_path / "checkpoints/2"
  for path in newest.glob(file):
    path.write_bytes(path.read_bytes()[:1])
  said, harmless = [], file == "_CHECKPOINT_METADATA"       # the state itself is whole
  with opened(tmp_path) as saved:
    step, state = saved.restore(STATE, warn=said.append)
    assert (step, int(state["step"])) == ((2, 2) if harmless else (1, 1))
    assert [line.rpartition(" ")[2] for line in said] == ([] if harmless else [f"{tmp_path}/checkpoints/damaged-2"])
    saved.save(2, STATE | {"step": np.array(7, np.int32)})
    saved.wait()
    assert saved.steps() == [1, 2]
    assert saved.restore_plain(2)[1]["step"] == (2 if harmless else 7)
  assert harmless or (tmp_path / "checkpoints/damaged-2" / file.replace("*", "")).exists()


def test_one_that_is_damaged_again_gets_another_name(tmp_path):
  for _ in range(2):
    save(tmp_path, {1: None, 2: None})
    (tmp_path / "checkpoints/2/default/_METADATA").write_text("")
    with opened(tmp_path) as saved:
      assert saved.restore(STATE)[0] == 1
  assert sorted(p.name for p in pathlib.Path(tmp_path, "checkpoints").iterdir()) == ["1", "damaged-2", "damaged-2-1"]


def test_where_all_are_damaged_nothing_is_touched(tmp_path):
  save(tmp_path, {1: None, 2: None})
  for path in tmp_path.glob("checkpoints/*/default/_METADATA"):
    path.write_text("")
  with opened(tmp_path) as saved, pytest.raises(errors.RunError, match=r"steps \[2, 1\] are damaged") as e:
    saved.restore(STATE)
  assert "\n" not in str(e.value)
  assert [p.name for p in checkpoint.folders(tmp_path)] == ["1", "2"]
