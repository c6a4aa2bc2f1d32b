"""ResNet (He et al., 2016), in torchvision's form: the stride of a bottleneck sits on its 3x3 convolution."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sslx import errors
from sslx.augment.color import normalize
from sslx.encoders.convolution import convolve

VARIANTS = {  # name: (blocks a stage, bottleneck), and how much wider a bottleneck is inside
    "resnet10": ((1, 1, 1, 1), False), "resnet18": ((2, 2, 2, 2), False), "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True), "resnet101": ((3, 4, 23, 3), True), "resnet152": ((3, 8, 36, 3), True),
    "wide_resnet50_2": ((3, 4, 6, 3), True, 2), "wide_resnet101_2": ((3, 4, 23, 3), True, 2)}
STEMS = ("imagenet", "small", "small_pad2")


def make(variant, *, width=64, stem="imagenet", zero_init=False, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
         dtype=None, axis_name=None):
  """A ResNet of `variant`.

  Args:
    variant: (blocks a stage, bottleneck) and, for wide ones (Zagoruyko & Komodakis, 2016), their factor; see VARIANTS.
    width: channels of the first stage; D = 8 * width, or 32 * width with bottlenecks.
    stem: "imagenet" (7x7 stride 2, max-pool) or "small" (3x3 stride 1, no pool), for images of 64 pixels or less;
      "small_pad2" is solo-learn's, whose border is two pixels wide.
    zero_init: start every residual branch at zero (Goyal et al., 2017).
    mean, std: of the image in [0, 1], a channel each; one number, or the mean of the three, serves any channel count.
    dtype: of activations and products, "bfloat16" say; None keeps that of the parameters.
    axis_name: axis over which batch statistics are shared under pmap and shard_map; under jit they are global anyway.
  """
  if stem not in STEMS:
    raise errors.unknown("stem", stem, STEMS)
  blocks, bottleneck, *inner = variant
  return ResNet(blocks, bottleneck, width, stem, zero_init, tuple(mean), tuple(std), dtype, axis_name, *inner)


class ResNet(nn.Module):
  blocks: tuple
  bottleneck: bool
  width: int
  stem: str
  zero_init: bool
  mean: tuple
  std: tuple
  dtype: Any = None
  axis_name: Any = None
  inner: int = 1

  def __call__(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> [B, D]."""
    return self.features(x, train)["pooled"]

  @nn.compact
  def features(self, x, train=False):
    """x [B, H, W, C] in [0, 1] -> {"stage1" .. "stage4" and "grid" [B, h, w, Di], "pooled" [B, D]}."""
    wide = jnp.result_type(float)
    conv = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype, param_dtype=wide, conv_general_dilated=convolve,
                             kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal", dtype=wide))
    norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype,
                             param_dtype=wide, axis_name=self.axis_name if train else None)
    x = normalize(x, self.mean, self.std)
    if self.stem != "imagenet":
      border = 2 if self.stem == "small_pad2" else 1
      x = nn.relu(norm(name="stem_norm")(conv(self.width, (3, 3), padding=border, name="stem_conv")(x)))
    else:
      x = nn.relu(norm(name="stem_norm")(conv(self.width, (7, 7), 2, padding=3, name="stem_conv")(x)))
      x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    out = {}
    for stage, count in enumerate(self.blocks):
      for i in range(count):
        stride = 2 if stage and i == 0 else 1
        x = self.block(x, self.width * 2 ** stage, stride, conv, norm, f"stage{stage + 1}_block{i + 1}")
      out[f"stage{stage + 1}"] = x
    return out | {"grid": x, "pooled": jnp.mean(x, (1, 2))}

  def block(self, x, width, stride, conv, norm, name):
    last = functools.partial(norm, scale_init=nn.initializers.zeros if self.zero_init else nn.initializers.ones)
    if self.bottleneck:
      inner, out = self.inner * width, 4 * width
      plan = [((1, 1), 1, inner), ((3, 3), stride, inner), ((1, 1), 1, out)]
    else:
      plan, out = [((3, 3), stride, width), ((3, 3), 1, width)], width
    y = x
    for i, (kernel, step, channels) in enumerate(plan, 1):
      y = conv(channels, kernel, step, padding=kernel[0] // 2, name=f"{name}_conv{i}")(y)
      y = (last if i == len(plan) else norm)(name=f"{name}_norm{i}")(y)
      y = nn.relu(y) if i < len(plan) else y
    if x.shape[-1] != out or stride != 1:
      x = norm(name=f"{name}_skip_norm")(conv(out, (1, 1), stride, name=f"{name}_skip_conv")(x))
    return nn.relu(x + y)
