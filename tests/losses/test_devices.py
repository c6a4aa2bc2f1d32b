"""Every public loss that takes `axis_name`, found by its signature, gives one number however the batch is spread.

The value is the global one on every device, and so is the gradient of weights upstream of the vectors.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from sslx import losses

QUICK = {"xla_cpu_use_fusion_emitters": False}             # a third of the time to compile
PUBLIC = {name: f for name in losses.__all__ if "collapse" not in (f := getattr(losses, name)).__module__}
TAKES = {name: inspect.signature(f).parameters for name, f in PUBLIC.items()}
COUPLED = {name: f for name, f in PUBLIC.items() if "axis_name" in TAKES[name]}
TILED = {"chunk": 3}                                       # of 7, 16 or 32 columns
CASES = {name: (f, TILED if "chunk" in TAKES[name] else {}) for name, f in COUPLED.items()}
CASES["ntxent, dense"] = (losses.ntxent, {})
CASES["swav, queue"] = (losses.swav, {"queue": "queue_scores"})
CASES["info_nce, queue"] = (losses.info_nce, {"queue": "negatives", **TILED})

RNG = np.random.default_rng(0)
B, D = 16, 3
X, W, QUEUE = RNG.normal(0, 1, (B, 3, 5)), RNG.normal(0, 1, (5, D)), RNG.normal(0, 1, (7, 5))


def arguments(f, w, x, queue=None):
  """Arrays for the arguments of f by their names: a map of the batch x [b, 3, 5] with weights w [5, D]."""
  z = jnp.tanh(x @ w)                                                                       # [b, 3, D]
  negatives = jnp.tanh(jnp.asarray(QUEUE) @ w)                                              # the same on every device
  known = {**dict.fromkeys(("z", "z1", "x", "query", "image"), z[:, 0]),
           **dict.fromkeys(("z2", "positive", "text"), z[:, 1]),
           "student": z[:, 0], "teacher": z[:, 1], "center": w[0],
           "predicted": z[:, 0], "target": z[:, 1], "weight": jnp.abs(x[:, 0, 0]),
           "scores": z[:, 0] if f is losses.sinkhorn else z.swapaxes(0, 1), "negatives": negatives,
           "logits": z[:, 0], "token": (10 * jnp.abs(x[:, 0, 0])).astype(int) % 3,
           "labels": (10 * jnp.abs(x[:, 0, 0])).astype(int) % 3, "key": jax.random.key(0),
           "temperature": 0.3, "scale": 5.0 * w[0, 0]**2, "bias": -2.0 * w[0, 1]**2}
  needed = {k for k, p in inspect.signature(f).parameters.items() if p.default is p.empty}
  assert needed <= set(known), f"add {needed - set(known)} of {f.__name__} to the arguments that this test knows"
  return {k: v for k, v in known.items() if k in needed} | ({queue: negatives} if queue else {})


def value(case, w, x, axis_name):
  f, options = CASES[case]
  options = dict(options)
  out = f(**arguments(f, w, x, options.pop("queue", None)), **options, axis_name=axis_name)
  if out.ndim:                                                                              # a row of each example
    out = jnp.mean(out * jnp.tanh(x[:, 2, :D]))
    out = out if axis_name is None else jax.lax.pmean(out, axis_name)
  return out


def all_of(w, x, axis_name=None):
  """{case: (value, gradient of w)}."""
  return {case: jax.value_and_grad(functools.partial(value, case))(w, x, axis_name) for case in CASES}


def agreed(w, x):
  values, gradients = parts(all_of(w, x, "data"))
  return values, jax.lax.pmean(gradients, "data")


def parts(out):
  return tuple({case: v[i] for case, v in out.items()} for i in range(2))


@functools.cache
def spread(way, devices):
  """({case: value}, {case: gradient}), each of every device that has one of its own."""
  run = lambda f, *args: f.lower(*args).compile(compiler_options=QUICK)(*args)
  split = X.reshape(devices, -1, *X.shape[1:])
  if way == "pmap":
    return run(jax.pmap(agreed, axis_name="data", in_axes=(None, 0)), W, split)
  if way == "vmap":
    return run(jax.jit(jax.vmap(agreed, axis_name="data", in_axes=(None, 0))), W, split)
  mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
  rows = jax.device_put(X, NamedSharding(mesh, P("data")))
  if way == "jit":
    return parts(run(jax.jit(all_of), jax.device_put(W, NamedSharding(mesh, P())), rows))
  if way == "shard_map checked":                                                            # no pmean needed
    step = lambda w, x: parts(all_of(w, x, "data"))
    return run(jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())), W, X)
  step = lambda w, x: jax.tree.map(lambda v: v[None], agreed(w, x))
  return run(jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=False)),
             W, X)


APART = {name: f for name, f in PUBLIC.items() if name not in COUPLED}


@functools.cache
def parts_of_a_batch(name, way):
  """A loss of examples by themselves, of the whole batch and of each of four parts, under pmap or shard_map."""
  f, z = APART[name], jnp.tanh(jnp.asarray(X, jnp.float32) @ jnp.asarray(W, jnp.float32))   # [B, 3, D]
  shared = {"center": z[0, 0], "queue": jnp.asarray(QUEUE[:, :D], jnp.float32)}
  known = {**dict.fromkeys(("student", "p", "x", "anchor", "real", "z"), z[:, 0]), "same": z[:, 0, 0] > 0,
           **dict.fromkeys(("teacher", "y", "positive", "fake"), z[:, 1]), "negative": z[:, 2],
           "image": (image := jnp.abs(jnp.tile(z[:, :1, :1, None], (1, 12, 12, 1)))), "predicted": image,
           "target": jnp.full((B, 12, 12, 1), 0.5)}
  known |= {"z": z[:, 1]} if name == "negative_cosine" else {}
  known |= {"student": z, "teacher": z[:, :2]} if name == "dino" else {}                    # its batch is second
  names = [k for k, p in inspect.signature(f).parameters.items() if p.default is p.empty]
  args = [(shared | known)[k] for k in names]
  if name == "dino":
    f = lambda s, t, c: losses.dino(s.swapaxes(0, 1), t.swapaxes(0, 1), c)
  one = f(*args)
  if way == "pmap":
    split = [v if k in shared else v.reshape(4, -1, *v.shape[1:]) for k, v in zip(names, args, strict=True)]
    return one, jax.pmap(f, in_axes=tuple(None if k in shared else 0 for k in names))(*split)
  mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
  specs = tuple(P() if k in shared else P("data") for k in names)
  return one, jax.shard_map(lambda *a: f(*a)[None], mesh=mesh, in_specs=specs, out_specs=P("data"))(*args)


@pytest.mark.parametrize("way", ["pmap", "shard_map"])
@pytest.mark.parametrize("name", APART)
def test_losses_of_examples_by_themselves_are_the_mean_of_the_parts(name, way):
  one, each = parts_of_a_batch(name, way)
  assert len(each) == 4 and np.isfinite(one).all()
  np.testing.assert_allclose(each.reshape(one.shape) if one.ndim else each.mean(), one, rtol=1e-5, atol=1e-6)


def test_all_are_found():
  assert {"ntxent", "info_nce", "supcon", "clip", "siglip", "barlow_twins", "swav", "koleo", "sigreg",
          "ibot"} <= set(COUPLED)
  assert not set(COUPLED) & {"pair", "triplet", "negative_cosine", "dino", "ressl"}          # examples by themselves


@pytest.mark.parametrize("way, devices", [("jit", 8), ("pmap", 8), ("vmap", 4), ("shard_map", 4),
                                          ("shard_map checked", 4)])
def test_one_number_however_the_batch_is_spread(way, devices):
  with jax.enable_x64(True):
    (one, slope), (values, gradients) = spread("jit", 1), spread(way, devices)
  for case in CASES:
    same = lambda a, b, rtol: np.testing.assert_allclose(a, np.broadcast_to(b, a.shape), rtol, 1e-10, err_msg=case)
    same(values[case], one[case], 1e-10)
    same(gradients[case], slope[case], 1e-6)
    assert case == "sinkhorn" or np.abs(slope[case]).max() > 1e-6, case
