"""GPT (Radford et al., 2018): the next token from those before it."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors, losses
from sslx.methods import base, words

CITE = """@techreport{radford2018gpt,
  title={Improving Language Understanding by Generative Pre-Training},
  author={Radford, Alec and Narasimhan, Karthik and Salimans, Tim and Sutskever, Ilya},
  institution={OpenAI}, year={2018}}"""


def make(encoder, *, context=0, temperature=0.8, top_p=0.95, tokenizer="bytes"):
  """Next-token prediction on a causal text encoder.

  Args:
    context: k, the most tokens that one is predicted from: each step sees a random piece of k + 1 tokens of each
      example; 0 for examples as they are.
    temperature, top_p: of the text that is drawn for the report; a likelier one for lower values.
    tokenizer: of the data: bytes or a file of the tokenizers library.
  """
  coder = words.coder(encoder, "gpt", tokenizer)
  if not getattr(encoder, "causal", False):
    raise errors.UsageError("gpt needs an encoder in which no token sees those after it: set encoder.causal to True")
  if context < 0:
    raise errors.UsageError(f"method.context is {context}; give a number of tokens, or 0 for whole examples")
  net = words.Scores(encoder)

  def views(rng, batch):
    x = batch["text"]
    T = min(x.shape[1], context + 1 if context else x.shape[1])
    if T < 2:
      raise errors.UsageError("gpt needs examples of two tokens at least: set data.length")
    room = jnp.maximum(jnp.sum(x != 0, 1, keepdims=True) - T, 0)                        # pieces end where texts do
    first = jax.random.randint(rng, (len(x), 1), 0, room + 1)
    return {"text": jnp.take_along_axis(x, first + jnp.arange(T), 1)}

  def init(rng, batch):
    params, stats = base.init(net, rng, batch["text"])
    return {"net": params}, {"net": stats}

  def loss(params, state, views, rng, progress):
    x, token = views["text"][:, :-1], views["text"][:, 1:]
    logits, stats = base.forward(net, params["net"], state["net"], x, rng=rng)          # [B, T - 1, V]
    weight = token != 0
    value = losses.cross_entropy(logits, token, weight)
    bits = {} if tokenizer == "bytes" else {"bits_per_token": value / np.log(2)}
    if coder.sizes is not None:
      size = jnp.sum(jnp.asarray(coder.sizes)[token] * weight) / jnp.maximum(jnp.sum(weight), 1)       # of a token
      bits["bits_per_byte"] = value / np.log(2) / jnp.maximum(size, 1e-6)
    right = words.share(jnp.argmax(logits, -1) == token, weight)
    return value, ({"net": stats}, bits | {"perplexity": jnp.exp(value), "token_accuracy": right})

  def show(params, state, views):
    x = views["text"]
    x = x[jnp.all(x != 0, 1)][:4]
    if not len(x):
      return {}
    scores = lambda seen: net.apply({"params": params["net"], **state["net"]}, seen)
    start = x[:, :max(1, min(x.shape[1] // 2, 32))]
    draw = jax.jit(lambda start: words.continued(scores, jax.random.key(0), start, number=128,
                                                 context=x.shape[1] - 1, temperature=temperature, top_p=top_p))
    return {"start": words.lines(coder, start), "continued": words.lines(coder, draw(start))}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state, "text"), reads=("text",),
                     show=show)
