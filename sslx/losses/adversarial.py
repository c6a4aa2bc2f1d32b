"""Adversaries. Means over examples that do not see each other."""

import jax
import jax.numpy as jnp

from sslx.losses.batch import wide


def gan_critic(real, fake):
  """The critic's loss of a GAN (Goodfellow et al., 2014, eq. 1), minus the mean of log D(real) + log(1 - D(fake)).

  Args:
    real, fake: logits of D, of any shape. The generator's gradient is the caller's to stop.
  """
  return jnp.mean(jax.nn.softplus(-wide(real))) + jnp.mean(jax.nn.softplus(wide(fake)))


def gan_generator(fake):
  """The generator's loss of a GAN that does not saturate (Goodfellow et al., 2014, section 3): -mean of log D(fake).

  Args:
    fake: logits of D, of any shape. The critic's gradient is the caller's to stop.
  """
  return jnp.mean(jax.nn.softplus(-wide(fake)))
