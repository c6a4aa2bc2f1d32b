"""CLIP (Radford et al., 2021): an image finds its text among all of the batch, and a text its image."""

import jax

from sslx import encoders, errors
from sslx.augment import recipes
from sslx.methods import pretext, towers, words

CITE = """@inproceedings{radford2021clip,
  title={Learning Transferable Visual Models From Natural Language Supervision},
  author={Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and Agarwal, Sandhini
          and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and Krueger, Gretchen
          and Sutskever, Ilya},
  booktitle={ICML}, year={2021}}"""


def make(encoder, *, text=encoders.options("text_ti"), width=256, temperature=0.07, locked=False, tokenizer="bytes",
         aug=recipes.mae(scale=(0.5, 1.0), flip_p=0.5)):
  """CLIP on an image encoder and a text encoder; both are kept. Where the text is missing the pair does not count.

  Args:
    text: the text encoder: its name and options.
    width: K of the space in which images and texts are compared.
    temperature: at the start; its inverse, the scale of the cosine similarity, is learnt, and at most 100.
    locked: the image encoder stays as it is, as config.init brought it (LiT: Zhai et al., 2022).
    tokenizer: of the data.
    aug: (key, image) -> view. Of several texts one is drawn at each step.
  """
  return of_text(encoder, text, *towers.symmetric(temperature), width, locked, tokenizer, aug)


def of_text(encoder, text, objective, learnt, width, locked, tokenizer, aug):
  """A method that compares images with texts; objective, learnt: as in towers.contrast."""
  text = towers.built("text", text, tokenizer)
  coder = words.coder(text, "clip", tokenizer)
  if hasattr(encoder, "vocab"):
    raise errors.UsageError("config.encoder is the image encoder, method.text the one of text")

  def views(rng, batch):
    r_aug, r_text = jax.random.split(rng)
    return {"image": pretext.first_view(aug, r_aug, batch["image"]), "text": towers.drawn(r_text, batch["text"]),
            "whole": towers.there(batch["image"]) & towers.there(batch["text"])}

  def show(views):
    return {"view": views["image"], "text": words.lines(coder, views["text"][:8])}
  return towers.contrast({"image": encoder, "text": text}, views, objective, width=width, learnt=learnt,
                         locked=("image",) * locked, show=show)
