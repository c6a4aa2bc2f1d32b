"""Clips, sounds and text as what a page shows of them."""

import base64
import io
import wave
import xml.etree.ElementTree as xml

import numpy as np
from PIL import Image

from sslx import data, tokens
from sslx.report import looks


def content(uri):
  return base64.b64decode(uri.partition(",")[2])


def test_film_has_the_first_and_the_last_frame():
  clip = np.zeros((9, 8, 8, 1), np.uint8)
  clip[0], clip[8] = 100, 200
  x = np.asarray(Image.open(io.BytesIO(content(looks.film(clip)))))
  assert x.shape == (96, 4 * 96)
  assert (x[:, :96] == 100).all() and not x[:, 96:288].any() and (x[:, 288:] == 200).all()


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
