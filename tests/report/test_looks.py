"""Clips, sounds and text as what a page shows of them."""

import base64
import io
import wave
import xml.etree.ElementTree as xml

import numpy as np
import pytest
from PIL import Image

from sslx import data, errors, tokens
from sslx.report import looks, pictures


def content(uri):
  return base64.b64decode(uri.partition(",")[2])


def test_film_has_the_first_and_the_last_frame():
  clip = np.zeros((9, 8, 8, 1), np.uint8)
  clip[0], clip[8] = 100, 200
  x = np.asarray(Image.open(io.BytesIO(content(looks.film(clip)))))
  assert x.shape == (96, 4 * 96)
  assert (x[:, :96] == 100).all() and not x[:, 96:288].any() and (x[:, 288:] == 200).all()


def pixels(uri):
  return np.asarray(Image.open(io.BytesIO(content(uri))))


def test_one_channel_is_grey():
  x = np.array([[0, 0.5], [1, np.nan]], np.float32)[..., None]              # as a prediction of depth is shown
  shown = pixels(pictures.look(x[None])[0](x))
  assert shown.shape == (96, 96) and [shown[0, 0], shown[0, 95], shown[95, 0], shown[95, 95]] == [0, 128, 255, 0]


def test_depth_is_seen_whatever_its_unit():
  x = np.arange(100, dtype=np.uint16).reshape(10, 10, 1) + 1
  x[0, 0], x[9, 9] = 0, 60000                                # not known, and far out
  for given in (x, x.astype(np.float32) / 65535):
    shown = pixels(looks.picture("depth", given))
    assert shown[0, 0] == 0 and shown[0, -1] == 239 and shown[-1, -1] == 0 and np.std(shown) > 60
  assert not pixels(looks.picture("depth", 0 * x)).any()
  with pytest.raises(errors.UsageError, match="no picture of smell"):
    looks.picture("smell", x)


def test_sound_shows_the_frequency_and_plays():
  rate, hz = 8000, 1000
  samples = np.sin(2 * np.pi * hz * np.arange(2000) / rate).astype(np.float32)
  x = np.asarray(Image.open(io.BytesIO(content(looks.sound(samples)))))
  height = 1 - x.mean(1).argmax() / len(x)                   # from below; the top is half the rate
  assert abs(height - hz / (rate / 2)) < 0.05
  for given in (samples, np.rint(32767 * samples).astype(np.int16)):
    with wave.open(io.BytesIO(content(looks.player(given, rate)))) as file:
      assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (rate, 1, 2)
      back = np.frombuffer(file.readframes(2000), "<i2")
    np.testing.assert_allclose(back / 32767, samples, atol=1e-4)
  assert looks.sound(np.zeros(10)).startswith("data:image/png")


def test_text_is_a_drawing_of_its_lines():
  drawing = xml.fromstring(content(looks.text("a <b> & c\n" + 40 * "x" + "\x00")))
  assert [row.text for row in drawing[1:]] == ["a <b> & c", 32 * "x", 8 * "x" + "\ufffd"]


def test_tokens_are_shown_as_text(tmp_path):
  lines = lambda uri: [row.text for row in xml.fromstring(content(uri))[1:]]
  assert lines(looks.picture("text", data.load("digits_text")[3]["text"]))[5] == " .####  "
  tokens.train(["so it goes"], 300, tmp_path / "bpe.json")
  ids = tokens.coder(str(tmp_path / "bpe.json")).encode(b"it goes so")
  assert lines(looks.picture("text", np.append(ids, [0, 0]), str(tmp_path / "bpe.json"))) == ["it goes so"]
