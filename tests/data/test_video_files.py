"""Videos of every kind as clips: which frames they hold, what is held out, and what is wrong in one line."""

import pickle

import numpy as np
import pytest
from PIL import Image

from sslx import errors
from sslx.data import video

SMALL = {"size": 0, "fit": "crop"}


def frames(folder, numbers, size=(6, 4), channels=3):
  """A folder of PNGs whose grey value is their number; names without leading zeros."""
  folder.mkdir(parents=True)
  for n in numbers:
    pixels = np.full((*size, channels), n, np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(folder / f"frame{n}.png")


def values(source, row):
  """The grey values of a clip's frames."""
  return source[row]["video"][:, 0, 0, 0].tolist()


def test_a_single_video_is_cut_at_every_frame_and_its_end_is_held_out(tmp_path):
  frames(tmp_path / "drive", range(60))
  train, test = (video.load(str(tmp_path / "drive"), s, length=3, rate=2) for s in ("train", "test"))
  assert video.ranges(60) == {"train": (0, 38), "test": (48, 60)}
  assert train.shape == (3, 6, 4, 3) and train.dtype == "uint8" and train.key == "video" and train.labels is None
  assert [values(train, i) for i in (0, 1, -1)] == [[0, 2, 4], [1, 3, 5], [33, 35, 37]]
  assert [values(test, i) for i in (0, -1)] == [[48, 50, 52], [55, 57, 59]]
  assert len(train) == 34 and len(test) == 8
  assert train.fingerprint != test.fingerprint


def test_class_folders_are_labelled_and_short_videos_stand_still(tmp_path):
  for part, start in (("train", 0), ("test", 100)):
    frames(tmp_path / part / "run" / "a", range(start, start + 9))
    frames(tmp_path / part / "sit" / "b", range(start + 20, start + 23))
  for length, want in ((0, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [20, 21, 22]]), (4, [[0, 1, 2, 3], [4, 5, 6, 7],
                                                                                    [20, 21, 22, 22]])):
    source = video.load(str(tmp_path), "train", length=length)
    assert [values(source, i) for i in range(len(source))] == want
  assert source.class_names == ("run", "sit") and source.labels.tolist() == [0, 0, 1]
  assert source[2]["label"] == 1 and source.paths[2].endswith("train/sit/b")
  assert values(video.load(str(tmp_path), "test"), 3) == [120, 121, 122]


def test_without_parts_whole_videos_are_held_out(tmp_path):
  for name in range(10):
    frames(tmp_path / f"v{name}", range(20 * name, 20 * name + 2))
  train, test = (video.load(str(tmp_path), s) for s in ("train", "test"))
  assert (len(train), len(test)) == (8, 2)
  assert sorted(values(s, i)[0] for s in (train, test) for i in range(len(s))) == list(range(0, 200, 20))


def test_arrays_are_the_same_as_frames_and_what_is_decoded_late_as_what_is_kept(tmp_path, monkeypatch):
  x = np.random.default_rng(0).integers(0, 256, (50, 6, 4, 3), np.uint8)
  np.save(tmp_path / "clip.npy", x)
  source = video.load(str(tmp_path / "clip.npy"), "train", length=4, size=2, fit="squash")
  assert source.in_memory and source.shape == (4, 2, 2, 3)
  monkeypatch.setattr(video, "KEPT", 0)
  late = video.load(str(tmp_path / "clip.npy"), "train", length=4, size=2, fit="squash")
  rows = np.array([5, 0, 7])
  np.testing.assert_array_equal(late.batch(rows)["video"], source.batch(rows)["video"])
  np.testing.assert_array_equal(pickle.loads(pickle.dumps(late)).batch(rows)["video"], late.batch(rows)["video"])
  assert not late.in_memory
  exact = video.load(str(tmp_path / "clip.npy"), "test", length=4)
  np.testing.assert_array_equal(exact[0]["video"], x[40:44])


def test_video_files_give_the_frames_asked_for(tmp_path):
  av = pytest.importorskip("av")
  with av.open(str(tmp_path / "film.mp4"), "w") as file:
    stream = file.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt, stream.gop_size, stream.bit_rate = 48, 32, "yuv420p", 12, 10**6
    for n in range(50):
      for packet in stream.encode(av.VideoFrame.from_ndarray(np.full((32, 48, 3), 5 * n, np.uint8), format="rgb24")):
        file.mux(packet)
    for packet in stream.encode():
      file.mux(packet)
  film = video.load(str(tmp_path / "film.mp4"), "test", length=5)
  assert film.shape == (5, 32, 48, 3) and len(film) == 6
  np.testing.assert_allclose(values(film, -1), 5 * np.arange(45, 50), atol=3)
  whole = video._video(tmp_path / "film.mp4")
  np.testing.assert_allclose(video._frames(whole, [1, 13, 40], **SMALL)[:, 9, 9, 1], [5, 65, 200], atol=3)
  (tmp_path / "film.mp4").write_bytes(b"no film")
  with pytest.raises(errors.RunError, match=r"film.mp4 is corrupt"):
    video.load(str(tmp_path / "film.mp4"), "test")


def test_mistakes_are_named(tmp_path):
  frames(tmp_path / "drive", range(60))
  (tmp_path / "drive" / "frame3.png").write_bytes(b"")
  with pytest.raises(errors.RunError, match="drive is corrupt: the file is empty"):
    video.load(str(tmp_path / "drive"), "train")
  frames(tmp_path / "short", range(30))
  with pytest.raises(errors.UsageError, match="the test part of its frames, 6, is shorter than a clip of 8"):
    video.load(str(tmp_path / "short"), "test", length=8)
  for part in ("train", "test"):
    frames(tmp_path / "mixed" / part / "a", range(2))
    frames(tmp_path / "mixed" / part / "b", range(2), size=(4, 4))
  with pytest.raises(errors.UsageError, match="frames are not alike.*set data.size"):
    video.load(str(tmp_path / "mixed"), "train")
  assert video.load(str(tmp_path / "mixed"), "train", size=4).shape[1:] == (4, 4, 3)
  np.save(tmp_path / "flat.npy", np.zeros((4, 4)))
  (tmp_path / "text.txt").write_text("no video")
  for path, says in (("nowhere", "no such folder or file"), ("flat.npy", r"a video is \[T, H, W, C\]"),
                     ("text.txt", "neither a folder nor a video")):
    with pytest.raises(errors.UsageError, match=says):
      video.load(str(tmp_path / path), "train")
  for wrong in ({"length": -1}, {"rate": 1.5}):
    with pytest.raises(errors.UsageError, match="whole numbers of frames"):
      video.load(str(tmp_path / "drive"), "train", **wrong)
