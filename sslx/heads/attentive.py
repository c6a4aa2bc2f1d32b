"""A pool that attends, for probes of encoders whose mean or class token was never trained to say all."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp


class Attentive(nn.Module):
  """Tokens [B, N, D] -> [B, D]: what a learnt query sees of them (Chen et al., CAE, 2023; El-Nouby et al., AIM, 2024).

  Each head attends by itself, of as many as divide D, at most `heads`. real: [B, N], False where a token is padding.
  """
  heads: int = 8

  @nn.compact
  def __call__(self, x, real=None):
    (B, N, D), wide, heads = x.shape, jnp.result_type(float), math.gcd(self.heads, x.shape[-1])
    query = self.param("query", nn.initializers.normal(0.02), (heads, D // heads), wide)
    part = lambda name: nn.Dense(D, use_bias=False, param_dtype=wide, name=name)(x).reshape(B, N, heads, D // heads)
    scores = jnp.einsum("hd,bnhd->bhn", query.astype(x.dtype), part("key")) * (D // heads) ** -0.5
    scores = scores if real is None else jnp.where(real[:, None], scores, jnp.finfo(scores.dtype).min)
    return jnp.einsum("bhn,bnhd->bhd", jax.nn.softmax(scores), part("value")).reshape(B, D)
