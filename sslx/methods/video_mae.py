"""VideoMAE (Tong et al., 2022): MAE on clips, where a patch is hidden through all frames, a tube."""

import jax
import jax.numpy as jnp

from sslx import augment, errors
from sslx.augment import mask, recipes, video
from sslx.encoders import video_vit
from sslx.methods import base, clips, mae, masked, pretext

CITE = """@inproceedings{tong2022videomae,
  title={{VideoMAE}: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training},
  author={Tong, Zhan and Song, Yibing and Wang, Jue and Wang, Limin},
  booktitle={NeurIPS}, year={2022}}"""


def make(encoder, *, ratio=0.9, normalise=True, width=384, depth=4, heads=6, aug=recipes.mae()):
  """VideoMAE on a video ViT.

  Args:
    ratio: share of the places that is hidden, the same ones at all times.
    normalise: predict pixels by each tubelet's own mean and deviation.
    width, depth, heads: of the decoder's blocks.
    aug: (key, image) -> view, drawn once a clip, before it is masked.
  """
  clips.needs_video(encoder, "video_mae")
  if not hasattr(encoder, "tube"):
    raise errors.UsageError(f"video_mae hides tubelets, and {type(encoder).__name__} has none: set encoder.name to a "
                            "video ViT, such as video_vit_s")
  number = masked.counted(ratio)
  cut = lambda x: video_vit.tubelets(x, encoder.tube, encoder.patch)

  def net(x):
    (t, h, w), P = encoder.grid(x.shape), encoder.tube * encoder.patch**2 * x.shape[-1]
    return mae.Coder(encoder, (width, depth, heads), t * number(h, w), (t, h, w), P)

  def views(rng, batch):
    r_aug, r_mask = jax.random.split(rng)
    x = pretext.first_view(video.alike(aug), r_aug, batch["video"])                     # [B, T, H, W, C]
    t, h, w = encoder.grid(x.shape)
    hide = mask.random_patches(r_mask, (len(x), h, w), count=number(h, w))
    return {"video": x, "mask": jnp.tile(hide, (1, t, 1))}                              # [B, t h, w]

  def init(rng, batch):
    x = jax.eval_shape(views, rng, batch)["video"]
    params, stats = base.init(net(x), rng, x)
    return {"net": params}, {"net": stats}

  def predict(params, state, views, rng=None):
    """(out, target [B, count, P], their places, what was normalised away [B, T, 2], stats)."""
    x = views["video"]
    (out, hidden), stats = base.forward(net(x), params["net"], state["net"], x, views["mask"], rng=rng)
    target = cut(augment.normalize(x, encoder.mean, encoder.std))                       # [B, T, P]
    scale = jnp.stack([target.mean(-1), jnp.sqrt(target.var(-1) + 1e-6)], -1)
    target = masked.normalised(target) if normalise else target
    return out, jnp.take_along_axis(target, hidden[..., None], 1), hidden, scale, stats

  def loss(params, state, views, rng, progress):
    out, target, _, _, stats = predict(params, state, views, rng)
    value = jnp.mean((out - target) ** 2)
    return value, ({"net": stats}, {"r2": 1 - value / jnp.mean((target - target.mean((0, 1))) ** 2)})

  def show(params, state, views):
    """Where targets were normalised, mean and deviation of a tubelet are those of the clip: they were not predicted."""
    x, hide = views["video"], views["mask"].reshape(len(views["video"]), -1, 1)
    out, _, hidden, scale, _ = predict(params, state, views)
    scale = jnp.take_along_axis(scale, hidden[..., None], 1)
    out = out * scale[..., 1:] + scale[..., :1] if normalise else out
    put = jax.vmap(lambda patches, places, new: patches.at[places].set(new))
    painted = put(jnp.zeros(cut(x).shape, out.dtype), hidden, out)
    whole = lambda patches: video_vit.untubelets(patches, encoder.tube, encoder.patch, encoder.grid(x.shape))
    zero, one = (augment.normalize(jnp.full_like(x, v), encoder.mean, encoder.std) for v in (0.0, 1.0))
    painted = cut((whole(painted) - zero) / (one - zero)).clip(0, 1)
    shown = (("input", 0.5), ("output", painted))
    return {"original": x} | {name: whole(jnp.where(hide, by, cut(x))) for name, by in shown}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state, "video"),
                     reads=("video",), show=show)
