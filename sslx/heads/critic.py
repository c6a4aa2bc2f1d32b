"""Critics: is this image real?"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp


class Critic(nn.Module):
  """The discriminator of DCGAN (Radford et al., 2016): x [B, H, W, C] in [0, 1] -> logits [B], above 0 for real.

  4x4 convolutions of stride 2 with leaky ReLUs, until the sides are at most 4; `width` channels at first, twice as many
  each time, to 8 times. Batch norm in all but the first.
  """
  width: int = 32
  norm: bool = True
  axis_name: Any = None

  @nn.compact
  def __call__(self, x, train=False):
    wide, i = jnp.result_type(float), 0
    x = 2 * x - 1
    while i == 0 or max(x.shape[1:3]) > 4:
      normed = self.norm and i > 0
      x = nn.Conv(self.width * 2 ** min(i, 3), (4, 4), 2, use_bias=not normed, param_dtype=wide, name=f"conv{i + 1}")(x)
      if normed:
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, param_dtype=wide, name=f"norm{i + 1}",
                         axis_name=self.axis_name if train else None)(x)
      x, i = nn.leaky_relu(x, 0.2), i + 1
    return nn.Dense(1, param_dtype=wide, name="dense")(x.reshape(len(x), -1))[:, 0]
