"""COLA (Saeed et al., 2021): two stretches of one recording belong together, by a learnt or a cosine similarity."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import augment, losses
from sslx.augment import spectrum
from sslx.methods import base, sound

CITE = """@inproceedings{saeed2021cola,
  title={Contrastive Learning of General-Purpose Audio Representations},
  author={Saeed, Aaqib and Grangier, David and Zeghidour, Neil},
  booktitle={ICASSP}, year={2021}}"""


class Projector(nn.Module):
  """A dense layer, layer norm (or `batch` norm) and tanh: [B, D] -> [B, K], never below float32."""
  width: int
  batch: bool = False

  @nn.compact
  def __call__(self, x, train=False):
    wide = jnp.result_type(float)
    x = nn.Dense(self.width, param_dtype=wide, name="dense")(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    norm = (nn.BatchNorm(use_running_average=not train, momentum=0.9, param_dtype=wide, name="norm") if self.batch else
            nn.LayerNorm(param_dtype=wide, name="norm"))
    return jnp.tanh(norm(x))


def make(encoder, *, segment=0.75, speed=(0.8, 1.25), snr=(5.0, 30.0), mixed=(), gain=(), stripes=2, widest=0.2,
         width=512, temperature=0.0, batch_norm=False):
  """COLA on an encoder of sound.

  Args:
    segment: length of the two stretches, a share of the recording's.
    speed: range of the speeds at which they are read, (1, 1) for their own; pitch moves with it.
    snr: range of decibels of white noise below each, () for none. mixed: of another recording below it. gain: by which
      it is louder.
    stripes, widest: of the spectrogram's frequencies, and of its frames, that are hidden; 0 for none.
    width: K of the projection.
    temperature: of the cosine similarity; 0 for the bilinear one, which the paper prefers.
    batch_norm: in place of layer norm before the projection's tanh; small encoders learn far faster with it.

  The paper has neither speed, noise, gain nor stripes, and stretches of 0.96 s out of 10.
  """
  sound.needs(encoder, "cola")
  net = base.Network(encoder.trunk, Projector(width, batch_norm))
  view = sound.view(segment, speed, snr, mixed, gain)
  bilinear = nn.Dense(width, use_bias=False, param_dtype=jnp.result_type(float),        # so that all start as likely
                      kernel_init=nn.initializers.normal(1 / width))

  def views(rng, batch):
    wave, (r_wave, r_mask) = augment.to_float(batch["audio"]), jax.random.split(rng)
    x = jnp.stack([view(r, wave) for r in jax.random.split(r_wave)], 1)                 # [B, 2, S]
    shape = jax.eval_shape(encoder.picture, x).shape[:-1]
    return {"audio": x, "mask": spectrum.random_stripes(r_mask, shape, time=stripes, frequency=stripes, widest=widest)}

  def seen(views):                                                                      # [B, 2, mels, n, 1]
    return jnp.where(views["mask"][..., None], 0.0, encoder.picture(views["audio"]))

  def init(rng, batch):
    r_net, r_bilinear = jax.random.split(rng)
    x = jax.eval_shape(lambda: seen(views(rng, batch)))
    params, stats = base.init(net, r_net, jax.ShapeDtypeStruct((1, *x.shape[2:]), x.dtype))
    params, state = {"net": params}, {"net": stats}
    if not temperature:
      params["similarity"] = base.init(bilinear, r_bilinear, jax.ShapeDtypeStruct((1, width), x.dtype))[0]
    return params, state

  def loss(params, state, views, rng, progress):
    z, stats = base.encode(net, params["net"], state["net"], (seen(views),), rng=rng)   # [2, B, K]
    query, key = z
    if temperature:
      query, key = losses.unit(query) / temperature, losses.unit(key)
    else:
      query = bilinear.apply({"params": params["similarity"]}, query)
    accuracy = jnp.mean(jnp.argmax(jax.lax.stop_gradient(query @ key.T), -1) == jnp.arange(len(query)), dtype=z.dtype)
    value = losses.cola(query, key)
    return value, ({"net": stats}, {"accuracy": accuracy, "z_std": losses.feature_std(z[0])})

  def show(params, state, views):
    x = seen(views)
    return {f"stretch {i + 1}": sound.upright(x[:, i]) for i in range(2)}

  kept = lambda params, state: sound.kept(base.kept("net", params, state))
  return base.Method(init, views, loss, kept, ("audio",), show=show)
