"""Text: files of it packed into rows of one length, or sentences with labels, cut and padded to that length.

  text:PATH/FILE          running text; of FILE.jsonl, {"text": ..., "label": ...} a line; of FILE.tsv, text, tab, label
  text:PATH               all files of the folder, in order of their names
  text:PATH/{train,test}  as above, a folder a part; with folders of files below, those are the classes

Files with train in their name (sst2_train.tsv) have their test part beside them (sst2_test.tsv; dev, val, valid and
validation are the validation part). Where there is none, the last tenth is held out: of the bytes of running text, of
the sentences, of those of each class where there are labels. What is held out is one piece, next to the training text.
"""

import functools
import json
import os
import re

import numpy as np

from sslx import errors, tokens
from sslx.data import pairs as paired
from sslx.data.folder import PARTS
from sslx.data.source import Source, digest

LENGTH = 256
HELD_OUT = 10                                                # one part in so many
WORD = re.compile(r"(?<![a-z])(" + "|".join(sorted(PARTS, key=len, reverse=True)) + r")(?![a-z])", re.IGNORECASE)


def load(path, split, length=0, tokenizer="bytes"):
  """The Source of "text", int32 ids [N, T], 0 behind the end.

  Args:
    path: a file or a folder, see above.
    split: train | test | validation.
    length: T, tokens of an example; 0 for 256. Running text is cut into pieces of T, the last one padded.
    tokenizer: "bytes" or a file of the tokenizers library.

  Raises UsageError for files that are missing, empty, mixed, or not as they should be.
  """
  length, coder = int(length) or LENGTH, tokens.coder(tokenizer)
  if length < 0:
    raise errors.UsageError(f"data.length is {length}; give the tokens of an example, or 0 for {LENGTH}")
  texts, labels, names = part(path, split)
  if isinstance(texts, bytes):
    ids = coder.encode(texts)
    rows = np.pad(ids, (0, -len(ids) % length)).reshape(-1, length)
  else:
    rows = np.zeros((len(texts), length), np.int32)
    for row, text in zip(rows, texts, strict=True):
      ids = coder.encode(text)[:length]
      row[:len(ids)] = ids
  rows = rows.astype(np.uint16 if coder.vocab <= 2**16 else np.int32)
  labels = None if labels is None else np.asarray(labels, np.int32)
  return Source(f"text:{path}", functools.partial(_read, rows), np.arange(len(rows)), (length,), "int32", labels, names,
                fingerprint=digest(rows, *(() if labels is None else (labels,))), in_memory=True, key="text")


def learn_tokenizer(path, out, vocab=4096, kind="subwords", pairs=False, lower=False):
  """Learns subwords or words from the training part of text:PATH, or of pairs:PATH, and writes them to `out`.

  lower: capitals are small letters to it. Returns how many ids there are.
  """
  path = os.path.expanduser(path)
  texts = paired.texts(path) if pairs else part(path, "train")[0]
  lines = texts.splitlines(keepends=True) if isinstance(texts, bytes) else texts
  tokens.train((line.decode(errors="replace") for line in lines), vocab, out, kind, lower)
  return tokens.coder(str(out)).vocab


def part(path, split):
  """(running text, or a list of texts, as bytes; labels [N] or None; class names or None)."""
  found = files(path)
  held = [p for p in (split, "test", "validation") if p != "train" and p in found]
  chosen = held[0] if held and split != "train" else "train"
  everything = {p: _records(path, found[p]) for p in {"train", chosen}}
  texts, classes = everything[chosen]
  known = {c for _, own in everything.values() for c in own or ()}
  whole = all(str(c).lstrip("-").isdigit() for c in known)
  names = sorted(known, key=(lambda c: int(c)) if whole else str)
  labels = None if classes is None else np.array([int(c) if whole else names.index(c) for c in classes])
  if not set(found) - {"train"}:
    texts, labels = _tenth(texts, labels, split)
  return texts, labels, tuple(names) if known and not whole else None


def files(path):
  """{part: [(file, class or None)]} of a path, sorted; "train" alone where nothing is held out by name."""
  if os.path.isfile(path):
    word = WORD.search(os.path.basename(path))
    if not word or PARTS[word[0].lower()] != "train":
      return {"train": [(path, None)]}
    folder, name = os.path.split(path)
    beside = {PARTS[p]: os.path.join(folder, name[:word.start()] + p + name[word.end():]) for p in reversed(PARTS)
              if os.path.isfile(os.path.join(folder, name[:word.start()] + p + name[word.end():]))}
    return {p: [(f, None)] for p, f in beside.items()} | {"train": [(path, None)]}
  if not os.path.isdir(path):
    raise errors.UsageError(f"no such file or folder: {path}")
  inside = _below(path)
  parts = {name: PARTS.get(name.lower()) for name in inside}
  if "train" not in parts.values():
    named = [(f, WORD.search(os.path.basename(f))) for f, _ in _all(inside)]
    found = {}
    for f, word in named:
      found.setdefault(PARTS[word[0].lower()] if word else "", []).append((f, None))
    return found if "train" in found and "" not in found else {"train": _all(inside)}
  found = {}
  for name, part_ in parts.items():
    if part_:
      found.setdefault(part_, []).extend(_all(_below(os.path.join(path, name)), classes=True))
  if empty := [p for p, own in found.items() if not own]:
    raise errors.UsageError(f"{path} has no files for {empty[0]}")
  return found


def _below(path):
  """{name: path} of what lies in a folder, hidden files apart, sorted."""
  return {n: os.path.join(path, n) for n in sorted(os.listdir(path)) if not n.startswith(".")}


def _all(inside, classes=False):
  """[(file, class or None)] of {name: path}; folders are looked into once, and are the classes if there may be such."""
  out = []
  for name, path in inside.items():
    if os.path.isdir(path):
      out += [(f, name if classes else None) for f in _below(path).values() if os.path.isfile(f)]
    else:
      out.append((path, None))
  return out


def _records(path, listed):
  """(running text, or a list of texts; classes or None) of the files of a part."""
  if not listed:
    raise errors.UsageError(f"{path} has no files of text")
  kinds = {os.path.splitext(f)[1].lower() if f.endswith((".jsonl", ".tsv")) else "" for f, _ in listed}
  labelled = {c is not None for _, c in listed}
  if len(kinds) > 1 or len(labelled) > 1:
    raise errors.UsageError(f"{path} mixes kinds of files: it must be .jsonl, .tsv, running text or class folders")
  contents = [(_bytes(f), f, c) for f, c in listed]
  if labelled == {True}:
    return [text for text, _, _ in contents], [c for _, _, c in contents]
  read = {".jsonl": _jsonl, ".tsv": _tsv}.get(kinds.pop())
  if read is None:
    whole = b"\n".join(text for text, _, _ in contents)
    if not whole:
      raise errors.UsageError(f"{path} is empty")
    return whole, None
  pairs = [pair for text, f, _ in contents for pair in read(text, f)]
  texts, classes = [t for t, _ in pairs], [c for _, c in pairs]
  if not pairs or (None in classes and set(classes) != {None}):
    raise errors.UsageError(f"{path} has {'examples with and without a label' if pairs else 'no examples'}")
  return texts, None if None in classes else classes


def _bytes(file):
  try:
    with open(file, "rb") as f:
      return f.read()
  except OSError as e:
    raise errors.RunError(f"{file} cannot be read: {e.strerror}") from e


def _jsonl(text, file):
  for n, line in enumerate(text.splitlines(), 1):
    if line.strip():
      try:
        record = json.loads(line)
        yield record["text"].encode(), None if record.get("label") is None else str(record["label"])
      except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise errors.UsageError(f'{file}, line {n}: it must be {{"text": "...", "label": ...}}') from e


def _tsv(text, file):
  for n, line in enumerate(text.split(b"\n"), 1):
    cells = line.rstrip(b"\r").split(b"\t")
    if n == 1 and cells[-1] == b"label" or not line.strip():
      continue
    if len(cells) > 2:
      raise errors.UsageError(f"{file}, line {n}: {len(cells)} columns; it must be text and, after a tab, a label")
    yield cells[0], cells[1].decode(errors="replace").strip() if len(cells) == 2 else None


def _tenth(texts, labels, split):
  """What is not of the last tenth, or, where split is not train, the last tenth."""
  train = split == "train"
  if isinstance(texts, bytes):
    cut = len(texts) - len(texts) // HELD_OUT
    while cut < len(texts) and texts[cut] & 0xC0 == 0x80:                               # not inside of a character
      cut += 1
    return texts[:cut] if train else texts[cut:], None
  order = np.arange(len(texts))
  held = np.concatenate([own[len(own) - len(own) // HELD_OUT:] for own in (
      [order] if labels is None else [order[labels == c] for c in np.unique(labels)])])
  rows = np.setdiff1d(order, held) if train else np.sort(held)
  return [texts[i] for i in rows], None if labels is None else labels[rows]


def _read(ids, rows):
  return {"text": ids[rows].astype(np.int32)}
