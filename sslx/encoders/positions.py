"""Where a token is: sine-cosine positions along a line, over a grid, through a clip; rotary angles; learnt ones."""

import jax
import jax.numpy as jnp
import numpy as np

from sslx import errors


def sincos_1d(length, width, base=10000.0):
  """Sine-cosine positions along time, [length, width]; width must be even."""
  omega = base ** -(np.arange(width // 2) / (width // 2))
  angle = np.outer(np.arange(length), omega)
  return np.concatenate([np.sin(angle), np.cos(angle)], 1)


def sincos_2d(h, w, width, base=10000.0):
  """Two-dimensional sine-cosine positions [h * w, width]: a quarter each of sin and cos along y and x."""
  omega = base ** -(np.arange(width // 4) / (width // 4))
  y, x = (np.outer(g.ravel(), omega) for g in np.mgrid[:h, :w])
  return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], 1)


def sincos_3d(t, h, w, width, base=10000.0):
  """Sine-cosine positions [t h w, width]: those of the place and those of the time, added."""
  place, time = sincos_2d(h, w, width, base), sincos_1d(t, width)
  return (time[:, None] + place).reshape(t * h * w, width)


def angles_1d(length, width, base=10000.0):
  """Angles [T, width / 2] of rotary positions in a head of `width`."""
  return np.outer(np.arange(length), base ** -(np.arange(width // 2) / (width // 2)))


def angles_2d(h, w, width, base=100.0):
  """Angles [h * w, width / 2] of rotary positions in a head of `width`: half along y, half along x."""
  omega = base ** -(np.arange(width // 4) / (width // 4))
  return np.concatenate([np.outer(g.ravel(), omega) for g in np.mgrid[:h, :w]], 1)


def turned(x, angle):
  """x [B, T, heads, D] with channels i and i + D / 2 turned by angle [1 or B, T, D / 2]."""
  a, b = jnp.split(x, 2, -1)
  cos, sin = (f(angle)[:, :, None].astype(x.dtype) for f in (jnp.cos, jnp.sin))
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def resized(positions, prefix, h, w):
  """Learned positions [1, prefix + N, D] for a grid of h x w: a square's are resized, others fit none but their own."""
  count = positions.shape[1] - prefix
  side = round(count ** 0.5)
  if count == h * w and (h == w or side ** 2 != count):
    return positions
  if side ** 2 != count:
    raise errors.UsageError(f"the {count} learned positions are no square, so they cannot be resized to {h}x{w}: "
                            "set encoder.grid")
  old = positions[:, prefix:].reshape(1, side, side, -1)
  new = jax.image.resize(old, (1, h, w, old.shape[-1]), "bicubic").astype(old.dtype)
  return jnp.concatenate([positions[:, :prefix], new.reshape(1, h * w, -1)], 1)
