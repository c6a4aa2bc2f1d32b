"""Frame prediction (Liu et al., 2017): a frame after, before or between others, which are moved to make it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sslx import errors, heads, losses
from sslx.augment import geometry, recipes, video
from sslx.methods import base, clips, pretext

CITE = """@inproceedings{liu2017voxelflow,
  title={Video Frame Synthesis Using Deep Voxel Flow},
  author={Liu, Ziwei and Yeh, Raymond A. and Tang, Xiaoou and Liu, Yiming and Agarwala, Aseem},
  booktitle={ICCV}, year={2017}}"""


class Predictor(nn.Module):
  """Frames x [B, n, H, W, C] -> a frame [B, H, W, C], from the maps of all stages of the encoder and places in them.

  how: "warp": a mix, a share each, of the given frames moved by a flow and of a painted one; "change": the frame
  `nearest` to it and a change; "pixels": painted. Flows, shares and what is mixed in are decoded at half of the size;
  flows are in sixteenths of the short side.
  """
  encoder: nn.Module
  how: str
  nearest: int
  width: int

  @nn.compact
  def __call__(self, x, train=False):
    B, n, H, W, C = x.shape
    conv = lambda side, name: nn.Conv(2 * self.width, (side, side), param_dtype=jnp.result_type(float), name=name)
    stages, y = [m for k, m in self.encoder.features(x, train).items() if k.startswith("stage")], None
    for i, m in enumerate(sorted(stages, key=lambda m: m.shape[2])):                    # the coarsest first
      m = jnp.moveaxis(m, 1, 3).reshape(B, *m.shape[2:4], -1)                           # time goes into the channels
      place = jnp.stack(jnp.meshgrid(*(jnp.linspace(-1, 1, s) for s in m.shape[1:3]), indexing="ij"), -1)
      place = jnp.broadcast_to(place.astype(m.dtype), (*m.shape[:3], 2))
      m = conv(1, f"lateral{i + 1}")(jnp.concatenate([m, place], -1))
      y = m if y is None else m + jax.image.resize(y, m.shape, "bilinear")
      y = nn.relu(conv(3, f"merged{i + 1}")(y))
    decode = lambda *size: heads.Decoder(size, self.width, name="decoder")(y, train)
    if self.how != "warp":
      return decode(H, W, C) + (x[:, self.nearest] if self.how == "change" else 0.5)
    out = decode(-(-H // 2), -(-W // 2), C + 3 * n + 1)
    out = jax.image.resize(out, (B, H, W, out.shape[-1]), "bilinear")
    painted, flow, share = out[..., :C], out[..., C:C + 2 * n], out[..., C + 2 * n:]
    x = x.astype(out.dtype)
    flow = flow.reshape(B, H, W, n, 2) * (min(H, W) / 16)
    at = [jnp.clip(g[..., None] + flow[..., i], 0, size - 1)                            # [B, H, W, n]
          for i, (g, size) in enumerate(zip(jnp.mgrid[:H, :W], (H, W), strict=True))]
    moved = geometry.sample(x, *(jnp.moveaxis(v, 3, 1) for v in reversed(at)))          # [B, n, H, W, C]
    every = jnp.concatenate([moved, painted[:, None] + 0.5], 1)
    share = jax.nn.softmax(share + 2 * jax.nn.one_hot(self.nearest, n + 1))
    return jnp.einsum("bhwn,bnhwc->bhwc", share, every)


def network(encoder, given, target, how="warp", width=32):
  """The Predictor of a frame at `target` from those `given`; of two that are as near the first is the nearest."""
  return Predictor(encoder, how, min(range(len(given)), key=lambda i: abs(given[i] - target)), width)


def make(encoder, *, given=(-1, 0), target=1, how="warp", width=32, aug=recipes.mae(scale=(1.0, 1.0))):
  """Frame prediction on an encoder of video, which sees the given frames alone.

  Args:
    given, target: places in time, in frames, of those that are seen and of the one that is not: after them, as by
      default, before them, target=-2, or between, given=(-1, 1), target=0. Clips may be longer: they lie anywhere.
    how: "warp" (given frames, moved), "change" (of the nearest given frame) or "pixels".
    width: channels of the decoder at full size.
    aug: (key, image) -> view, drawn once a clip.
  """
  clips.needs_video(encoder, "frame_prediction")
  if how not in ("warp", "change", "pixels"):
    raise errors.unknown("how", how, ("warp", "change", "pixels"))
  if not given or target in given or len(set(given)) < len(given):
    raise errors.UsageError(f"given is {tuple(given)} and target {target}: they must be different places in time, such "
                            "as (-1, 0) and 1")
  first, last = min(*given, target), max(*given, target)
  net = network(encoder, given, target, how, width)

  def views(rng, batch):
    r_start, r_aug = jax.random.split(rng)
    x = batch["video"]
    video.fits(last - first + 1, x.shape[1])
    start = jax.random.randint(r_start, (len(x),), 0, x.shape[1] - (last - first))
    x = video.taken(x, start[:, None] + jnp.array([*given, target]) - first)
    x = pretext.first_view(video.alike(aug), r_aug, x)                                  # [B, n + 1, h, w, C]
    return {"video": x[:, :-1], "target": x[:, -1]}

  def init(rng, batch):
    params, stats = base.init(net, rng, jax.eval_shape(views, rng, batch)["video"])
    return {"net": params}, {"net": stats}

  def loss(params, state, views, rng, progress):
    out, stats = base.forward(net, params["net"], state["net"], views["video"], rng=rng)
    copy, wanted = views["video"][:, net.nearest], views["target"]
    value = jnp.mean((out - wanted) ** 2)
    return value, ({"net": stats}, {"l2": value, "l2_copy": jnp.mean((copy - wanted) ** 2),
                                    "psnr": losses.psnr(out.clip(0, 1), wanted)})

  def show(params, state, views):
    out, _ = base.forward(net, params["net"], state["net"], views["video"])
    return {"given": views["video"], "target": views["target"], "predicted": out.clip(0, 1)}

  return base.Method(init, views, loss, lambda params, state: base.kept("net", params, state, "video"),
                     reads=("video",), show=show)
