"""Folders of recordings: what is read, of which type, rate and length, and what is said of files that are broken."""

import wave

import numpy as np
import pytest
import soundfile

from sslx import data, errors
from sslx.data import audio

RATE = 800


def tone(seconds, rate=RATE, hertz=50.0):
  return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate) / 2


def put(path, x, rate=RATE, width=2):
  """Writes samples in [-1, 1], [T] or [T, channels], as a WAV file of 8 or 16 bits."""
  path.parent.mkdir(parents=True, exist_ok=True)
  x = np.asarray(x)
  raw = np.rint(32767 * x).astype("<i2") if width == 2 else np.rint(127 * x + 128).astype("u1")
  with wave.open(str(path), "wb") as f:
    f.setnchannels(1 if x.ndim == 1 else x.shape[1])
    f.setsampwidth(width)
    f.setframerate(rate)
    f.writeframes(raw.tobytes())
  return path


@pytest.fixture
def folder(tmp_path):
  for part, n in (("train", 3), ("test", 1)):
    for label, hertz in (("high", 100.0), ("low", 50.0)):
      for i in range(n):
        put(tmp_path / part / label / f"{i}.wav", tone(0.5 + i, hertz=hertz))
  return tmp_path


def test_recordings_are_cut_or_filled(folder):
  source = data.load(f"audio:{folder}")
  assert (len(source), source.key, source.shape, source.dtype) == (6, "audio", (RATE,), "int16")
  assert source.class_names == ("high", "low") and source.labels.tolist() == [0, 0, 0, 1, 1, 1]
  short, long = source[3]["audio"], source[4]["audio"]
  assert np.array_equal(short[:400], np.rint(32767 * tone(0.5))) and not short[400:].any()
  assert np.array_equal(long, np.rint(32767 * tone(1.5))[:RATE])
  assert len(data.load(f"audio:{folder}", split="test")) == 2
  assert data.load(f"audio:{folder}", length=0.25).shape == (200,)
  (folder / "test" / "high" / "0.wav").unlink()
  assert data.load(f"audio:{folder}", split="test").labels.tolist() == [1]                 # still of two classes
  x, y, _ = data.arrays(source)
  assert x.shape == (6, RATE) and y.tolist() == source.labels.tolist()


def test_without_parts_every_fifth_is_held_out(tmp_path):
  for i in range(10):
    put(tmp_path / f"{i}.wav", tone(0.1))
  train, test = (data.load(f"audio:{tmp_path}", split=s) for s in ("train", "test"))
  assert (len(train), len(test), train.labels) == (8, 2, None)
  assert not set(train.paths) & set(test.paths)


def test_rates_and_channels_become_one(folder):
  put(folder / "train" / "low" / "0.wav", np.stack([tone(1, 1600), 0 * tone(1, 1600)], 1), 1600)
  with pytest.raises(errors.UsageError, match=r"several rates .*800 Hz.*1600 Hz.*set data.rate"):
    data.load(f"audio:{folder}")
  source = data.load(f"audio:{folder}", rate=400, length=1.0)
  assert source.shape == (400,) and source.dtype == "int16"
  for i, level in ((3, 0.25), (4, 0.5)):                               # the first was halved by its silent channel
    want = level * np.sin(2 * np.pi * 50 * np.arange(400) / 400)
    np.testing.assert_allclose(source[i]["audio"][50:-50] / 32768, want[50:-50], atol=0.01)


@pytest.mark.parametrize("name, subtype, dtype", [("a.flac", "PCM_16", "int16"), ("a.wav", "FLOAT", "float32"),
                                                  ("a.flac", "PCM_24", "float32")])
def test_other_files_through_soundfile(tmp_path, name, subtype, dtype):
  byte = put(tmp_path / "train" / "b.wav", tone(1), width=1)
  put(tmp_path / "test" / "b.wav", tone(1))
  path = tmp_path / "train" / name
  soundfile.write(path, tone(1), RATE, subtype=subtype)
  (x, rate), (y, _) = audio.read(path), audio.read(byte)
  assert (x.shape, x.dtype, rate, y.dtype) == ((RATE, 1), dtype, RATE, np.int16)
  source = data.load(f"audio:{tmp_path}")
  assert source.dtype == dtype
  scale = 32768 if dtype == "int16" else 1
  np.testing.assert_allclose(source[0]["audio"] / scale, tone(1), atol=1e-4)
  np.testing.assert_allclose(source[1]["audio"] / scale, tone(1), atol=0.01)


def test_without_soundfile(tmp_path, monkeypatch):
  soundfile.write(tmp_path / "a.flac", tone(1), RATE)
  monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
  with pytest.raises(errors.UsageError, match=r"need soundfile: pip install 'sslx\[audio\]'"):
    data.load(f"audio:{tmp_path}")


def test_broken_files_are_named(folder):
  path = folder / "train" / "low" / "2.wav"
  whole = path.read_bytes()
  for broken in (b"", b"RIFF", whole[:1000], b"no sound" * 100):
    path.write_bytes(broken)
    with pytest.raises(errors.RunError, match=r"the recording .*low/2.wav is corrupt: .+"):
      data.load(f"audio:{folder}")
  found = data.load(f"audio:{folder}", on_error="skip")
  assert found.skipped == 1 and str(path) not in found.paths and len(found.labels) == len(found)
  flac = folder / "train" / "low" / "3.flac"
  path.unlink()
  soundfile.write(flac, np.random.default_rng(0).uniform(-1, 1, RATE), RATE)
  flac.write_bytes(flac.read_bytes()[:1200])
  with pytest.raises(errors.RunError, match=r"3.flac is corrupt"):
    data.arrays(data.load(f"audio:{folder}"))


def test_wrong_folders_and_options(folder, tmp_path):
  for name, options, message in ((tmp_path / "none", {}, "no such folder"), (folder, {"length": -1.0}, "give seconds"),
                                 (folder, {"length": 1e-9}, "not one sample at 800 Hz")):
    with pytest.raises(errors.UsageError, match=message):
      data.load(f"audio:{name}", **options)
  put(folder / "train" / "x.wav", tone(1))
  with pytest.raises(errors.UsageError, match="beside folders of recordings"):
    data.load(f"audio:{folder}")
  (folder / "train" / "x.wav").unlink()
  for name in ("high", "low"):
    (folder / "test" / name / "0.wav").rename(folder / "test" / f"{name}.wav")
  with pytest.raises(errors.UsageError, match="must be alike"):
    data.load(f"audio:{folder}")
  (tmp_path / "empty").mkdir()
  with pytest.raises(errors.UsageError, match="has no recordings"):
    data.load(f"audio:{tmp_path / 'empty'}")
