"""The README's Python runs as it stands, and its commands and files exist."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import arguments, data, losses, mesh, train
from sslx.methods import base

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", [
    pytest.param(block, marks=pytest.mark.slow if name == "pmap" else (), id=name) for name, block in
    zip(("run", "loop", "pmap"), re.findall(r"```python\n(.*?)```", README, re.DOTALL), strict=True)])
def test_python(block, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names, pmap = {}, "jax.pmap," in block
  block = block.replace("jax.local_device_count()", "2")     # to compile sooner
  with jax.enable_x64(pmap):
    exec(compile(block.replace("c.data.name", "c.mesh.data = 1; c.data.name", 1) if "train(c" in block else block,
                 "README.md", "exec"), names)
    if pmap:
      same_on_a_mesh(**{k: names[k] for k in ("encoder", "aug", "tx", "n", "variables", "value")})
  if "features" in names:
    assert names["features"].shape == (360, 32)
  elif "state" in names:
    assert int(names["state"].step) == 10


def same_on_a_mesh(encoder, aug, tx, n, variables, value):
  """The loop under pmap ends where the step over a mesh does, with the same views."""
  encoder = encoder.clone(axis_name=None)                    # there batch norm sees the global batch anyway

  def init(rng, batch):
    start = encoder.init(rng, jnp.zeros((1, 8, 8, 1)))
    return start.pop("params"), start

  def views(rng, batch):                                     # [2, n, b, 8, 8, 1], by the loop's keys
    split = lambda i: jax.random.split(jax.random.fold_in(jax.random.key(batch["number"][0]), i))
    each = batch["image"].reshape(n, -1, 8, 8, 1)
    return jax.vmap(lambda i, x: jnp.stack([aug(k, x) for k in split(i)]), out_axes=1)(jnp.arange(n), each)

  def loss(params, state, views, rng, progress):
    z, stats = base.forward(encoder, params, state, views.reshape(-1, 8, 8, 1))
    return losses.ntxent(*jnp.split(z, 2), temperature=0.1), (stats, {})

  method, over = base.Method(init, views, loss, None), mesh.arranged(jax.devices()[:n])
  state = train.init_state(method, tx, jax.random.key(0), None)
  where = mesh.shardings(state, over)
  state, step = mesh.put(state, where), train.make_step(method, tx, 3, where)
  for i, batch in zip(range(3), data.batches(data.load("digits"), batch_size=8 * n, seed=0), strict=False):
    state, metrics = step(state, jax.random.key(0), mesh.place(
        {"image": batch["image"], "number": np.full(8 * n, i)}, over))
  np.testing.assert_allclose(value, metrics["loss"], rtol=1e-10)
  got = {"params": state.params, **state.state}
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-8), variables, got)


def test_commands_and_files_exist():
  for command in set(re.findall(r"sslx (\w+) --workdir", README)):
    with pytest.raises(SystemExit, match="0"):
      arguments.parser().parse_args([command, "--help"])
  for path in re.findall(r"(?:configs|experiments|sslx)/[\w/]+\.\w+", README):
    assert (ROOT / path).exists(), path
