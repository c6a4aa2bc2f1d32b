"""SimCSE (Gao et al., 2021): the same text twice, with other numbers dropped out; all other texts repel."""

import jax.numpy as jnp

from sslx import errors, heads, losses
from sslx.methods import base, words

CITE = """@inproceedings{gao2021simcse,
  title={{SimCSE}: Simple Contrastive Learning of Sentence Embeddings},
  author={Gao, Tianyu and Yao, Xingcheng and Chen, Danqi},
  booktitle={EMNLP}, year={2021}}"""


def make(encoder, *, temperature=0.05, widths=(256,), tokenizer="bytes"):
  """SimCSE on a text encoder with dropout, which is all the augmentation there is.

  Args:
    temperature: of InfoNCE.
    widths: of the projector's layers, which is thrown away; the last is the dimension K that is contrasted.
    tokenizer: of the data: bytes or a file of the tokenizers library.
  """
  coder = words.coder(encoder, "simcse", tokenizer)
  if not getattr(encoder, "dropout", 0):
    raise errors.UsageError("simcse compares a text with itself under another dropout: set encoder.dropout above 0")
  net = base.Network(encoder, heads.MLP(widths))

  def views(rng, batch):
    return {"text": batch["text"]}

  def init(rng, batch):
    params, stats = base.init(net, rng, batch["text"])
    return {"net": params}, {"net": stats}

  def loss(params, state, views, rng, progress):
    twice = jnp.concatenate([views["text"]] * 2)
    z, stats = base.forward(net, params["net"], state["net"], twice, rng=rng)           # [2B, K]
    first, second = jnp.split(z, 2)
    value = losses.info_nce(first, second, temperature=temperature)
    return value, ({"net": stats}, base.found(first, second, second) | {"z_std": losses.feature_std(first)})

  def show(params, state, views):
    z = losses.unit(net.apply({"params": params["net"], **state["net"]}, views["text"]))
    return {"text": words.lines(coder, views["text"][:8]), "affinity": z @ z.T}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state, "text"), reads=("text",),
                     show=show, project=lambda params, state: (net, {"params": params["net"], **state["net"]}))
