"""BERT (Devlin et al., 2019): tokens that are hidden from those on both sides."""

import jax.numpy as jnp

from sslx import errors, losses
from sslx.augment import text
from sslx.methods import base, words

CITE = """@inproceedings{devlin2019bert,
  title={{BERT}: Pre-training of Deep Bidirectional Transformers for Language Understanding},
  author={Devlin, Jacob and Chang, Ming-Wei and Lee, Kenton and Toutanova, Kristina},
  booktitle={NAACL}, year={2019}}"""


def make(encoder, *, ratio=0.15, masked=0.8, replaced=0.1, whole_words=False, tokenizer="bytes"):
  """Masked language modelling on a text encoder; masks are drawn anew at every step (Liu et al., 2019).

  Args:
    ratio: share of the tokens that is hidden.
    masked, replaced: shares of those that are masked, and that are random tokens; the rest stay as they are.
    whole_words: whether words are hidden whole.
    tokenizer: of the data: bytes or a file of the tokenizers library.
  """
  coder = words.coder(encoder, "bert", tokenizer)
  if getattr(encoder, "causal", False):
    raise errors.UsageError("bert needs an encoder that sees both sides: set encoder.causal to False")
  if not (0 < ratio < 1 and min(masked, replaced) >= 0 and masked + replaced <= 1):
    raise errors.UsageError(f"method.ratio is {ratio:g}, masked {masked:g}, replaced {replaced:g}: the ratio must lie "
                            "between 0 and 1, the two others be shares, together at most 1")
  net, starts = words.Scores(encoder, masks=True), coder.starts if whole_words else None

  def views(rng, batch):
    seen, gone, hidden = text.random_tokens(rng, batch["text"], vocab=coder.vocab, ratio=ratio, masked=masked,
                                            replaced=replaced, starts=starts)
    return {"text": seen, "mask": gone, "hidden": hidden, "target": batch["text"]}

  def init(rng, batch):
    params, stats = base.init(net, rng, batch["text"])
    return {"net": params}, {"net": stats}

  def loss(params, state, views, rng, progress):
    logits, stats = base.forward(net, params["net"], state["net"], views["text"], views["mask"], rng=rng)  # [B, T, V]
    value = losses.cross_entropy(logits, views["target"], views["hidden"])
    right = words.share(jnp.argmax(logits, -1) == views["target"], views["hidden"])
    return value, ({"net": stats}, {"token_accuracy": right, "perplexity": jnp.exp(value)})

  def show(params, state, views):
    x, gone = views["text"][:8], views["mask"][:8]
    logits = net.apply({"params": params["net"], **state["net"]}, x, gone)
    best = jnp.argmax(logits.at[..., 0].set(-jnp.inf), -1)
    return {"text": words.lines(coder, views["target"][:8]), "input": words.lines(coder, x, gone),
            "output": words.lines(coder, jnp.where(views["hidden"][:8], best, x))}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state, "text"), reads=("text",),
                     show=show)
