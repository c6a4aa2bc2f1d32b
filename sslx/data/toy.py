"""Text, audio, video, objects and pairs of scikit-learn's digits, labelled with the digit: enough for `:tiny` runs."""

import dataclasses
import functools

import numpy as np

from sslx.data import memory, solid, source

RATE = 4000                                                # Hz


def text(split):
  """A digit drawn with letters, row by row: 72 bytes as tokens, int32 [72]."""
  images, make = _digits(split)
  letters = np.frombuffer(b" .+#", np.uint8)[images // 64]                               # [N, 8, 8]
  lines = np.concatenate([letters, np.full((len(images), 8, 1), ord("\n"), np.uint8)], 2)
  return make("digits_text", lines.reshape(len(images), -1).astype(np.int32) + 1, "text")


def audio(split):
  """A digit as a sound: its columns one after the other, a tone a row, int16 [1024] at 4 kHz."""
  images, make = _digits(split)
  return make("digits_audio", _chords(images), "audio")


def _chords(images):
  time = np.arange(128) / RATE
  tones = np.sin(2 * np.pi * 200 * np.arange(8, 0, -1)[:, None] * time)                  # the top row is the highest
  sound = np.einsum("nrc,rt->nct", images / 255, tones).reshape(len(images), -1)
  return np.round(4000 * sound).astype(np.int16)


def video(split):
  """A digit that falls, ever faster: uint8 [6, 12, 12, 1]."""
  images, make = _digits(split)
  clips = np.zeros((len(images), 6, 12, 12, 1), np.uint8)
  for frame, height in enumerate((0, 0, 1, 2, 3, 4)):
    clips[:, frame, height:height + 8, 2:10, 0] = images
  return make("digits_video", clips, "video")


def voxels(split):
  """A digit as a block: each pixel as high as it is bright, uint8 [8, 8, 8, 1], 0 or 255, the last axis up."""
  images, make = _digits(split)
  return make("digits_voxels", _blocks(images), "voxels")


def points(split):
  """A digit as a hill: 32 of its pixels, the brightest, at the height of their brightness, float32 [32, 3]."""
  images, make = _digits(split)
  return make("digits_points", _hills(images), "points")


def _blocks(images):
  height = np.round(images.astype(float).transpose(0, 2, 1)[:, :, ::-1] / 32)           # x to the right, y to the top
  return np.where(np.arange(8) < height[..., None], 255, 0).astype(np.uint8)[..., None]


def _hills(images, count=32):
  row, column = np.divmod(np.argsort(-images.reshape(len(images), -1).astype(int), 1, kind="stable")[:, :count], 8)
  height = np.take_along_axis(images.reshape(len(images), -1), 8 * row + column, 1) / 255
  return solid.centred(np.stack([column / 3.5 - 1, 1 - row / 3.5, height - 0.5], -1)).astype(np.float32)


NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def pairs(split, key="image"):
  """A digit as image [8, 8, 1], text [2, 16] (its name, said in two ways; every tenth has none), audio [1024], depth
  uint16 [8, 8, 1], in which ink is near, voxels [8, 8, 8, 1] and points [32, 3]."""
  images, make = _digits(split)
  labels, sounds = make("", images, "image").labels, _chords(images)
  said = np.zeros((10, 2, 16), np.int32)
  for digit, name in enumerate(NAMES):
    for row, form in zip(said[digit], ("a {}", "the digit {}"), strict=True):
      text_ = np.frombuffer(form.format(name).encode(), np.uint8)
      row[:len(text_)] = text_.astype(np.int32) + 1
  texts = said[labels] * (np.arange(len(labels)) % 10 > 0)[:, None, None]
  examples = {"image": images[..., None], "text": texts[:, 0] if key == "text" else texts, "audio": sounds,
              "depth": (20_000 - 60 * images[..., None].astype(np.uint16)), "voxels": _blocks(images),
              "points": _hills(images)}
  return dataclasses.replace(make("digits_pairs", images, key), read=functools.partial(_members, examples),
                             class_names=NAMES, shape=examples[key].shape[1:], dtype=str(examples[key].dtype))


def _members(examples, rows):
  return {k: v[rows] for k, v in examples.items()}


def _digits(split):
  digits = memory.digits(split)
  images = digits.batch(np.arange(len(digits)))["image"][..., 0]
  return images, lambda name, x, key: source.from_array(name, x, digits.labels, digits.class_names, key)


SETS = {"digits_text": text, "digits_audio": audio, "digits_video": video, "digits_voxels": voxels,
        "digits_points": points, "digits_pairs": pairs}
