"""SRGAN (Ledig et al., 2017): an image from a small copy of it, by squared error, then by features and a critic."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import augment, errors, heads, losses
from sslx.augment import recipes
from sslx.losses.batch import wide
from sslx.methods import base, pretext

CITE = r"""@inproceedings{ledig2017srgan,
  title={Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network},
  author={Ledig, Christian and Theis, Lucas and Husz{\'a}r, Ferenc and Caballero, Jose and Cunningham, Andrew and
    Acosta, Alejandro and Aitken, Andrew and Tejani, Alykhan and Totz, Johannes and Wang, Zehan and Shi, Wenzhe},
  booktitle={CVPR}, year={2017}}"""


class Generator(nn.Module):
  """An encoder's maps of the small image and an upscaler on them."""
  encoder: nn.Module
  upscaler: nn.Module

  def __call__(self, x, train=False):
    return self.upscaler(x, maps(self.encoder.features(x, train)), train)


def maps(features):
  """The maps [B, h, w, D] among an encoder's features; the last is there once, as its stage or as the grid."""
  stages = [v for k, v in features.items() if k.startswith("stage")]
  return stages or [features["grid"]]


def luma(image):
  """Y of BT.601 from 16/255 to 235/255, on which this field measures, without 4 pixels at each edge."""
  y = (16 + 219 * augment.to_grayscale(image)[..., :1]) / 255
  return y[..., 4:-4, 4:-4, :] if min(y.shape[-3:-1]) > 16 else y


def distance(x, y):
  """The mean over maps of the squared distance, as a share of the mean square of those of y."""
  share = lambda a, b: jnp.mean((a - b) ** 2) / jnp.maximum(jnp.mean(b**2), 1e-12)
  return base.mean(share(a, b) for a, b in zip(x, y, strict=True))


def make(encoder, *, factor=2, objective="joint", switch=0.5, lambda_adv=0.001, judge="", crop=0, width=64, blocks=4,
         norm=True, critic_width=32, aug=recipes.mae(scale=(1.0, 1.0))):
  """Super-resolution on `encoder`, which sees the small image.

  Args:
    factor: how many times larger the image becomes, 2 or 4.
    objective: "l2"; "perceptual", from `switch` on the distance in a frozen encoder's features in its place; "joint",
      with `lambda_adv` of a critic's verdict besides.
    switch: share of the run that is spent on the squared error first.
    judge: folder of a run or of its encoder, which must stay where it is; frozen, its features are compared. "" for one
      like `encoder`, at random initialisation. Its weights are part of the run's state.
    crop: side in pixels of what is cut from the view at random, at the view's own scale; 0 for the whole.
    width, blocks, norm: channels and residual blocks of the upscaler, and whether there is batch norm in them.
    critic_width: channels of the critic's first layer.
    aug: (key, image) -> view, the image that is to come back.
  """
  if factor not in (2, 4):
    raise errors.unknown("factor", factor, (2, 4))
  if objective not in ("l2", "perceptual", "joint"):
    raise errors.unknown("objective", objective, ("l2", "perceptual", "joint"))
  pretext.needs_grid(encoder, "super_resolution")
  net = Generator(encoder, heads.Upscaler(factor, width, blocks, norm))
  critic = heads.Critic(critic_width) if objective == "joint" else None
  frozen, known = encoder, None
  if judge and objective != "l2":
    from sslx import checkpoint  # which is above methods, and needed by this option alone
    record = checkpoint.load_encoder(judge)
    frozen, known = record.module, record.variables

  def views(rng, batch):
    r_aug, r_crop = jax.random.split(rng)
    x = recipes.views(aug, r_aug, batch["image"], number=1)[0]                          # [B, V, h, w, C]
    h, w = (n // factor * factor for n in ((crop, crop) if crop else x.shape[2:4]))
    if not 0 < h <= x.shape[2] or not 0 < w <= x.shape[3]:
      raise errors.UsageError(f"views of {x.shape[2]}x{x.shape[3]} pixels have no crop of {crop or factor}: "
                              "method.crop must be smaller, or data.size larger")
    room = jnp.array([x.shape[2] - h + 1, x.shape[3] - w + 1])
    at = jax.random.randint(r_crop, (*x.shape[:2], 2), 0, room)
    x = augment.pad_and_crop(x, at[..., 0], at[..., 1], padding=0, size=(h, w))
    return {"image": (x,), "small": augment.resize(x, (h // factor, w // factor), method="bicubic")}

  def init(rng, batch):
    r_views, r_net, r_critic, r_judge = jax.random.split(rng, 4)
    made = jax.eval_shape(views, r_views, batch)
    small, large = (jax.ShapeDtypeStruct((1, *x.shape[2:]), x.dtype) for x in (made["small"], made["image"][0]))
    params, state = {}, {}
    params["net"], state["net"] = base.init(net, r_net, small)
    if critic:
      params["critic"], state["critic"] = base.init(critic, r_critic, large)
    if objective != "l2":
      start = lambda: dict(zip(("params", "stats"), base.init(frozen, r_judge, large), strict=True))
      state["judge"] = start() if known is None else jax.tree.map(jnp.array, {
          "params": known["params"], "stats": {k: v for k, v in known.items() if k != "params"}})
    return params, state

  def enlarge(params, state, views, rng=None):
    small = views["small"].reshape(-1, *views["small"].shape[2:])
    out, stats = base.forward(net, params["net"], state["net"], small, rng=rng)
    return small, out, {**state, "net": stats}

  def seen(state, x):                                                                   # by the judge
    variables = {"params": state["judge"]["params"], **state["judge"]["stats"]}
    return [wide(m) for m in maps(frozen.apply(variables, x, train=False, method="features"))]

  def loss(params, state, views, rng, progress):
    x = views["image"][0].reshape(-1, *views["image"][0].shape[2:])
    small, out, state = enlarge(params, state, views, rng)
    shown, plain = jnp.clip(out, 0, 1), jnp.clip(augment.resize(small, x.shape[1:3], method="bicubic"), 0, 1)
    value = l2 = jnp.mean((out - x) ** 2)
    metrics = {f"{measure.__name__}{name}": measure(luma(y), luma(x))
               for measure in (losses.psnr, losses.ssim) for name, y in (("", shown), ("_bicubic", plain))}
    if objective != "l2":
      want = jax.lax.stop_gradient(seen(state, x))
      late = jnp.asarray(progress >= switch, x.dtype)
      perceptual = distance(seen(state, out), want)
      metrics |= {"perceptual": perceptual, "perceptual_bicubic": distance(seen(state, plain), want)}
      value = late * perceptual + (1 - late) * l2
    if critic:
      generator, critics, stats, found = pretext.rivals(critic, params["critic"], state["critic"], x, out)
      value, state = value + late * lambda_adv * generator + critics, state | {"critic": stats}
      metrics |= found
    return value, (state, {"l2": l2} | metrics)

  def show(params, state, views):
    small, out, _ = enlarge(params, state, views)
    x = views["image"][0]
    every = slice(None, None, x.shape[1])                                               # the first view of each image
    bicubic = augment.resize(small[every], x.shape[2:4], method="bicubic")
    return {"original": x[:, 0], "input": augment.resize(small[every], x.shape[2:4], method="nearest"),
            "bicubic": bicubic, "output": jnp.clip(out[every], 0, 1)}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state), show=show)
