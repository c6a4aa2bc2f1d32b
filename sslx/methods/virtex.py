"""VirTex (Desai and Johnson, 2021): an image's caption is predicted word by word, forwards and backwards."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import errors, losses, tokens
from sslx.augment import recipes
from sslx.heads import Captioner
from sslx.methods import base, beams, pretext, towers, words

CITE = """@inproceedings{desai2021virtex,
  title={{VirTex}: Learning Visual Representations from Textual Annotations},
  author={Desai, Karan and Johnson, Justin},
  booktitle={CVPR}, year={2021}}"""

SHOWN = 8                                                  # images with captions in the report


class Network(nn.Module):
  """An encoder and a head that captions its grid: images [B, H, W, C], ids {direction: [B, T]} -> their scores."""
  encoder: nn.Module
  head: nn.Module

  def __call__(self, x, ids, train=False):
    return self.head(self.encoder.features(x, train)["grid"], ids, train)

  def seen(self, x):
    """What the head sees of images: [B, h w, D]."""
    return self.head.seen(self.encoder.features(x)["grid"])

  def scores(self, seen, ids, at):
    """Scores [B, V] of the token at one place, in the forward direction."""
    return self.head.scores(seen, ids, at=at)


def make(encoder, *, width=256, depth=1, heads=4, dropout=0.1, backward=True, length=30, beam=5, power=0.0,
         tokenizer="bytes", aug=recipes.mae(scale=(0.5, 1.0), flip_p=0.0)):
  """VirTex on an image encoder. Where image or caption is missing the example does not count.

  Args:
    width, depth, heads, dropout: of the head, see heads.Captioner.
    backward: predict the caption from its end to its start, too (bicaptioning), by layers of their own.
    length: the most tokens of a caption, longer ones are cut; 0 for the longest of the data.
    beam, power: of the search for the captions that the report and `sslx evaluate --protocols captions` show.
    tokenizer: of the data.
    aug: (key, image) -> view. A mirror makes captions with "left" and "right" in them wrong (the paper swaps the two
      words), so here is none. Of several captions one is drawn at each step.
  """
  if hasattr(encoder, "vocab"):
    raise errors.UsageError("virtex reads images: config.encoder is the image encoder")
  if length < 0 or beam < 1:
    raise errors.UsageError(f"method.length is {length}, method.beam {beam}: they must be 0 and 1 at least")
  if width % heads:
    raise errors.UsageError(f"method.width is {width}, method.heads {heads}: heads must divide the width")
  pretext.needs_grid(encoder, "virtex")
  coder = tokens.coder(tokenizer)
  directions = ("forward", "backward")[:1 + backward]
  dtype = getattr(encoder, "dtype", None)
  net = Network(encoder, Captioner(coder.vocab, width, depth, heads, dropout, directions, dtype))

  def views(rng, batch):
    r_aug, r_text = jax.random.split(rng)
    text = towers.drawn(r_text, batch["text"])
    text = text[:, :length or text.shape[1]]
    return {"image": pretext.first_view(aug, r_aug, batch["image"]), "text": text,
            "whole": towers.there(batch["image"]) & towers.there(text)}

  def targets(text):
    """{direction: ids [B, T + 1]}, with a 0 as the end."""
    ids = jnp.pad(text, ((0, 0), (0, 1)))
    return {"forward": ids, "backward": turned(ids)} if backward else {"forward": ids}

  def init(rng, batch):
    made = jax.eval_shape(views, rng, batch)
    blank = jnp.zeros((1, *made["image"].shape[1:])), targets(jnp.zeros((1, *made["text"].shape[1:]), jnp.int32))
    variables = jax.tree.map(lambda v: v.astype(float), jax.jit(net.init)(rng, *blank))
    return {"net": variables.pop("params")}, {"net": variables}

  def loss(params, state, views, rng, progress):
    ids = targets(views["text"])
    logits, stats = base.forward(net, params["net"], state["net"], views["image"], ids, rng=rng)
    weight = (jnp.cumsum(ids["forward"] == 0, 1) <= 1) & views["whole"][:, None]        # the first 0 is the end
    value = {d: losses.cross_entropy(logits[d], ids[d], weight) for d in ids}
    metrics = {"perplexity": jnp.exp(value["forward"]),
               "token_accuracy": words.share(jnp.argmax(logits["forward"], -1) == ids["forward"], weight)}
    if backward:
      metrics["backward_perplexity"] = jnp.exp(value["backward"])
    return sum(value.values()), ({"net": stats}, metrics)

  @functools.partial(jax.jit, static_argnums=2)
  def searched(variables, image, T):
    seen = net.apply(variables, image, method="seen")                                   # [B, S, D]
    seen = jnp.repeat(seen, beam, 0)                                                    # [B beam, S, D]

    def scores(ids, i):
      logits = net.apply(variables, seen, ids.reshape(-1, T), i, method="scores").reshape(*ids.shape[:2], -1)
      return logits if coder.unknown is None else logits.at[..., coder.unknown].set(-jnp.inf)
    return beams.beam_search(scores, len(image), T, width=beam, power=power)[0][:, :-1]

  def caption(params, state, image):
    variables = {"params": params["net"], **state["net"]}
    return searched(variables, image, len(params["net"]["head"]["places"]))

  def show(params, state, views):
    B = len(views["image"])
    some = {k: v[::max(1, B // SHOWN)][:SHOWN] for k, v in views.items()}
    said = words.lines(coder, caption(params, state, some["image"])).lines
    true = words.lines(coder, some["text"]).lines
    return {"said, and one true caption": base.Captioned(some["image"], [list(pair) for pair in zip(
        said, true, strict=True)])}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state),
                     reads=("image", "text"), show=show, caption=caption)


def turned(ids):
  """ids [B, T], zeros behind each one's end, with the tokens before it in reverse order."""
  count = jnp.sum(ids != 0, 1, keepdims=True)
  place = jnp.arange(ids.shape[1])
  return jnp.take_along_axis(ids, jnp.where(place < count, count - 1 - place, place), 1)
