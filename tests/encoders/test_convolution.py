"""Convolutions with a gradient of their own against Flax's, on one device and several."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import mesh
from sslx.encoders import convolution

RNG = np.random.default_rng(0)


def close(a, b, tolerance=1e-5):
  """Within the tolerance of each array's largest number."""
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max(), rtol=0), a, b)


def gradients(x, v, **options):
  """(value, gradients) of both forms, jitted, of a loss whose gradients differ from place to place."""
  def run(form):
    conv = nn.Conv(5, v["params"]["kernel"].shape[:2], param_dtype=x.dtype, conv_general_dilated=form, **options)
    return jax.jit(jax.value_and_grad(lambda v, x: jnp.sum(jnp.sin(conv.apply(v, x))), (0, 1)))(v, x)
  return run(convolution.convolve), run(None)


def variables(c, dtype="float32", groups=1, size=3):
  shape = lambda *s: jnp.asarray(RNG.normal(size=s) / 3, dtype)
  return {"params": {"kernel": shape(size, size, c // groups, 5), "bias": shape(5)}}


@pytest.mark.parametrize(("shape", "dtype", "options"), [
    ((16, 16, 9, 2), "float32", {}), ((32, 8, 8, 3), "float64", {"padding": 1}), ((2, 40, 40, 2), "float32", {}),
    ((7, 16, 8, 1), "float32", {"padding": 1}), ((64, 8, 8, 2), "float32", {"strides": 2, "padding": 1}),
    ((64, 9, 7, 2), "float64", {"strides": 2, "padding": 1}), ((32, 8, 8, 2), "float32", {"strides": 2}),
    ((32, 8, 8, 2), "float32", {"kernel_dilation": 2}), ((32, 8, 8, 2), "float32", {"padding": "VALID"})])
def test_value_and_gradient(shape, dtype, options):
  with jax.enable_x64(dtype == "float64"):
    x = jnp.asarray(RNG.normal(size=shape), dtype)
    ours, plain = gradients(x, variables(shape[-1], dtype), **options)
    close(ours, plain, 1e-12 if dtype == "float64" else 1e-5)
    assert jax.tree.map(lambda a: a.dtype, ours) == jax.tree.map(lambda a: a.dtype, plain)


@pytest.mark.parametrize(("shape", "options"), [
    ((32, 8, 8, 3), {}), ((64, 9, 7, 2), {"strides": 2}), ((64, 8, 8, 2), {"strides": 2, "padding": "VALID"}),
    ((16, 8, 8, 2), {"padding": 1})])
def test_kernels_of_one_pixel(shape, options):
  x = jnp.asarray(RNG.normal(size=shape), jnp.float32)
  close(*gradients(x, variables(shape[-1], size=1), **options))


def test_where_it_is_used():
  v = variables(2)
  traced = lambda x, **o: str(jax.make_jaxpr(lambda v, x: nn.Conv(5, (3, 3), conv_general_dilated=convolution.convolve,
                                                                  **o).apply(v, x))(v, x))
  assert "custom_vjp" in traced(jnp.zeros((32, 8, 8, 2)))
  assert "custom_vjp" in traced(jnp.zeros((64, 8, 8, 2)), strides=2, padding=1)
  assert "custom_vjp" not in traced(jnp.zeros((32, 8, 8, 2)), strides=2)                 # its border is on one side
  assert "custom_vjp" not in traced(jnp.zeros((3, 2, 2, 2)))                             # hardly anything to multiply


def test_vmap():
  x, v = jnp.asarray(RNG.normal(size=(2, 4, 16, 16, 2)), jnp.float32), variables(2)
  many = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), v)
  def run(form):
    conv = nn.Conv(5, (3, 3), conv_general_dilated=form)
    return jax.vmap(jax.grad(lambda v, x: jnp.sum(jnp.sin(conv.apply(v, x)))))(many, x)
  close(run(convolution.convolve), run(None))


def test_over_devices_each_slices_its_own_rows():
  """The same numbers, and nothing but the kernel's gradient goes from device to device."""
  over = mesh.arranged(jax.devices())
  x, v = RNG.normal(size=(16, 16, 8, 3)).astype(np.float32), variables(3)
  f = jax.jit(jax.grad(lambda v, x: jnp.sum(jnp.sin(nn.Conv(
      5, (3, 3), conv_general_dilated=convolution.convolve).apply(v, x)))), out_shardings=mesh.everywhere(over))
  spread = mesh.place({"x": x}, over)["x"]
  text = f.lower(mesh.put(v, jax.tree.map(lambda _: mesh.everywhere(over), v)), spread).compile().as_text()
  assert "all-gather" not in text and "all-to-all" not in text and "all-reduce" in text
  close(f(v, spread), gradients(jnp.asarray(x), v)[1][1][0])


def test_shard_map():
  over = mesh.arranged(jax.devices())
  x, v = jnp.asarray(RNG.normal(size=(16, 16, 8, 3)), jnp.float32), variables(3)
  P = jax.sharding.PartitionSpec
  conv = nn.Conv(5, (3, 3), conv_general_dilated=convolution.convolve)
  f = jax.shard_map(jax.grad(lambda v, x: jnp.sum(jnp.sin(conv.apply(v, x)))), mesh=over, in_specs=(P(), P(mesh.AXES)),
                    out_specs=P())
  close(jax.jit(f)(v, x), gradients(x, v)[1][1][0])
