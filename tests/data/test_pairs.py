import json

import numpy as np
import pytest
from PIL import Image
from test_audio_files import put as write_wav

from sslx import data, errors
from sslx.data import solid


@pytest.fixture
def folder(tmp_path):
  """Three training pairs, of which one has no text and one no sound, and a test pair."""
  for n in range(4):
    Image.fromarray(np.full((6, 8, 3), 10 * n, np.uint8)).save(tmp_path / f"{n}.png")
    Image.fromarray(np.full((6, 8), 1000 * n + 1, np.uint16)).save(tmp_path / f"d{n}.png")
    write_wav(tmp_path / f"{n}.wav", np.full(1000, (100 * n + 1) / 32767), 1000)
  lines = [{"image": "0.png", "text": ["a", "ab"], "audio": "0.wav", "depth": "d0.png", "label": "cat"},
           {"image": "1.png", "audio": "1.wav", "label": "dog"}, {"image": "2.png", "text": "abc", "label": "cat"},
           {"text": "no image"}]
  put(tmp_path / "train.jsonl", lines)
  put(tmp_path / "test.jsonl", [{"image": "3.png", "text": "abcdefghijkl", "audio": "3.wav"}])
  return tmp_path


def put(path, lines):
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_members_and_what_is_missing(folder):
  source = data.load(f"pairs:{folder}", length=0.5)
  assert len(source) == 3 and source.skipped == 1 and source.key == "image" and source.shape == (6, 8, 3)
  assert source.class_names == ("cat", "dog") and source.labels.tolist() == [0, 1, 0]
  batch = source.batch(np.arange(3))
  assert batch["image"][:, 0, 0, 0].tolist() == [0, 10, 20]
  assert batch["text"].shape == (3, 2, 8) and batch["text"].dtype == np.int32
  text = lambda row: bytes((row[row > 0] - 1).tolist()).decode()
  assert [[text(t) for t in one] for one in batch["text"]] == [["a", "ab"], ["", ""], ["abc", "abc"]]
  assert batch["audio"].shape == (3, 500) and batch["audio"][:, 0].tolist() == [1, 101, 0]
  assert batch["depth"].shape == (3, 6, 8, 1) and batch["depth"].dtype == np.uint16
  assert batch["depth"][:, 0, 0, 0].tolist() == [1, 0, 0]
  test = data.load(f"pairs:{folder}/train.jsonl", split="test", length=0.5)
  assert len(test) == 1 and test.labels.tolist() == [-1]
  assert text(test[0]["text"][0]) == "abcdefgh"              # of training's length
  small = data.load(f"pairs:{folder}", size=4)
  assert small[0]["image"].shape == (4, 4, 3) and small[0]["depth"][0, 0, 0] == 1
  assert small.fingerprint != source.fingerprint
  Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).save(folder / "1.png")
  assert data.load(f"pairs:{folder}", length=0.5).fingerprint != source.fingerprint   # another image of that name


def test_another_member_first(folder):
  source = data.load(f"pairs:{folder}", key="text")
  assert len(source) == 3 and source.shape == (8,) and source[2]["text"].shape == (8,)
  assert not source[2]["image"].any() and source.labels.tolist() == [0, 0, -1]
  assert data.load(f"pairs:{folder}", key="audio").shape == (1000,)
  with pytest.raises(errors.UsageError, match="did you mean audio"):
    data.load(f"pairs:{folder}", key="audoi")


def test_one_file_is_split(folder):
  put(folder / "all.jsonl", [{"image": f"{i % 4}.png", "text": str(i)} for i in range(20)])
  parts = [data.load(f"pairs:{folder}/all.jsonl", split=s) for s in ("train", "test")]
  assert list(map(len, parts)) == [16, 4]
  with pytest.raises(errors.UsageError, match="has no depth: its examples have image, text"):
    data.load(f"pairs:{folder}/all.jsonl", key="depth")


@pytest.mark.parametrize(("line", "message"), [
    ("[1]", "line 2: it must be a JSON object"), ('{"image": "0.png', "line 2: it must be a JSON object"),
    ('{"imgae": "0.png"}', "line 2: .*did you mean image"), ('{"image": 3}', "line 2: members are strings"),
    ('{"image": "none.png"}', "there is no .*none.png, which"),
    ('{"image": "0.png", "points": "p.npy"}', "there is no .*p.npy, which"), ('{"image": "big.png"}', "set data.size")])
def test_wrong_lines(folder, line, message):
  Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / "big.png")
  with open(folder / "train.jsonl") as file:
    first = file.readline()
  (folder / "train.jsonl").write_text(first + line)
  with pytest.raises((errors.UsageError, errors.RunError), match=message):
    data.load(f"pairs:{folder}")


def test_wrong_files(tmp_path):
  with pytest.raises(errors.UsageError, match=r"has no train\.jsonl"):
    data.load(f"pairs:{tmp_path}")
  with pytest.raises(errors.UsageError, match="no such file"):
    data.load(f"pairs:{tmp_path}/none.jsonl")
  (tmp_path / "train.jsonl").write_text("\n")
  with pytest.raises(errors.UsageError, match="is empty"):
    data.load(f"pairs:{tmp_path}")


def test_points_and_voxels_are_members(tmp_path):
  rng = np.random.default_rng(0)
  for i in range(5):
    np.save(tmp_path / f"p{i}.npy", rng.random((4 + i, 3)))
    np.save(tmp_path / f"v{i}.npy", rng.random((2, 3, 2)) < 0.5)
  put(tmp_path / "train.jsonl", [{"points": f"p{i}.npy", **({"voxels": f"v{i}.npy"} if i else {})} for i in range(3)])
  put(tmp_path / "test.jsonl", [{"points": "p3.npy", "voxels": "v3.npy"}])
  train, test = (data.load(f"pairs:{tmp_path}", split=s, key="points") for s in ("train", "test"))
  assert train.key == "points" and train.shape == test.shape == (4, 3)
  batch = train.batch(np.arange(3))
  assert batch["voxels"].shape == (3, 2, 3, 2, 1) and not batch["voxels"][0].any() and batch["voxels"][1].any()
  np.testing.assert_array_equal(batch["points"][1], solid.cloud(tmp_path / "p1.npy", 4))
  np.save(tmp_path / "v3.npy", np.ones((2, 2, 2)))
  with pytest.raises(errors.UsageError, match="v3.npy is .* they must be alike"):
    data.load(f"pairs:{tmp_path}", split="test", key="points")


@pytest.mark.parametrize(("depth", "message"), [
    (np.full((6, 8, 3), 9, np.uint8), "has 3 channels"), (np.full((6, 8), 2.5, np.float32), "has floats"),
    (np.full((6, 8), 70_000, np.int32), "goes from 70000 to 70000: 16 bits end at 65535")])
def test_depth_maps_that_are_none(folder, depth, message):
  Image.fromarray(depth).save(folder / "d.tiff")
  put(folder / "train.jsonl", [{"image": "0.png", "depth": "d.tiff"}])
  with pytest.raises(errors.UsageError, match=message):
    data.load(f"pairs:{folder}")
  Image.fromarray(np.full((6, 8), 9, np.uint8)).save(folder / "d.tiff")                     # shares of the largest
  assert data.load(f"pairs:{folder}")[0]["depth"].max() == 9 * 257
  Image.fromarray(np.full((6, 8), 9, np.uint8)).convert("P").save(folder / "d.tiff")
  with pytest.raises(errors.UsageError, match="has a palette"):
    data.load(f"pairs:{folder}")
  with pytest.raises(errors.UsageError, match="data.length is -1"):
    data.load(f"pairs:{folder}", length=-1.0)


def test_a_corrupt_recording_cannot_be_skipped(folder):
  (folder / "1.wav").write_bytes(b"RIFF, and no more")
  with pytest.raises(errors.RunError, match=r"1.wav is corrupt: .*; mend or remove it$"):
    data.load(f"pairs:{folder}", length=0.5)
