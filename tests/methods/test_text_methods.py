"""Masks of text, what is drawn and what is counted, against NumPy; and what methods of text refuse."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import config, encoders, errors, methods, run, tokens, train
from sslx.augment import text
from sslx.evaluate.surprisal import surprisal
from sslx.methods import words

ROOT = pathlib.Path(__file__).parents[2]
RNG = np.random.default_rng(0)
LENGTHS = np.array([40, 40, 26, 7, 1])
IDS = np.where(np.arange(40) < LENGTHS[:, None], RNG.integers(1, 257, (5, 40)), 0).astype(np.int32)
SMALL = {"width": 8, "depth": 1, "heads": 2}
bytes_ = tokens.coder("bytes")


def made(name, causal=False, **options):
  return methods.make(name, encoders.make("text_ti", causal=causal, **SMALL), **options)


def test_exactly_so_many_tokens_are_hidden_and_so_many_of_them_masked_and_replaced():
  draw = jax.jit(jax.vmap(lambda key: text.random_tokens(key, IDS, vocab=257, ratio=0.25)))
  seen, masked, hidden = map(np.asarray, draw(jax.random.split(jax.random.key(0), 400)))
  assert (hidden.sum(2) == [10, 10, 6, 2, 1]).all()                                        # round(26 / 4) = 6, 7 / 4: 2
  assert (masked.sum(2) == [8, 8, 5, 2, 1]).all() and not (masked & ~hidden).any()         # of 80 %, rounded
  assert not (hidden & (IDS == 0)).any()
  changed = seen != IDS
  assert not (changed & (~hidden | masked)).any()                                          # the rest is as it was
  share = changed[:, :2].sum() / (400 * 2)                                                 # one of ten, but for 1 / 256
  np.testing.assert_allclose(share, 1 - 1 / 256, atol=5 * (1 / 256 / 800) ** 0.5)
  assert seen[changed].min() >= 1 and seen[changed].max() <= 256
  np.testing.assert_allclose(hidden[:, 0].mean(0), 0.25, atol=5 * (0.25 * 0.75 / 400) ** 0.5)   # all places alike
  assert not np.array_equal(hidden[0, 0], hidden[0, 1])


def test_whole_words_are_hidden():
  line = b"a stirring , funny and finally transporting film"
  ids = np.stack([np.pad(bytes_.encode(t), (0, 50 - len(t))) for t in (line, line[::-1])])
  draw = jax.jit(jax.vmap(lambda key: text.random_tokens(key, ids, vocab=257, ratio=0.3, starts=bytes_.starts)))
  _, masked, hidden = map(np.asarray, draw(jax.random.split(jax.random.key(1), 100)))
  for row, t in enumerate((line, line[::-1])):
    word = np.cumsum([i == 0 or c == 32 for i, c in enumerate(t)])                         # a space is of what follows
    for w in np.unique(word):
      for of in hidden, masked:
        own = of[:, row, :len(t)][:, word == w]
        assert (own.all(1) == own.any(1)).all()
    number, longest = hidden[:, row].sum(1), np.bincount(word).max()
    wanted = round(0.3 * len(t))
    assert (number >= wanted).all() and (number < wanted + longest).all()
    assert hidden[:, row, :len(t)].any(0).all() and not hidden[:, row, len(t):].any()


def test_spans():
  draw = jax.jit(jax.vmap(lambda key: text.random_spans(key, IDS, ratio=0.5, length=4)))
  hidden = np.asarray(draw(jax.random.split(jax.random.key(0), 200)))
  assert not (hidden & (IDS == 0)).any() and hidden.any(2).all()
  edges = np.diff(np.pad(hidden[:, 0], ((0, 0), (1, 1))).astype(int))
  for starts, ends in zip(edges == 1, edges == -1, strict=True):
    first, last = np.flatnonzero(starts), np.flatnonzero(ends)
    inner = (first > 0) & (last < 40)
    assert ((last - first)[inner] % 4 == 0).all()
  number = hidden.sum(2)
  assert (number >= np.maximum(np.round(LENGTHS / 2), 1)).all() and (number < np.round(LENGTHS / 2) + 4).all()
  assert hidden[:, 0].any(0).all() and not hidden[:, 0].all(0).any()


def test_masks_are_drawn_anew():
  views = jax.jit(made("bert").views)
  first, second, again = (views(jax.random.key(k), {"text": IDS}) for k in (1, 2, 1))
  assert not np.array_equal(first["hidden"], second["hidden"])
  assert jax.tree.all(jax.tree.map(np.array_equal, first, again))


def test_bert_learns_from_hidden_tokens_alone():
  method = made("bert")
  params, state = method.init(jax.random.key(0), {"text": IDS})
  views = method.views(jax.random.key(1), {"text": IDS})
  loss = jax.jit(lambda target: method.loss(params, state, views | {"target": target}, None, 0.0)[0])
  other = jnp.where(views["hidden"], IDS, 256 - IDS)
  assert loss(IDS) == loss(other) != loss(256 - IDS)


@pytest.mark.parametrize("context", [0, 9])
def test_gpt_counts_what_numpy_counts(context):
  method = made("gpt", causal=True, context=context)
  params, state = method.init(jax.random.key(0), {"text": IDS})
  views = method.views(jax.random.key(1), {"text": IDS})
  x = np.asarray(views["text"])
  if context:
    pieces = [[IDS[i, f:f + 10].tolist() for f in range(31)].index(x[i].tolist()) for i in range(5)]
    assert x.shape == (5, 10) and len(set(pieces)) > 1                                     # pieces from random places
  loss, (_, metrics) = method.loss(params, state, views, None, 0.0)
  logits = np.asarray(words.Scores(encoders.make("text_ti", causal=True, **SMALL)).apply(
      {"params": params["net"]}, x[:, :-1]), float)
  bits = [np.log2(np.exp(row).sum()) - row[t] / np.log(2) for own, ids in zip(logits, x, strict=True)
          for row, t in zip(own, ids[1:], strict=True) if t]
  np.testing.assert_allclose(metrics["bits_per_byte"], np.mean(bits), rtol=1e-5)
  np.testing.assert_allclose(metrics["perplexity"], 2 ** np.mean(bits), rtol=1e-5)
  np.testing.assert_allclose(loss, np.mean(bits) * np.log(2), rtol=1e-5)


def test_gpt_of_subwords_counts_their_bytes(monkeypatch):
  sizes = RNG.integers(1, 9, 257)
  coder = dataclasses.replace(tokens.coder("bytes"), sizes=sizes)
  monkeypatch.setattr(words.tokens, "coder", lambda name: coder)
  method = made("gpt", causal=True, tokenizer="some.json")
  params, state = method.init(jax.random.key(0), {"text": IDS})
  loss, (_, metrics) = method.loss(params, state, {"text": IDS}, None, 0.0)
  read = IDS[:, 1:][IDS[:, 1:] != 0]
  np.testing.assert_allclose(metrics["bits_per_token"], loss / np.log(2), rtol=1e-5)
  np.testing.assert_allclose(metrics["bits_per_byte"], loss / np.log(2) * len(read) / sizes[read].sum(), rtol=1e-5)


def test_gpt_takes_its_pieces_from_the_text_not_from_behind_it():
  ids = np.zeros((6, 200), np.int32)
  for i, length in enumerate((5, 9, 10, 30, 199, 200)):
    ids[i, :length] = np.arange(length) % 250 + 1
  method = made("gpt", causal=True, context=9)
  for seed in range(3):
    x = np.asarray(method.views(jax.random.key(seed), {"text": ids})["text"])
    assert x.shape == (6, 10) and (x != 0).sum(1).tolist() == [5, 9, 10, 10, 10, 10]


@pytest.mark.parametrize("context, stride", [(8, 0), (8, 1), (5, 5), (40, 0)])
def test_surprisal_counts_every_token_once(context, stride):
  """Against NumPy, a window for each token, for a net whose answer depends on all that it sees."""
  table = RNG.normal(size=(257, 257))

  class Sums:
    def apply(self, variables, x):
      return jnp.cumsum(jnp.asarray(table)[x] * (x != 0)[..., None], 1) / 4

  ids, before = RNG.integers(1, 257, 23), RNG.integers(1, 257, 11)
  got = surprisal(Sums(), {}, ids, before, context=context, stride=stride, batch_size=4)
  whole, width = np.concatenate([before, ids]), stride or context // 2
  want = []
  for i in range(23):
    end = min(i // width * width + width, 23)                # of its piece, in which all see from the same token on
    first = max(11 + end - 1 - context, 0, 11 - context)
    scores = table[whole[first:11 + i]].sum(0) / 4
    want.append(np.log2(np.exp(scores).sum()) - scores[ids[i]] / np.log(2))
  np.testing.assert_allclose(got, want, rtol=1e-4)


def test_nucleus():
  logits = RNG.normal(0, 2, (50, 12)).astype(np.float32)
  for top_p in (0.01, 0.5, 0.9, 1.0):
    got = np.isfinite(words.nucleus(logits, top_p))
    for row, kept in zip(logits.astype(float), got, strict=True):
      share, order = np.exp(row) / np.exp(row).sum(), np.argsort(-row)
      number = 1 + int(np.sum(np.cumsum(share[order]) < top_p - 1e-6))
      assert set(np.flatnonzero(kept)) == set(order[:number])


@pytest.mark.parametrize("context", [4, 30])
def test_text_goes_on_as_told(context):
  """Each token is one more than the first that is seen: the likeliest one, and those drawn with their probabilities."""
  def scores(seen):
    assert seen.shape[1] == context
    return jax.nn.one_hot((seen[:, :1] + jnp.arange(context)) % 50 + 1, 257) * 100         # [B, context, V]
  start = np.array([[3, 5, 9], [7, 7, 7]])
  out = np.asarray(words.continued(scores, jax.random.key(0), start, number=6, context=context, temperature=0.0))
  assert (out[:, :3] == start).all() and out.shape == (2, 9)
  for row in out.tolist():
    for i in range(3, 9):
      first = max(0, i - context)
      assert row[i] == (row[first] + i - first - 1) % 50 + 1
  share = np.array([0.6, 0.3, 0.1])
  some = lambda seen: jnp.full((*seen.shape, 4), -100.0).at[..., 1:].set(np.log(share))
  drawn = np.asarray(words.continued(some, jax.random.key(0), np.ones((500, 1), int), number=8, context=3, top_p=0.8))
  found = np.bincount(drawn[:, 1:].ravel(), minlength=4) / 4000
  np.testing.assert_allclose(found, [0, 2 / 3, 1 / 3, 0], atol=5 * 0.5 / 4000 ** 0.5)


def test_simcse_compares_dropout():
  method = made("simcse")
  params, state = method.init(jax.random.key(0), {"text": IDS})
  loss = jax.jit(lambda rng: method.loss(params, state, {"text": IDS}, rng, 0.0)[0])
  assert loss(jax.random.key(1)) == loss(jax.random.key(1)) != loss(jax.random.key(2))
  module, variables = method.project(params, state)
  z = module.apply(variables, IDS)
  assert z.shape == (5, 256) and np.array_equal(z, module.apply(variables, IDS))


def test_denoising_gets_all_it_knows_of_what_comes_through_the_code():
  method = made("text_denoising", code=4, width=8, heads=2)
  params, state = method.init(jax.random.key(0), {"text": IDS})
  shown = method.views(jax.random.key(1), {"text": IDS})
  x = jnp.asarray(IDS)
  loss = lambda params, mask: method.loss(params, state, {"text": x, "mask": mask}, None, 0.0)[0]
  all_hidden = x != 0
  cut = params | {"net": params["net"] | {"code": jax.tree.map(jnp.zeros_like, params["net"]["code"])}}
  assert loss(params, shown["mask"]) != loss(params, all_hidden)
  assert loss(cut, shown["mask"]) == loss(cut, all_hidden)


@pytest.mark.parametrize("name, causal, options, message", [
  ("gpt", False, {}, "set encoder.causal to True"), ("gpt", True, {"context": -1}, "method.context is -1"),
  ("bert", True, {}, "set encoder.causal to False"), ("bert", False, {"ratio": 1.5}, "method.ratio is 1.5"),
  ("bert", False, {"masked": 0.9, "replaced": 0.2}, "together at most 1"),
  ("simcse", False, {"tokenizer": "no.json"}, "no such tokenizer")])
def test_wrong_options(name, causal, options, message):
  with pytest.raises(errors.UsageError, match=message):
    made(name, causal, **options)


@pytest.mark.parametrize("name, keys", [
  ("gpt", ["start", "continued"]), ("bert", ["text", "input", "output"]), ("simcse", ["text", "affinity"]),
  ("text_denoising", ["text", "input", "output"])])
def test_what_the_report_shows(name, keys):
  line = "To be, or not to be: that is the question."
  batch = {"text": np.stack([bytes_.encode(line.encode())] * 2)}
  method = made(name, causal=name == "gpt", **({"code": 4, "width": 8, "heads": 2} if name == "text_denoising" else {}))
  params, state = method.init(jax.random.key(0), batch)
  shown = method.show(params, state, views := method.views(jax.random.key(1), batch))
  assert list(shown) == keys
  if name == "gpt":
    assert all(more.startswith(line[:21]) for more in shown["continued"].lines)
    assert shown["start"].lines == [line[:21]] * 2
  else:
    assert shown["text"].lines == [line] * 2
  if "input" in keys:
    for ids, gone, seen in zip(*map(np.asarray, (views["text"], views["mask"])), shown["input"].lines, strict=True):
      assert seen == "".join("_" if g else c for c, g in zip(bytes_.decode(ids), gone, strict=True))


def test_a_run_has_the_tokenizer_of_its_data(tmp_path):
  pytest.importorskip("tokenizers")
  tokens.train(["to be or not to be"], 260, tmp_path / "bpe.json")
  c = config.override(config.load(f"{ROOT}/configs/bert.py:tiny"), [f"--config.data.tokenizer={tmp_path}/bpe.json"])
  c = run.resolve(c, 1000)
  run.fill(c, 1000, 10)
  encoder, _ = train.build(c)
  assert encoder.vocab == c.encoder.vocab == 260


@pytest.mark.parametrize("name", ["gpt", "bert", "simcse", "text_denoising"])
def test_wrong_encoders(name):
  with pytest.raises(errors.UsageError, match="set encoder.name to a text encoder"):
    methods.make(name, encoders.make("resnet10"))
  with pytest.raises(errors.UsageError, match="set encoder.vocab=257"):
    methods.make(name, encoders.make("text_ti", vocab=300, causal=name == "gpt"))
