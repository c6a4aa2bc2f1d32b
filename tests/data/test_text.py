"""Text from files: what becomes of it, what is held out, and what is refused."""

import json

import numpy as np
import pytest

from sslx import cli, data, errors, tokens
from sslx.data import text

RUNNING = ("To be, or not to be: that is the question.\n" * 7).encode()                   # 301 bytes


def written(tmp_path, **files):
  for name, content in files.items():
    path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return str(tmp_path)


def rows(source):
  return source.batch(np.arange(len(source)))["text"]


def read(path, split="train", **options):
  found = text.load(path, split, **options)
  return [tokens.coder("bytes").decode(row) for row in rows(found)], found


def test_running_text_is_packed_whole_and_its_last_tenth_held_out(tmp_path):
  path = written(tmp_path, a_dot_txt=RUNNING[:100], b_dot_txt=RUNNING[101:])              # a newline joins them
  whole = RUNNING[:100] + b"\n" + RUNNING[101:]
  train, test = (text.load(path, split, length=64) for split in ("train", "test"))
  assert (rows(train).dtype, train.shape, train.key, train.labels) == (np.int32, (64,), "text", None)
  ids = [x[x > 0] for x in (rows(train).ravel(), rows(test).ravel())]
  back = [(x - 1).astype(np.uint8).tobytes() for x in ids]
  assert back == [whole[:271], whole[271:]]                                               # 301 // 10 = 30 bytes
  assert (rows(train)[:-1] > 0).all()                                                     # padded at the end alone


def test_held_out_text_begins_with_a_whole_character(tmp_path):
  path = written(tmp_path, a_dot_txt="é" * 15)                # 30 bytes, and 27 is inside of one
  (train,), (test,) = (read(path, split)[0] for split in ("train", "test"))
  assert (train, test) == ("é" * 14, "é")


def test_sentences_are_cut_and_padded(tmp_path):
  lines = [{"text": "a" * n, "label": label} for n, label in ((3, "x"), (9, "y"), (5, "x"))]
  path = written(tmp_path, train_dot_jsonl="\n".join(map(json.dumps, lines)),
                 test_dot_jsonl=json.dumps({"text": "b", "label": "y"}))
  found, source = read(path, length=6)
  assert found == ["aaa", "aaaaaa", "aaaaa"]
  assert (rows(source)[0] == [98, 98, 98, 0, 0, 0]).all()
  assert source.labels.tolist() == [0, 1, 0] and source.class_names == ("x", "y")
  for split in ("test", "validation"):
    found, source = read(path, split)
    assert found == ["b"] and source.labels.tolist() == [1]
  assert read(f"{path}/train.jsonl", "test")[0] == ["b"]                                  # lies beside it


def test_tables(tmp_path):
  path = written(tmp_path, s_train_dot_tsv="sentence\tlabel\ngood \t1\nbad\t0\n", s_dev_dot_tsv="fine\t1",
                 s_test_dot_tsv="poor\t0")
  found, source = read(path)
  assert found == ["good ", "bad"] and source.labels.tolist() == [1, 0] and source.class_names is None
  assert read(path, "validation")[0] == ["fine"] and read(path, "test")[0] == ["poor"]


def test_the_last_tenth_of_each_class(tmp_path):
  content = "".join(f"{label}{i:02}\t{label}\n" for label, n in ((1, 20), (0, 30)) for i in range(n))
  path = written(tmp_path, all_dot_tsv=content)
  (train, _), (test, held) = (read(path, split) for split in ("train", "test"))
  assert test == ["118", "119", "027", "028", "029"] and held.labels.tolist() == [1, 1, 0, 0, 0]
  assert not set(train) & set(test) and len(train) == 45


def test_folders_are_classes(tmp_path):
  path = written(tmp_path, train__neg__1_dot_txt="bad", train__pos__1_dot_txt="good", test__pos__2_dot_txt="fine")
  assert read(path)[0] == ["bad", "good"]
  found, source = read(path, "test")
  assert found == ["fine"] and source.labels.tolist() == [1] and source.class_names == ("neg", "pos")


def test_subwords_come_back_whole(tmp_path):
  pytest.importorskip("tokenizers")
  content = (RUNNING.decode() + "Ünïcode 日本\t\n") * 3
  out = tmp_path / "bpe.json"
  written(tmp_path, a_dot_txt=content)
  assert data.learn_tokenizer(str(tmp_path / "a.txt"), out, 280) == 280
  coder = tokens.coder(str(out))
  ids = coder.encode(content.encode())
  assert coder.vocab == 280 and coder.decode(ids) == content and ids.min() > 0 and ids.max() < 280
  assert len(ids) < len(content) / 2                         # subwords are longer than bytes
  assert coder.sizes[ids].sum() == len(content.encode()) and coder.sizes[0] == 0
  words = "".join(" " * bool(coder.starts[i]) + coder.decode([i]).strip() for i in coder.encode(b"to be, or not"))
  assert words == "to be, or not"
  train, test = (text.load(str(tmp_path / "a.txt"), split, tokenizer=str(out)) for split in ("train", "test"))
  assert "".join(coder.decode(rows(s).ravel()) for s in (train, test)) == content
  (tmp_path / "latin.txt").write_bytes(b"\xff\xfe bad")
  with pytest.raises(errors.UsageError, match="not UTF-8"):
    text.load(str(tmp_path / "latin.txt"), "train", tokenizer=str(out))


def test_words(tmp_path):
  pytest.importorskip("tokenizers")
  written(tmp_path, a_dot_txt="the sea, the sea!\nan old sea\n" * 20)
  assert data.learn_tokenizer(f"{tmp_path}/a.txt", f"{tmp_path}/w.json", 100, "words") == 8
  coder = tokens.coder(f"{tmp_path}/w.json")
  assert coder.decode(coder.encode(b"the  old boat, sea")) == "the old [UNK] , sea"
  assert coder.sizes is None and coder.starts.tolist() == [False] + 7 * [True]             # every id is a word
  assert coder.decode([coder.unknown]) == "[UNK]" and tokens.coder().unknown is None
  for wrong, says in (((2, "words"), "3 at least"), ((100, "wrods"), "did you mean words")):
    with pytest.raises(errors.UsageError, match=says):
      data.learn_tokenizer(f"{tmp_path}/a.txt", f"{tmp_path}/w.json", *wrong)


@pytest.mark.parametrize("kind", ["words", "subwords"])
def test_small_letters(tmp_path, kind):
  pytest.importorskip("tokenizers")
  written(tmp_path, a_dot_txt="The sea, THE Sea!\n" * 20)
  data.learn_tokenizer(f"{tmp_path}/a.txt", f"{tmp_path}/w.json", 300, kind, lower=True)
  coder = tokens.coder(f"{tmp_path}/w.json")
  assert coder.encode(b"The SEA").tolist() == coder.encode(b"the sea").tolist()
  assert coder.decode(coder.encode(b"THE Sea")) == "the sea"
  assert coder.sizes is None                                 # of the text before that


def test_tokenizer_from_the_command_line(tmp_path, capsys):
  pytest.importorskip("tokenizers")
  path = written(tmp_path, a_dot_txt=RUNNING)
  assert cli.main(["data", "tokenizer", f"text:{path}", "--vocab", "270", "--out", f"{tmp_path}/t.json"]) == 0
  assert tokens.coder(f"{tmp_path}/t.json").vocab == 270
  for wrong, says in (([], "--out FILE.json"), (["--vocab", "9", "--out", "x"], "of 9 ids")):
    assert cli.main(["data", "tokenizer", f"text:{path}", *wrong]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("files, message", [
  ({"a_dot_txt": ""}, "is empty"), ({"a_dot_txt": "x", "b_dot_tsv": "x\t1"}, "mixes kinds of files"),
  ({"a_dot_jsonl": '{"txt": "x"}'}, 'a.jsonl, line 1: it must be {"text"'), ({"a_dot_jsonl": "x"}, "line 1"),
  ({"a_dot_tsv": "x\t1\ny"}, "with and without a label"), ({"a_dot_tsv": "x\t1\t2"}, "3 columns"),
  ({"a_dot_tsv": "\n"}, "no examples"), ({".hidden": "x"}, "no files of text")])
def test_wrong_files(tmp_path, files, message):
  with pytest.raises(errors.UsageError, match=message):
    text.load(written(tmp_path, **files), "train")


def test_wrong_options(tmp_path):
  path = written(tmp_path, a_dot_txt="x")
  for options, message in (({"tokenizer": "none.json"}, "no such tokenizer"), ({"length": -1}, "data.length is -1")):
    with pytest.raises(errors.UsageError, match=message):
      text.load(path, "train", **options)
  with pytest.raises(errors.UsageError, match="no such file or folder"):
    text.load(f"{path}/b.txt", "train")
  (tmp_path / "bad.json").write_text("{}")
  pytest.importorskip("tokenizers")
  with pytest.raises(errors.UsageError, match="is no file of the tokenizers library"):
    tokens.coder(f"{path}/bad.json")
