"""Image and sound of the same thing: whether they correspond (Arandjelovic and Zisserman, 2017), or which do."""

import jax
import jax.numpy as jnp
import optax

from sslx import augment, encoders, errors, heads
from sslx.augment import recipes
from sslx.methods import base, pretext, sound, towers, words

CITE = """@inproceedings{arandjelovic2017look,
  title={Look, Listen and Learn},
  author={Arandjelovi{\\'c}, Relja and Zisserman, Andrew},
  booktitle={ICCV}, year={2017}}"""


def make(encoder, *, audio=encoders.options("audio_resnet18"), target="contrast", width=128, temperature=0.07,
         hidden=128, segment=1.0, speed=(1.0, 1.0), snr=(), mixed=(), gain=(),
         aug=recipes.mae(scale=(0.5, 1.0), flip_p=0.5)):
  """Two towers on an image encoder and one of sound; both are kept. Where one is missing the pair does not count.

  Args:
    audio: the encoder of sound: its name and options.
    target: "contrast": an image finds its sound among all of the batch, and a sound its image, as in CLIP; or
      "correspondence": a small network tells whether an image and a sound belong together, half of which do.
    width: K of the space that both are brought to.
    temperature: of contrast, at the start; its inverse is learnt, and at most 100.
    hidden: of correspondence: width of the network between the two, side by side, and its answer.
    segment, speed, snr, mixed, gain: of the sound, as in cola.
    aug: (key, image) -> view.
  """
  if target not in ("contrast", "correspondence"):
    raise errors.unknown("target", target, ("contrast", "correspondence"))
  audio = towers.built("audio", audio)
  sound.needs(audio, "audio_visual's method.audio")
  view, judge = sound.view(segment, speed, snr, mixed, gain), heads.MLP((hidden, 1))

  def views(rng, batch):
    r_image, r_sound = jax.random.split(rng)
    return {"image": pretext.first_view(aug, r_image, batch["image"]),
            "audio": view(r_sound, augment.to_float(batch["audio"])),
            "whole": towers.there(batch["image"]) & towers.there(batch["audio"])}

  def correspondence(za, zb, whole, learnt):                 # each image with its own sound, and with the one before
    both = jnp.concatenate([jnp.concatenate([za, zb], 1), jnp.concatenate([za, jnp.roll(zb, 1, 0)], 1)])
    out = judge.apply({"params": learnt}, both)[:, 0]                                   # [2B]
    true = jnp.repeat(jnp.array([1.0, 0.0], out.dtype), len(za))
    weight = jnp.concatenate([whole, whole & jnp.roll(whole, 1)])
    value = words.share(optax.sigmoid_binary_cross_entropy(out, true), weight)
    return value, {"correspondence_accuracy": words.share(((out > 0) == (true > 0)).astype(out.dtype), weight)}

  learnt = lambda rng: base.init(judge, rng, jnp.zeros((1, 2 * width)))[0]
  objective, learnt = ((correspondence, learnt) if target == "correspondence" else towers.symmetric(temperature))

  def show(views):
    return {"view": views["image"], "spectrogram": sound.upright(audio.picture(views["audio"])),
            "sound": base.Sound(views["audio"][:8], audio.rate)}
  return towers.contrast({"image": encoder, "audio": audio}, views, objective, width=width, learnt=learnt, show=show,
                         compared=target == "contrast")
