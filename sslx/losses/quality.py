"""How close images are, as papers on restoration measure it. Images are [B, H, W, C] in [0, 1]."""

import chex
import jax.numpy as jnp
import numpy as np

from sslx.losses.batch import agreed, wide


def weighted_l2(predicted, target, weight, *, axis_name=None):
  """Context encoders (Pathak et al., 2016, eq. 1): the squared error, a mean by weight over all places of the batch.

  Args:
    predicted, target: [..., C].
    weight: [...], of each place, not negative and not all 0.
  """
  return _weighted(lambda d: d**2, predicted, target, weight, axis_name)


def weighted_l1(predicted, target, weight, *, axis_name=None):
  """SimMIM (Xie et al., 2022): the absolute error, a mean by weight as in `weighted_l2`, whose arguments it has."""
  return _weighted(jnp.abs, predicted, target, weight, axis_name)


def smooth_l1(predicted, target, weight, *, beta=1.0, axis_name=None):
  """data2vec (Baevski et al., 2022, eq. 4): d^2 / (2 beta) up to beta, then |d| - beta / 2; a mean by weight.

  Args:
    predicted, target, weight: as of `weighted_l2`.
    beta: the error from which it counts linearly, above 0.
  """
  def error(d):
    d = jnp.abs(d)
    return jnp.where(d < beta, d**2 / (2 * beta), d - beta / 2)
  return _weighted(error, predicted, target, weight, axis_name)


def _weighted(error, predicted, target, weight, axis_name):
  """The mean over channels of error(predicted - target), and by weight over places."""
  chex.assert_equal_shape([predicted, target])
  chex.assert_shape(weight, predicted.shape[:-1])
  weight = wide(weight)
  total = jnp.sum(weight * jnp.mean(error(wide(predicted) - wide(target)), -1))
  return agreed(total, axis_name) / agreed(jnp.sum(weight), axis_name)


def scale_invariant(predicted, target, weight=None, *, share=0.5):
  """Depth's error up to scale (Eigen et al., 2014, eq. 4): mean(d^2) - share mean(d)^2, the mean over images.

  Args:
    predicted, target: [B, ...], logarithms of depth, whose difference is d.
    weight: [B, ...], of each place, not negative; an image without any counts as 0. None: all alike.
    share: of the mean difference's square that is taken off: 0 for the plain squared error, 1 for one that no scale
      changes; the paper trains with 0.5.
  """
  chex.assert_equal_shape([predicted, target])
  d = (wide(predicted) - wide(target)).reshape(len(target), -1)
  weight = jnp.ones_like(d) if weight is None else wide(weight).reshape(d.shape)
  weight = weight / jnp.maximum(jnp.sum(weight, -1, keepdims=True), 1e-12)
  return jnp.mean(jnp.sum(weight * d**2, -1) - share * jnp.sum(weight * d, -1) ** 2)


def psnr(image, target):
  """Peak signal-to-noise ratio in dB of a peak of 1, as in Ledig et al. (2017): the mean of that of each image."""
  chex.assert_equal_shape([image, target])
  square = jnp.mean((wide(image) - wide(target)) ** 2, (-3, -2, -1))
  return jnp.mean(-10 * jnp.log10(jnp.maximum(square, 1e-12)))


def ssim(image, target, *, window=11, sigma=1.5):
  """Structural similarity (Wang et al., 2004, eq. 13) under a Gaussian window, at most 1, for the same image.

  K1 = 0.01, K2 = 0.03, peak 1; channels apart; only places where the window fits. Images smaller than the window have
  the largest odd one that fits.
  """
  chex.assert_equal_shape([image, target])
  x, y = wide(image), wide(target)
  side = min(window, *(n - 1 + n % 2 for n in x.shape[-3:-1]))
  weight = np.exp(-0.5 * (np.arange(side) - side // 2) ** 2 / sigma**2)
  weight /= weight.sum()
  rows, cols = (jnp.asarray(sum(w * np.eye(n - side + 1, n, i) for i, w in enumerate(weight)), x.dtype)
                for n in x.shape[-3:-1])
  mean = lambda v: jnp.einsum("ih,...hwc,jw->...ijc", rows, v, cols, precision="highest")
  mx, my = mean(x), mean(y)
  vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
  c1, c2 = 0.01**2, 0.03**2
  return jnp.mean((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
