"""TSDAE (Wang et al., 2021): a text from one vector, a code of the same text with pieces missing."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import encoders, losses
from sslx.augment import text
from sslx.encoders.layers import Dense
from sslx.methods import base, words

CITE = """@inproceedings{wang2021tsdae,
  title={{TSDAE}: Using Transformer-based Sequential Denoising Auto-Encoder for Unsupervised Sentence Embedding
    Learning},
  author={Wang, Kexin and Reimers, Nils and Gurevych, Iryna},
  booktitle={Findings of EMNLP}, year={2021}}"""


class Coded(nn.Module):
  """An encoder of text that is partly hidden, and a code of what it gives: ids, mask [B, T] -> [B, K]."""
  encoder: nn.Module
  width: int

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    wide = jnp.result_type(float)
    fill = self.param("fill", nn.initializers.normal(0.02), (self.encoder.width,), wide)
    found = self.encoder.features(x, train, mask=mask, fill=fill)["pooled"]
    found = found.astype(jnp.promote_types(found.dtype, jnp.float32))
    return nn.Dense(self.width, param_dtype=wide, name="code")(found)


class Decoder(nn.Module):
  """Scores of each token from a code [B, K] and the tokens before it: ids [B, T] -> [B, T, V].

  The code is what a causal encoder of text sees in the place of a first token.
  """
  encoder: nn.Module

  @nn.compact
  def __call__(self, code, x, train=False):
    wide = jnp.result_type(float)
    first = nn.Dense(self.encoder.width, param_dtype=wide, name="first")(code)[:, None]
    before = jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=1)
    mask = jnp.broadcast_to(jnp.arange(x.shape[1]) == 0, x.shape)
    found = self.encoder.features(before, train, mask=mask, fill=first)["tokens"]
    found = found.astype(jnp.promote_types(found.dtype, jnp.float32))
    small = nn.initializers.normal(0.02)
    return Dense(self.encoder.vocab, param_dtype=wide, kernel_init=small, name="scores")(found)


def make(encoder, *, ratio=0.6, span=5, code=128, width=128, depth=1, heads=4, tokenizer="bytes"):
  """A denoising autoencoder of text.

  Args:
    ratio, span: share of the text that is hidden from the encoder, in pieces of `span` tokens.
    code: width K of the vector, all that the decoder knows of the text but for the tokens before the next one.
    width, depth, heads: of the decoder.
    tokenizer: of the data: bytes or a file of the tokenizers library.
  """
  coder = words.coder(encoder, "text_denoising", tokenizer)
  net = Coded(encoder, code)
  decoder = Decoder(encoders.make("text_ti", vocab=coder.vocab, width=width, depth=depth, heads=heads, causal=True,
                                  dropout=0.0))

  def views(rng, batch):
    return {"text": batch["text"], "mask": text.random_spans(rng, batch["text"], ratio=ratio, length=span)}

  def init(rng, batch):
    r_net, r_decoder = jax.random.split(rng)
    params, stats = base.init(net, r_net, batch["text"])
    shape, ids = (1, code), jnp.zeros((1, *batch["text"].shape[1:]), jnp.int32)
    decoded = jax.jit(decoder.init)(r_decoder, jnp.zeros(shape), ids)["params"]
    return {"net": params, "decoder": jax.tree.map(lambda v: v.astype(float), decoded)}, {"net": stats}

  def scores(params, state, views, rng=None):
    z, stats = base.forward(net, params["net"], state["net"], views["text"], views["mask"], rng=rng)
    return base.forward(decoder, params["decoder"], {}, z, views["text"])[0], {"net": stats}

  def loss(params, state, views, rng, progress):
    logits, state = scores(params, state, views, rng)                                   # [B, T, V]
    x, hidden = views["text"], views["mask"]
    value = losses.cross_entropy(logits, x, x != 0)
    right = jnp.argmax(logits, -1) == x
    return value, (state, {"perplexity": jnp.exp(value), "token_accuracy": words.share(right, x != 0),
                           "hidden_accuracy": words.share(right, hidden)})

  def show(params, state, views):
    some = {k: v[:8] for k, v in views.items()}
    best = jnp.argmax(scores(params, state, some)[0].at[..., 0].set(-jnp.inf), -1)
    return {"text": words.lines(coder, some["text"]), "input": words.lines(coder, some["text"], some["mask"]),
            "output": words.lines(coder, jnp.where(some["text"] != 0, best, 0))}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state, "text"), reads=("text",),
                     show=show)
