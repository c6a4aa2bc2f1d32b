"""What every method must keep, found through its config's ":tiny"."""

import inspect
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiled import IN_A_RUN
from small import FAMILIES

from sslx import checkpoint, config, data, mesh, methods, optim, run as runs, train
from sslx.evaluate.embed import fraction
from sslx.methods import towers

CONFIGS = sorted(pathlib.Path(__file__).parents[2].glob("configs/*.py"))


def quick(names):
  """Runs of every config; those that are not named are left to the slow suite."""
  runs_ = [pytest.param(p, marks=() if p.stem in names else pytest.mark.slow) for p in CONFIGS]
  return pytest.mark.parametrize("run", runs_, indirect=True, ids=lambda p: p.stem, scope="module")


families = quick(FAMILIES)


def test_every_method_has_a_config():
  assert set(methods.names()) <= {p.stem for p in CONFIGS}


@pytest.fixture(scope="module")
def run(request):
  """Everything of a tiny run, and one compiled step shared by the tests."""
  c = config.load(f"{request.param}:tiny")
  source = data.load(c.data.name)
  runs.fill(c, len(source), 10)
  encoder, method = train.build(c)
  tx = optim.make(c.optim, 30, c.batch_size)
  batches = [b for b, _ in zip(data.batches(source, batch_size=c.batch_size, seed=0), range(6), strict=False)]
  batches = [{k: b[k] for k in method.reads} for b in batches]
  step = train.make_step(method, tx, 30)

  class Run:
    start = staticmethod(lambda: train.init_state(method, tx, jax.random.key(0), batches[0]))
    go = staticmethod(lambda state, steps: _go(step, state, batches, steps))
  Run.config, Run.encoder, Run.method, Run.step, Run.batches, Run.tx = c, encoder, method, step, batches, tx
  return Run


def _go(step, state, batches, steps):
  for i in steps:
    state, metrics = step(state, jax.random.key(1), batches[i % len(batches)])
  return state, metrics


def same(a, b):
  return jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(np.asarray(x), np.asarray(y)), a, b))


@families
def test_thirty_steps_compile_once_and_keep_structure(run):
  start = run.start()
  shape = jax.tree.map(lambda x: (x.shape, x.dtype), start)
  state, metrics = run.go(start, range(30))
  assert run.step._cache_size() == 1
  assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == shape
  assert int(state.step) == 30
  assert all(v.shape == () and np.isfinite(v) for v in metrics.values())
  assert "loss" in metrics


@families
def test_gradients_and_descent_on_fixed_views(run):
  state = run.start()
  views = run.method.views(jax.random.key(2), run.batches[0])

  def value(params):
    loss, (_, metrics) = run.method.loss(params, state.state, views, jax.random.key(3), jnp.asarray(0.5))
    return loss, metrics.get("critic", 0)
  both = jax.jit(jax.value_and_grad(value, has_aux=True))
  (first, critics), grads = both(state.params)
  for group, g in grads.items():
    size = optax.tree.norm(g)
    assert np.isfinite(size) and size > 0, group

  def descended(groups):                                     # the others are held fixed
    mine, rate = state.params, 0.05 / float(optax.tree.norm({k: grads[k] for k in groups}))
    for _ in range(5):
      _, g = both(mine)
      mine = mine | {k: jax.tree.map(lambda p, g: p - rate * g, mine[k], g[k]) for k in groups}
    return both(mine)[0]
  after, of_critic = descended([k for k in grads if k != "critic"])
  assert after - of_critic < first - critics
  if "critic" in grads:
    assert descended(["critic"])[1] < critics


@quick(("moco",))
def test_saved_and_restored_is_the_same_run(run, tmp_path):
  straight, _ = run.go(run.start(), range(6))
  half, _ = run.go(run.start(), range(3))
  saved = checkpoint.Checkpoints(tmp_path)
  saved.save(3, half)
  saved.wait()
  done, half = saved.restore(run.start())
  saved.close()
  resumed, _ = run.go(half, range(3, 6))
  assert done == 3
  assert same(straight, resumed)


@families
def test_encoder_is_deterministic(run):
  state = run.start()
  found, key = run.method.encoder(state.params, state.state), data.load(run.config.data.name).key
  assert key in found
  for tower, variables in found.items():
    encoder = run.encoder if tower == key else towers.built(tower, towers.options(run.config, tower))
    x = run.batches[0][tower] if tower in run.batches[0] else run.batches[0][key][:, 0]         # a frame of a clip
    x = fraction(jnp.asarray(x[:, 0] if tower == "text" and x.ndim == 3 else x))
    first, second = (encoder.apply(variables, x, train=False) for _ in range(2))
    assert first.ndim == 2 and first.shape[0] == len(x)
    assert np.array_equal(first, second)


@quick(("simclr",))
def test_four_devices_that_split_the_state_give_the_same_step(run):
  c = run.config.copy_and_resolve_references().unlock()
  c.mesh.update({"data": 2, "fsdp": 2, "least": 1})
  over = train.make_mesh(c)
  one, metrics1 = run.go(run.start(), range(1))
  where = mesh.of(c, run.start(), over)
  assert any("fsdp" in s.spec for s in jax.tree.leaves(where.params))
  step = train.make_step(run.method, run.tx, 30, where)
  four, metrics2 = step(mesh.put(run.start(), where), jax.random.key(1), train.place(run.batches[0], over))
  assert jax.tree.map(lambda x: x.sharding, four) == where
  assert np.allclose(metrics1["loss"], metrics2["loss"], rtol=1e-5)
  assert np.allclose(metrics1["grad_norm"], metrics2["grad_norm"], rtol=1e-4)


@quick(())
def test_slices_give_the_same_step(run):
  one, metrics1 = run.go(run.start(), range(1))
  two, metrics2 = _go(train.make_step(run.method, run.tx, 30, slices=2), run.start(), run.batches, range(1))
  assert jax.tree.map(lambda x: (x.shape, x.dtype), two) == jax.tree.map(lambda x: (x.shape, x.dtype), one)
  assert all(np.isfinite(v) for v in metrics2.values())
  if "batch_stats" not in str(jax.tree.structure(one)) and not run.config.encoder.get("dropout"):
    assert np.allclose(metrics1["loss"], metrics2["loss"], rtol=1e-5)
    assert np.allclose(metrics1["grad_norm"], metrics2["grad_norm"], rtol=1e-4)


@quick(("simclr", "byol"))
def test_views_have_the_same_bits_on_eight_devices(run):
  views = jax.jit(run.method.views, compiler_options=IN_A_RUN)
  out = []
  for n in (1, 8):
    out.append(views(jax.random.key(4), train.place(run.batches[0], mesh.arranged(jax.devices()[:n]))))
  assert same(*out)


@pytest.mark.parametrize("name", methods.names())
def test_make_takes_options_by_keyword_alone(name):
  first, *rest = inspect.signature(methods._find(name)).parameters.values()
  assert first.name == "encoder"
  assert all(p.kind == p.KEYWORD_ONLY for p in rest)
  assert name == "supervised" or methods.cite(name).startswith("@")
  assert methods.describe(name)
