"""The batch in slices: the same loss and gradients, ghost batch norm, less memory, on several devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx import config, encoders, errors, heads, train
from sslx.mesh import make_mesh, place, put, shardings
from sslx.methods import base, simclr

IMAGES = np.random.default_rng(0).random((8, 6, 6, 1), np.float32)


class Normed(nn.Module):
  """A small encoder, with batch norm if asked."""
  norm: bool = True

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.Dense(5)(x.reshape(len(x), -1))
    return nn.relu(nn.BatchNorm(not train, momentum=0.9)(x) if self.norm else nn.LayerNorm()(x))


def twice(key, image):
  return (jnp.stack([image, image * jax.random.uniform(key, image.shape)], 1),)


def test_loss_and_gradients_are_those_of_the_whole_batch():
  method = simclr.make(Normed(norm=False), widths=(7, 3), aug=twice)
  params, state = method.init(jax.random.key(0), {"image": IMAGES})
  views = method.views(jax.random.key(1), {"image": IMAGES})
  def found(n):
    with base.sliced(n):
      return jax.jit(jax.value_and_grad(lambda p: method.loss(p, state, views, jax.random.key(2), 0.0)[0]))(params)
  (whole, wanted), (value, grads) = found(1), found(4)
  np.testing.assert_allclose(value, whole, rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grads, wanted)
  with pytest.raises(errors.UsageError, match="batch of 16 does not divide into slices=3"):
    found(3)


def test_batch_norm_is_that_of_the_slices():
  net = base.Network(Normed(), heads.MLP((3,), norm=True))
  params, stats = base.init(net, jax.random.key(0), IMAGES)
  with base.sliced(2):
    out, new = base.forward(net, params, stats, IMAGES)
  parts = [base.forward(net, params, stats, IMAGES[i::2]) for i in range(2)]           # every second one
  for i, (part, _) in enumerate(parts):
    np.testing.assert_allclose(out[i::2], part, atol=1e-5)
  mean = jax.tree.map(lambda a, b: (a + b) / 2, *(s for _, s in parts))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), new, mean)
  assert not np.allclose(out, base.forward(net, params, stats, IMAGES)[0], atol=1e-3)


def test_two_devices_give_the_same_sliced_step():
  c = config.default()
  c.batch_size, c.slices, c.mesh.data = 8, 2, 2
  mesh, method, tx, seen = make_mesh(c), simclr.make(Normed(), widths=(3,), aug=twice), optax.sgd(0.1), []
  for m in (None, mesh):
    state = train.init_state(method, tx, jax.random.key(0), {"image": IMAGES})
    where = m and shardings(state, m)
    state = put(state, where) if m else state
    batch = {"image": IMAGES} if m is None else place({"image": IMAGES}, m)
    state, metrics = train.make_step(method, tx, 3, where, slices=2)(state, jax.random.key(1), batch)
    seen.append((state.params, metrics["loss"]))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *seen)
  c.slices = 3
  with pytest.raises(errors.UsageError, match="8 does not divide over 2 devices in slices=3"):
    make_mesh(c)


def test_the_memory_is_that_of_a_slice():
  class Wide(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
      x = x.reshape(len(x), -1)
      for _ in range(3):
        x = nn.relu(nn.Dense(512)(x))
      return x

  method = simclr.make(Wide(), widths=(4,), aug=twice)
  batch = {"image": jax.ShapeDtypeStruct((1024, 2, 2, 1), jnp.float32)}
  state = jax.eval_shape(lambda k: train.init_state(method, optax.sgd(0.1), k, {"image": jnp.zeros((1024, 2, 2, 1))}),
                         jax.random.key(0))
  used = lambda n: train.make_step(method, optax.sgd(0.1), 3, slices=n).lower(
      state, jax.random.key(0), batch).compile().memory_analysis().temp_size_in_bytes
  assert used(8) < 0.5 * used(1)


def test_a_run_in_slices_says_so(tmp_path, capsys):
  c = config.load("configs/simclr.py:tiny")
  c.total_steps, c.slices, c.encoder = 2, 2, encoders.options("own.encoder", width=4)
  train.train(c, tmp_path)
  assert "batch norm is of each of the 2 slices by itself" in capsys.readouterr().err
