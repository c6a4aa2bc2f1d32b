"""VirTex: two directions, padding, what is missing, beam search beside all sequences, captions of a short run."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import checkpoint, config, data, encoders, errors, evaluate, frozen, methods, tokens, train
from sslx.data import pairs, source as sources
from sslx.evaluate.captions import bleu, words
from sslx.methods.beams import beam_search
from sslx.methods.virtex import turned


def make(**options):
  encoder = encoders.make("vit_ti", patch=4, width=8, depth=1, heads=2, pool="mean")
  return methods.make("virtex", encoder, **{"width": 8, "heads": 2, "aug": lambda key, x: x} | options)


def batch(T=7):
  rng = np.random.default_rng(0)
  text = rng.integers(1, 257, (6, 1, T)).astype(np.int32) * (np.arange(T) < rng.integers(2, 6, (6, 1, 1)))
  return {"image": jnp.asarray(rng.random((6, 8, 8, 3)), jnp.float32), "text": jnp.asarray(text, jnp.int32)}


def loss_of(method, params, state, given):
  views = method.views(jax.random.key(1), given)
  return method.loss(params, state, views, None, 0.5)[0]


@pytest.fixture(scope="module")
def begun():
  method, given = make(), batch()
  params, state = method.init(jax.random.key(0), given)
  noisy = lambda v: v + 0.1 * jax.random.normal(jax.random.key(2), v.shape)
  return method, jax.tree.map(noisy, params), state, given


def test_loss_against_the_probability_of_each_caption(begun):
  """The forward loss is the mean over tokens, an end among them, of -log p, a token at a time and without padding."""
  method, params, state, given = begun
  forward = make(backward=False)
  head = {k: v for k, v in params["net"]["head"].items() if "backward" not in k}
  own = {"net": params["net"] | {"head": head}}
  head_, encoder = methods.virtex.Captioner(257, 8, 1, 2), encoders.make("vit_ti", patch=4, width=8, depth=1, heads=2,
                                                                         pool="mean")
  grid = encoder.apply({"params": params["net"]["encoder"]}, given["image"], method="features")["grid"]
  total, count = 0.0, 0
  for one, text in zip(grid, np.asarray(given["text"][:, 0]), strict=True):
    ids = [*text[text > 0], 0]
    for i, token in enumerate(ids):
      x = jnp.asarray([[*ids[:i], *[99] * (8 - i)]])         # what is still to come is something else
      logits = head_.apply({"params": params["net"]["head"]}, one[None], {"forward": x})["forward"][0, i]
      total, count = total - float(jax.nn.log_softmax(logits)[token]), count + 1
  assert float(loss_of(forward, own, state, given)) == pytest.approx(total / count, rel=1e-5)


def test_padding_changes_nothing(begun):
  method, params, state, given = begun
  longer = given | {"text": jnp.pad(given["text"], ((0, 0), (0, 0), (0, 4)))}
  head = params["net"]["head"]
  places = jnp.pad(head["places"], ((0, 4), (0, 0)), constant_values=3)
  more = {"net": params["net"] | {"head": head | {"places": places}}}
  assert float(loss_of(method, more, state, longer)) == pytest.approx(float(loss_of(method, params, state, given)))


def test_backward_is_forward_of_reversed_captions(begun):
  method, params, state, given = begun
  swap = lambda k: k.replace("forward", "?").replace("backward", "forward").replace("?", "backward")
  other = {"net": params["net"] | {"head": {swap(k): v for k, v in params["net"]["head"].items()}}}
  reverse = given | {"text": turned(given["text"][:, 0])[:, None]}
  assert np.array_equal(turned(jnp.asarray([[5, 6, 7, 0, 0]])), [[7, 6, 5, 0, 0]])
  views = lambda given: method.views(jax.random.key(1), given)
  there, back = (method.loss(p, state, views(g), None, 0.5)[1][1] for p, g in ((params, given), (other, reverse)))
  assert float(there["perplexity"]) == pytest.approx(float(back["backward_perplexity"]), rel=1e-5)
  assert float(there["backward_perplexity"]) == pytest.approx(float(back["perplexity"]), rel=1e-5)
  assert abs(float(there["perplexity"]) - float(there["backward_perplexity"])) > 1e-3


@pytest.mark.slow
def test_what_is_missing_does_not_count(begun):
  method, params, state, given = begun
  part = {"text": given["text"].at[1].set(0), "image": given["image"].at[4].set(0)}
  whole = np.array([0, 2, 3, 5])
  few = {k: v[whole] for k, v in part.items()}
  assert float(loss_of(method, params, state, part)) == pytest.approx(float(loss_of(method, params, state, few)))
  nothing = jax.grad(lambda p: loss_of(method, p, state, part | {"text": 0 * part["text"]}))(params)
  assert not any(np.any(g) for g in jax.tree.leaves(nothing))


def test_long_captions_are_cut(begun):
  method, given = make(length=3), batch()
  params, state = method.init(jax.random.key(0), given)
  assert params["net"]["head"]["places"].shape == (4, 8)
  assert method.views(jax.random.key(1), given)["text"].shape == (6, 3)
  assert method.caption(params, state, given["image"]).shape == (6, 3)


V, T = 3, 3


def table_of(seed):
  return 2 * jax.random.normal(jax.random.key(seed), (2, V ** T, T, V))


def toy(seed):
  """Logits of two examples that hang on all tokens before: a table [2, V^T, T, V] by the digits of these."""
  table = table_of(seed)

  def scores(ids, i):
    seen = jnp.where(jnp.arange(T) < i, ids, 0)
    code = jnp.sum(seen * V ** jnp.arange(T), -1)            # [2, W]
    return jnp.take(jnp.take_along_axis(table, code[..., None, None], 1), i, 2)
  return scores


def all_of(table, power):
  """The best sequence of one example and its log-probability, by trying all."""
  found = []
  for ids in itertools.product(range(V), repeat=T):
    end = ids.index(0) + 1 if 0 in ids else T                # tokens, the end among them
    if any(ids[end:]):
      continue
    total = 0.0
    for i in range(end):
      logits = table[sum(v * V ** j for j, v in enumerate(ids[:i])), i]
      total += logits[ids[i]] - np.log(np.sum(np.exp(logits)))
    found.append((total / end ** power, total, ids))
  return max(found)[1:]


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_beam_search_against_all_sequences(power):
  search = jax.jit(lambda seed: beam_search(toy(seed), 2, T, width=V ** T, power=power))
  lengths = set()
  for seed in range(8):
    ids, total = search(seed)
    for one, own, table in zip(ids, total, np.asarray(table_of(seed)), strict=True):
      wanted, best = all_of(table, power)[::-1]
      assert tuple(one.tolist()) == wanted and float(own) == pytest.approx(best, rel=1e-5)
      lengths.add(int(np.sum(one != 0)))
  assert len(lengths) > 1


def test_a_beam_of_one_is_greedy():
  search = jax.jit(lambda seed: beam_search(toy(seed), 2, T, width=1))
  apart = 0
  for seed in range(8):
    ids, _ = search(seed)
    for one, table in zip(ids, np.asarray(table_of(seed)), strict=True):
      wanted = []
      while len(wanted) < T and 0 not in wanted:
        wanted.append(int(np.argmax(table[sum(v * V ** j for j, v in enumerate(wanted)), len(wanted)])))
      assert one.tolist() == wanted + [0] * (T - len(wanted))
      apart += tuple(one.tolist()) != all_of(table, 0.0)[1]
  assert apart                                               # so that a wider beam is another thing


def test_bleu_by_hand():
  """n-grams right of all: 5 of 7, 3 of 5, 2 of 3, 1 of 1; 7 words where the nearest references have 3 + 4."""
  said = [words("the the the"), words("a dog runs fast")]
  true = [[words("the cat the"), words("a cat"), words("one two three four")],
          [words("a dog runs fast"), words("dogs")]]
  # the: 2 of 3 (clipped), "the the": 0 of 2, of three 0 of 1; the second is right throughout
  right = [(2 + 4) / 7, (0 + 3) / 5, (0 + 2) / 3, 1 / 1]
  assert bleu(said, true) == pytest.approx(np.prod(right) ** 0.25)
  short = [["a", "dog", "runs", "fast"]], [[words("a dog runs fast now")]]
  assert bleu(*short) == pytest.approx(np.exp(1 - 5 / 4))
  assert bleu([["a"]], [[["a"]]]) == 0                       # no 4-gram
  assert bleu([[], words("a b c d")], [[["x"]], [words("a b c d")]]) == pytest.approx(np.exp(1 - 5 / 4))
  with pytest.raises(errors.UsageError, match="a reference or more"):
    bleu([["a"]], [[]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  c = config.load("configs/virtex.py:tiny")
  c.total_steps, c.online_probe, c.checkpoint.every, c.log.every = 3, False, 0, 3
  workdir = tmp_path_factory.mktemp("virtex")
  train.train(c, workdir)
  return workdir


@pytest.mark.slow
def test_captions_of_held_out_images(run):
  result = frozen.evaluate(checkpoint.load_encoder(run), run, protocols=("captions",), test=120)
  found = result["captions"]["encoder"]
  source = frozen.load_data(checkpoint.load_encoder(run), None, "test")
  source = source.take(data.drawn(source, 120, 0))
  batch = source.batch(np.arange(120))
  assert found["count"] == batch["text"].any((1, 2)).sum() < 120
  method, params, state, _ = checkpoint.trained(run)
  coder, there = tokens.coder(), [e["index"] for e in found["examples"]]
  ids = method.caption(params, state, jnp.asarray(batch["image"][there] / 255, jnp.float32))
  assert [e["said"] for e in found["examples"]] == [coder.decode(own) for own in np.asarray(ids)]
  assert [e["true"] for e in found["examples"]] == [[coder.decode(t) for t in batch["text"][i]] for i in there]
  assert [row[1] for row in evaluate.rows(result)] == ["BLEU-4", "BLEU-4, of other images", "distinct"]
  images = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
  shown, = method.show(params, state, {"image": images, "text": jnp.zeros((16, 16), jnp.int32)}).values()
  assert np.array_equal(shown.images, images[::2]) and [len(own) for own in shown.lines] == 8 * [2]
  with pytest.raises(errors.UsageError, match="captions need images with texts"):
    frozen.evaluate(checkpoint.load_encoder(run), run, protocols=("captions",), data="digits")


def test_captions_that_are_right_and_dealt_to_others():
  texts = ["a red dog runs", "two old men sit down", "one bird flies up high", ""]
  ids = pairs.ids(texts, count=4, length=24, tokenizer="bytes")
  images = (np.arange(4, dtype=np.uint8)[:, None, None, None] + 1) * np.ones((1, 2, 2, 1), np.uint8)
  source = sources.from_array("few", images, key="image")
  source = dataclasses.replace(source, read=lambda rows: {"image": images[rows], "text": ids[rows][:, None]})
  right = lambda x: jnp.asarray(ids)[jnp.rint(255 * x[:, 0, 0, 0]).astype(int) - 1]
  found = evaluate.captions(right, source, "bytes")
  assert found["bleu4"] == pytest.approx(1) and found["bleu4_others"] == 0 and found["distinct"] == 1
  assert found["count"] == 3 and found["length"] == pytest.approx(14 / 3)
  same = evaluate.captions(lambda x: jnp.broadcast_to(jnp.asarray(ids[:1]), (len(x), 24)), source, "bytes")
  assert same["bleu4"] == pytest.approx(same["bleu4_others"]) and same["distinct"] == pytest.approx(1 / 3)


def test_wrong_use():
  with pytest.raises(errors.UsageError, match=r"config\.encoder is the image encoder"):
    methods.make("virtex", encoders.make("text_ti"))
  with pytest.raises(errors.UsageError, match="set encoder.pool to mean"):
    methods.make("virtex", encoders.make("vit_ti"))
  with pytest.raises(errors.UsageError, match=r"method\.beam 0"):
    make(beam=0)


def test_heads_that_do_not_divide_the_width():
  with pytest.raises(errors.UsageError, match="method.width is 16, method.heads 3"):
    methods.make("virtex", encoders.make("resnet10", width=4), width=16, heads=3)
