"""Text as ids and back: its bytes, or the subwords or words of a file of the tokenizers library. 0 is padding."""

import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np

from sslx import errors

KINDS = ("subwords", "words")


@dataclasses.dataclass(frozen=True, eq=False)
class Coder:
  """vocab: number of ids, padding among them; encode: bytes -> ids int32 [T]; decode: ids [T] -> str, without padding.

  starts: bool [vocab], the ids with which a new word begins: white space, or a subword that has it in front.
  sizes: [vocab], how many bytes of text each id stands for, where they stand for all of it; else None.
  unknown: the id of all that has none of its own, or None where there is no such thing.
  """
  vocab: int
  encode: Callable
  decode: Callable
  starts: np.ndarray
  sizes: np.ndarray | None = None
  unknown: int | None = None


@functools.lru_cache(maxsize=8)
def coder(name="bytes"):
  """The Coder of "bytes" (byte b is id b + 1) or of a tokenizers file (its i is i + 1); UsageError for a bad file."""
  if name == "bytes":
    starts = np.isin(np.arange(257) - 1, list(b" \n\t\r"))
    return Coder(257, lambda text: np.frombuffer(text, np.uint8).astype(np.int32) + 1, _of_bytes, starts,
                 np.minimum(np.arange(257), 1))
  if not os.path.isfile(name):
    raise errors.UsageError(f"no such tokenizer: {name}; give bytes, or the JSON file of a tokenizer")
  try:
    found = library().Tokenizer.from_file(str(name))
  except Exception as e:                                     # the library raises bare Exceptions
    if isinstance(e, errors.UsageError):
      raise
    raise errors.UsageError(f"{name} is no file of the tokenizers library: {errors.first_line(e)}") from e
  words = [None] + [found.id_to_token(i) for i in range(found.get_vocab_size())]
  pieces = any((w or "").startswith("##") for w in words)    # WordPiece marks what goes on, others what begins
  begins = [bool(w) and w[0] in "ĠĊĉč▁" for w in words]      # where nothing is marked every id is a word
  starts = np.array([bool(w) and (not w.startswith("##") if pieces or not any(begins) else b)
                     for w, b in zip(words, begins, strict=True)])
  plain = type(found.decoder).__name__ == "ByteLevel"        # a character of a subword is a byte of the text,
  whole = plain and found.normalizer is None                 # unless that was changed before
  sizes = np.array([len(w or "") for w in words]) if whole else None
  return Coder(len(words), functools.partial(_encoded, found, name), functools.partial(_decoded, found), starts, sizes,
               words.index("[UNK]") if "[UNK]" in words else None)


def train(texts, vocab, out, kind="subwords", lower=False):
  """Trains a tokenizer on strings and writes it to `out`.

  vocab: number of ids, padding among them; there may be fewer in the end.
  kind: "subwords", byte-level BPE (Sennrich et al., 2016), all 256 bytes among them; or "words", the most frequent
    words and signs, whatever white space is between them, and "[UNK]" for all others.
  lower: capitals are small letters to it.
  """
  if kind not in KINDS:
    raise errors.unknown("kind of tokens", kind, KINDS)
  least = {"subwords": 257, "words": 3}[kind]
  if vocab < least:
    raise errors.UsageError(f"a vocabulary of {vocab} ids is too small: for {kind} there are {least} at least")
  lib = library()
  if kind == "words":
    found = lib.Tokenizer(lib.models.WordLevel(unk_token="[UNK]"))
    found.pre_tokenizer = lib.pre_tokenizers.Whitespace()
    found.normalizer = lib.normalizers.Lowercase() if lower else None
    found.train_from_iterator(texts, lib.trainers.WordLevelTrainer(vocab_size=vocab - 1, special_tokens=["[UNK]"]))
    found.save(str(out))
    return
  found = lib.Tokenizer(lib.models.BPE())
  found.pre_tokenizer, found.decoder = lib.pre_tokenizers.ByteLevel(add_prefix_space=False), lib.decoders.ByteLevel()
  found.normalizer = lib.normalizers.Lowercase() if lower else None
  found.train_from_iterator(texts, lib.trainers.BpeTrainer(
      vocab_size=vocab - 1, show_progress=False, initial_alphabet=lib.pre_tokenizers.ByteLevel.alphabet()))
  found.save(str(out))


def library():
  """The tokenizers library, or a UsageError that says how to get it."""
  try:
    import tokenizers
  except ImportError as e:
    raise errors.UsageError("subwords need the tokenizers library: pip install 'sslx[text]'") from e
  return tokenizers


def _of_bytes(ids):
  ids = np.asarray(ids)
  return (ids[(ids > 0) & (ids < 257)] - 1).astype(np.uint8).tobytes().decode(errors="replace")


def _encoded(found, name, text):
  try:
    lines = text.decode().splitlines(keepends=True)
  except UnicodeDecodeError as e:
    raise errors.UsageError(f"the text is not UTF-8, which {name} needs ({e.reason}): use tokenizer=bytes") from e
  parts = [np.array(e.ids, np.int32) for e in found.encode_batch(lines, add_special_tokens=False)]
  return np.concatenate([np.zeros(0, np.int32), *parts]) + 1


def _decoded(found, ids):
  return found.decode([int(i) - 1 for i in ids if i], skip_special_tokens=False)
