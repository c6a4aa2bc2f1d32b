"""SigLIP (Zhai et al., 2023): whether an image and a text belong together is told for every pair by itself."""

import math

import jax.numpy as jnp

from sslx import encoders, losses
from sslx.augment import recipes
from sslx.methods import clip, towers

CITE = """@inproceedings{zhai2023siglip,
  title={Sigmoid Loss for Language Image Pre-Training},
  author={Zhai, Xiaohua and Mustafa, Basil and Kolesnikov, Alexander and Beyer, Lucas},
  booktitle={ICCV}, year={2023}}"""


def make(encoder, *, text=encoders.options("text_ti"), width=256, scale=10.0, bias=-10.0, locked=False,
         tokenizer="bytes", aug=recipes.mae(scale=(0.5, 1.0), flip_p=0.5)):
  """SigLIP on an image encoder and a text encoder; both are kept. Where the text is missing the pair does not count.

  Args:
    scale, bias: of the cosine similarity at the start; both are learnt, the scale's logarithm.
    text, width, locked, tokenizer, aug: as in clip.
  """
  def objective(image, text, whole, learnt):
    value = losses.siglip(image, text, scale=jnp.exp(learnt["scale"]), bias=learnt["bias"], whole=whole)
    return value, towers.top1(image, text, whole)
  learnt = towers.numbers(scale=math.log(scale), bias=bias)
  return clip.of_text(encoder, text, objective, learnt, width, locked, tokenizer, aug)
