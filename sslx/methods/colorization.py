"""Colorization (Zhang et al., 2016): the colours of an image from its lightness."""

import jax
import jax.numpy as jnp

from sslx import augment, errors, heads
from sslx.augment import lab, recipes
from sslx.methods import base, pretext

CITE = """@inproceedings{zhang2016colorful,
  title={Colorful Image Colorization},
  author={Zhang, Richard and Isola, Phillip and Efros, Alexei A.},
  booktitle={ECCV}, year={2016}}"""


SPREAD = 16.0                                                # deviation of a and b over natural images, about


def soft(ab, bins, sigma, number=5):
  """(index, weight) [..., number] of the bins [Q, 2] nearest to ab [..., 2], the nearest first; weights sum to one."""
  square = jnp.sum((ab[..., None, :] - bins) ** 2, -1)                                  # [..., Q]
  near, index = jax.lax.top_k(-square, number)
  return index, jax.nn.softmax(near / (2 * sigma**2))


def annealed_mean(logits, bins, temperature):
  """The mean of the bins [Q, 2] under the sharpened distribution: logits [..., Q] -> ab [..., 2]."""
  return jnp.einsum("...q,qc->...c", jax.nn.softmax(logits / temperature), bins, precision="highest")


def weights(prior, uniform):
  """Class weights [Q] that are rarer colours' the larger, of mean one under the prior [Q] (eq. 4)."""
  w = 1 / ((1 - uniform) * prior + uniform / len(prior))
  return w / jnp.sum(prior * w)


def auc(away, weight=1.0):
  """The area under the share of places [..., 2] that are right within 0 to 150 units of ab, at most 1 (section 3.1).

  weight: of each place [...]; one over how often its colour is seen makes colours count alike, as the paper's
    class-balanced variant does by the training set's.
  """
  right = jnp.maximum(1 - jnp.linalg.norm(away, axis=-1) / 150, 0)
  weight = jnp.broadcast_to(weight, right.shape)
  return jnp.sum(weight * right) / jnp.sum(weight)


def make(encoder, *, objective="classes", uniform=0.5, kept=0.99, temperature=0.38, sigma=5.0, reduce=4, width=32,
         aug=recipes.mae()):
  """Colorization on `encoder`, which sees the lightness in every channel. Images that are not RGB have no colours.

  Args:
    objective: "classes", a distribution over bins of colours at every place; or "l2", the colour itself.
    uniform: share of the uniform distribution in the one that rare colours are weighed by; 1 weighs all alike.
    kept: share of the old distribution of colours that is kept at each step; it is learnt from the data as they come.
    temperature: of the annealed mean that gives a colour for a distribution.
    sigma: of the Gaussian that spreads a true colour over its five nearest bins.
    reduce: how many times smaller than the view the predicted map is.
    width: channels of the decoder at full size.
    aug: (key, image) -> view.
  """
  if objective not in ("classes", "l2"):
    raise errors.unknown("objective", objective, ("classes", "l2"))
  pretext.needs_grid(encoder, "colorization")
  if reduce < 1:
    raise errors.UsageError(f"reduce is {reduce}: it must be 1 or more")
  bins = lab.bins()
  outputs = len(bins) if objective == "classes" else 2

  def net(x):
    return pretext.Painter(encoder, heads.Decoder((-(-x.shape[1] // reduce), -(-x.shape[2] // reduce), outputs), width))

  def views(rng, batch):
    x = recipes.views(aug, rng, batch["image"], number=1)[0]                            # [B, V, h, w, C]
    rgb = x if x.shape[-1] == 3 else jnp.broadcast_to(x.mean(-1, keepdims=True), (*x.shape[:-1], 3))
    light, ab = jnp.split(lab.rgb_to_lab(rgb), [1], -1)
    small = (-(-x.shape[2] // reduce), -(-x.shape[3] // reduce))
    grey = jnp.broadcast_to(light / 100, x.shape)
    return {"image": (x,), "grey": grey, "ab": augment.resize(ab, small)}

  def init(rng, batch):
    r_views, r_net = jax.random.split(rng)
    x = jax.eval_shape(views, r_views, batch)["grey"]
    x = jax.ShapeDtypeStruct((1, *x.shape[2:]), x.dtype)
    params, stats = base.init(net(x), r_net, x)
    state = {"prior": jnp.full(len(bins), 1 / len(bins), float)} if objective == "classes" else {}
    return {"net": params}, {"net": stats, **state}

  def answer(params, state, views, rng=None):
    x = views["grey"].reshape(-1, *views["grey"].shape[2:])
    return base.forward(net(x), params["net"], state["net"], x, rng=rng)

  def color(out):
    return annealed_mean(out, bins, temperature) if objective == "classes" else SPREAD * out

  def loss(params, state, views, rng, progress):
    out, stats = answer(params, state, views, rng)
    ab, state, metrics = views["ab"].reshape(*out.shape[:-1], 2), {**state, "net": stats}, {}
    index, share = soft(ab, bins, sigma)                                                # [B, h, w, 5]
    each = jax.vmap(lambda i, s: jnp.zeros(len(bins), s.dtype).at[i.ravel()].add(s.ravel()) / s[..., 0].size)
    seen = jnp.mean(each(index, share), 0)                                              # an image at a time: short sums
    if objective == "classes":
      state["prior"] = kept * state["prior"] + (1 - kept) * seen.astype(state["prior"].dtype)
      cross = jax.nn.logsumexp(out, -1) - jnp.sum(share * jnp.take_along_axis(out, index, -1), -1)
      value = jnp.mean(weights(state["prior"], uniform)[index[..., 0]] * cross)
      best = jax.lax.top_k(jax.lax.stop_gradient(out), 5)[1]
      metrics["top5"] = jnp.mean(jnp.any(best == index[..., :1], -1), dtype=value.dtype)
    else:
      value = jnp.mean(jnp.sum((out - ab / SPREAD) ** 2, -1)) / 2
    away = {"": jax.lax.stop_gradient(color(out)) - ab, "_of_mean": ab - ab.mean((0, 1, 2)), "_of_grey": ab}
    rare = 1 / seen[index[..., 0]]                             # every colour of these images weighs the same
    for name, v in away.items():
      metrics |= {f"ab_rmse{name}": jnp.sqrt(jnp.mean(jnp.sum(v**2, -1))), f"auc{name}": auc(v),
                  f"auc_balanced{name}": auc(v, rare)}
    return value, (state, metrics)

  def show(params, state, views):
    light = 100 * views["grey"][:, 0, ..., :1]
    ab = color(answer(params, state, views)[0])[::views["grey"].shape[1]]
    ab = augment.resize(ab, light.shape[1:3])
    painted = lab.lab_to_rgb(jnp.concatenate([light, ab], -1))
    return {"original": views["image"][0][:, 0], "input": views["grey"][:, 0], "output": painted}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state), show=show)
