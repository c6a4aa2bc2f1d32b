"""embed shards a batch over several devices and gives the same features; in a process of its own, to have devices."""

import os
import subprocess
import sys

CODE = """
import types, jax, jax.numpy as jnp, numpy as np, flax.linen as nn
from sslx.evaluate import embed

class Net(nn.Module):
  @nn.compact
  def __call__(self, x, train=False):
    return nn.Dense(3)(x.mean((1, 2)))

assert jax.device_count() == 4
v = jax.device_put(Net().init(jax.random.key(0), jnp.ones((1, 4, 4, 3))), jax.devices()[1])
e = types.SimpleNamespace(module=Net(), variables=v, shape=(4, 4, 3))
x = np.random.default_rng(0).random((21, 4, 4, 3), np.float32)
want = Net().apply(v, x)
for batch_size in (8, 7, 1):
  np.testing.assert_allclose(embed(e, x, batch_size=batch_size), want, atol=1e-6)
"""


def test_four_devices():
  env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
  subprocess.run([sys.executable, "-c", CODE], check=True, env=env)
