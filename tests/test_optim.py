"""Schedules, scaling, and every optimizer's steps against its recurrence in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx import config, errors, optim

RNG = np.random.default_rng(0)
PARAMS = {"net": {"kernel": RNG.normal(0, 1, (4, 3)), "bias": RNG.normal(0, 1, 3)}}
GRADS = [{"net": {"kernel": RNG.normal(0, 1, (4, 3)), "bias": RNG.normal(0, 1, 3)}} for _ in range(4)]


def conf(**options):
  c = config.default().optim
  c.update(options)
  return c


def moved(c, grads=GRADS, params=PARAMS, total=10, batch=256):
  """Params after a step for each of grads, in float64."""
  with jax.enable_x64(True):
    params, tx = jax.tree.map(jnp.asarray, params), optim.make(c, total, batch)
    state, update = tx.init(params), jax.jit(tx.update)
    for g in grads:
      updates, state = update(jax.tree.map(jnp.asarray, g), state, params)
      params = optax.apply_updates(params, updates)
    return jax.tree.map(np.asarray, params)


def rule(step, decay, c):
  """Params after GRADS with step(gradient, parameter, memory, rate, t) -> its move, a leaf at a time; no warm-up."""
  rate, out = optim.schedule(c, 10, 256), {}
  for name, p in PARAMS["net"].items():
    p, memory = p.copy(), {}
    for t, g in enumerate(GRADS):
      g = g["net"][name] + (decay * p if p.ndim > 1 else 0)
      p = p + step(g, p, memory, float(rate(t)), t + 1)
    out[name] = p
  return {"net": out}


def close(a, b):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-9), a, b)


def test_sgd_is_torchs():
  c = conf(lr=0.1, weight_decay=0.05, momentum=0.9)
  def step(g, p, memory, rate, t):
    memory["b"] = 0.9 * memory["b"] + g if t > 1 else g
    return -rate * memory["b"]
  close(moved(c), rule(step, 0.05, c))


def test_adamw():
  c = conf(name="adamw", lr=0.02, weight_decay=0.3, b2=0.95, schedule="linear")
  def step(g, p, memory, rate, t):
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.95 * memory.get("v", 0) + 0.05 * g**2
    adam = memory["m"] / (1 - 0.9**t) / (np.sqrt(memory["v"] / (1 - 0.95**t)) + 1e-8)
    return -rate * (adam + (0.3 * p if p.ndim > 1 else 0))                       # decoupled from the gradient
  close(moved(c), rule(step, 0, c))


def test_lars():
  c = conf(name="lars", lr=0.5, weight_decay=0.01, momentum=0.8, schedule="constant")
  def step(g, p, memory, rate, t):
    ratio = 0.001 * np.linalg.norm(p) / np.linalg.norm(g) if p.ndim > 1 else 1   # 1-D: neither decayed nor scaled
    memory["b"] = 0.8 * memory.get("b", 0) + rate * ratio * g
    return -memory["b"]
  close(moved(c), rule(step, 0.01, c))


def test_lamb():
  c = conf(name="lamb", lr=0.1, weight_decay=0.2, b2=0.99, schedule="constant")
  def step(g, p, memory, rate, t):
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.99 * memory.get("v", 0) + 0.01 * g**2
    u = memory["m"] / (1 - 0.9**t) / (np.sqrt(memory["v"] / (1 - 0.99**t)) + 1e-6)
    if p.ndim == 1:
      return -rate * u
    u = u + 0.2 * p
    return -rate * np.linalg.norm(p) / np.linalg.norm(u) * u
  close(moved(c), rule(step, 0, c))


def test_muon():
  """Matrices by Newton and Schulz's polynomial on the singular values of the momentum, all else by Adam."""
  c = conf(name="muon", lr=0.02, weight_decay=0.3, b2=0.95)
  def step(g, p, memory, rate, t):
    if p.ndim == 1:
      memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
      memory["v"] = 0.95 * memory.get("v", 0) + 0.05 * g**2
      return -rate * memory["m"] / (1 - 0.9**t) / (np.sqrt(memory["v"] / (1 - 0.95**t)) + 1e-8)
    memory["b"] = 0.95 * memory.get("b", 0) + g
    u, s, v = np.linalg.svd(g + 0.95 * memory["b"], full_matrices=False)
    s = s / np.sqrt(np.sum(s**2))
    for _ in range(5):
      s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    assert (s > 0.5).all() and (s < 1.3).all()
    return -rate * ((u * s) @ v + 0.3 * p)                                                # [4, 3]: not longer for it
  close(moved(c), rule(step, 0, c))
  wide = optim.orthogonal(jnp.asarray(RNG.normal(size=(2, 3, 5))))                        # stacked: each by itself
  assert np.abs(np.linalg.svd(wide, compute_uv=False) - 1).max() < 0.5
  tx, x = optim.scale_by_muon(), jnp.asarray(RNG.normal(size=(3, 12)))
  np.testing.assert_allclose(tx.update(x, tx.init(x))[0], 2 * optim.orthogonal(x), rtol=1e-5)


def test_trust_ratio_at_its_limits():
  tx = optim.scale_by_trust_ratio(rate=lambda count: 0.2)
  move = lambda u, p: np.asarray(tx.update(jnp.asarray(u), tx.init(None), jnp.asarray(p))[0])
  one = np.full((1, 1), 1.0, np.float32)
  np.testing.assert_allclose(move(one, 100 * one), 0.5)                          # 0.001 * 100 / 0.2
  np.testing.assert_allclose(move(one, 1e6 * one), 1)                            # as plain SGD
  assert not move(0 * one, one).any()
  np.testing.assert_allclose(optim.scale_by_trust_ratio().update(one, 0, 0 * one)[0], one)     # zeros can be left


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars", "lamb", "muon"])
def test_zero_gradients_decay_kernels_alone(name):
  still = jax.tree.map(np.zeros_like, GRADS[0])
  out = moved(conf(name=name, lr=0.1, weight_decay=0.5), [still] * 3)
  assert np.array_equal(out["net"]["bias"], PARAMS["net"]["bias"])
  kernel, old = out["net"]["kernel"], PARAMS["net"]["kernel"]
  assert np.linalg.norm(kernel) < 0.9999 * np.linalg.norm(old)
  np.testing.assert_allclose(kernel / np.linalg.norm(kernel), old / np.linalg.norm(old))       # shrinks, does not turn


def test_clipping_by_global_norm():
  c = conf(lr=1.0, weight_decay=0.0, momentum=0.0, clip=0.5, schedule="constant")
  norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(GRADS[0])))
  close(moved(c, GRADS[:1]), jax.tree.map(lambda p, g: p - 0.5 / norm * g, PARAMS, GRADS[0]))
  small = jax.tree.map(lambda g: 0.1 / norm * g, GRADS[0])
  close(moved(c, [small]), jax.tree.map(np.subtract, PARAMS, small))


def test_probe_moves_by_adam_alone():
  """Its rate is its own, it is not decayed, and its gradients neither count in the clipping nor change the others."""
  c = conf(lr=0.3, weight_decay=0.5, clip=1.0)
  params = {**PARAMS, "probe": PARAMS["net"]}
  grads = [{**g, "probe": jax.tree.map(lambda v: 1e3 * v, g["net"])} for g in GRADS]
  out = moved(c, grads, params)
  close({"net": out["net"]}, moved(c))
  for name, p in PARAMS["net"].items():
    m = v = 0
    for t, g in enumerate(grads, 1):
      g = g["probe"][name]
      m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
      p = p - 1e-3 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(out["probe"][name], p, rtol=1e-6)


@pytest.mark.parametrize("name, middle", [("cosine", 0.2 * 1.1 / 2), ("linear", 0.2 * 1.1 / 2), ("constant", 0.2)])
def test_schedule(name, middle):
  rate = optim.schedule(conf(lr=0.2, schedule=name, warmup=0.1, final=0.1), 100, 999)
  np.testing.assert_allclose([rate(0), rate(5), rate(10), rate(55)], [0, 0.1, 0.2, middle], rtol=1e-6)
  np.testing.assert_allclose([rate(100), rate(1000)], [0.2 if name == "constant" else 0.02] * 2, rtol=1e-6)
  quarter = {"cosine": 0.02 + 0.18 * (1 + np.cos(np.pi / 3)) / 2, "linear": 0.2 - 0.18 / 3, "constant": 0.2}[name]
  np.testing.assert_allclose(rate(40), quarter, rtol=1e-6)


@pytest.mark.parametrize("warmup, total", [(0.0, 10), (1.0, 10), (0.5, 1), (0.1, 1)])
def test_schedule_at_its_limits(warmup, total):
  rate = optim.schedule(conf(lr=0.2, warmup=warmup), total, 256)
  values, climb = np.array([rate(t) for t in range(total + 1)]), round(warmup * total)
  assert np.isfinite(values).all() and values.max() <= 0.2 * (1 + 1e-6)
  assert values[climb] == pytest.approx(0.2) and values[0] == (0 if climb else values.max())


@pytest.mark.parametrize("scale, peak", [("none", 0.1), ("linear", 1.6), ("sqrt", 0.4)])
def test_scaling_by_the_batch(scale, peak):
  c = conf(lr=0.1, scale=scale, reference_batch=256)
  assert optim.peak(c, 4096) == pytest.approx(peak) and optim.peak(c, 256) == pytest.approx(0.1)
  assert float(optim.schedule(c, 10, 4096)(0)) == pytest.approx(peak)


@pytest.mark.parametrize("options, message", [
  ({"name": "lasr"}, "unknown optimizer 'lasr': did you mean lars"),
  ({"schedule": "cosin"}, "unknown optim.schedule 'cosin': did you mean cosine"),
  ({"scale": "liner"}, "unknown optim.scale 'liner': did you mean linear")])
def test_unknown_names(options, message):
  with pytest.raises(errors.UsageError, match=message):
    optim.make(conf(**options), 10, 256)


def test_schedules_are_all_named():
  assert all(float(optim.schedule(conf(schedule=s), 10, 256)(0)) > 0 for s in optim.SCHEDULES)


def test_a_critic_has_its_own_rate_and_clipping():
  c, params = conf(name="sgd", lr=0.1, clip=1.0, critic_rate=0.5, weight_decay=0.0, schedule="constant"), {}
  grads = {"net": {"w": np.full((2, 2), 50.0)}, "critic": {"w": np.full((2, 2), 0.25)}}
  params = {name: {"w": np.zeros((2, 2))} for name in grads}
  after = moved(c, [grads], params)
  np.testing.assert_allclose(after["net"]["w"], -0.1 * 0.5)                 # clipped to a norm of 1
  np.testing.assert_allclose(after["critic"]["w"], -0.05 * 0.25)            # a norm of 0.5: the other's does not count


def test_a_critic_has_no_layers_of_an_encoder():
  c = conf(name="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, layer_decay=0.5, schedule="constant")
  encoder = {"block1": np.zeros((2, 2)), "patches": np.zeros((2, 2))}
  params = {"net": {"encoder": encoder}, "critic": {"w": np.zeros((2, 2))}}
  after = moved(c, [jax.tree.map(np.ones_like, params)], params)
  np.testing.assert_allclose(after["critic"]["w"], -1)
  np.testing.assert_allclose(after["net"]["encoder"]["block1"], -0.5)


def test_stacked_layers_are_no_dimension():
  stacked = {"kernel": np.zeros((3, 2, 2)), "bias": np.zeros((3, 2))}
  params = {"net": {"blocks": stacked, "dense": {"bias": np.zeros(2)}}}
  assert optim.kernels(params) == {"net": {"blocks": {"kernel": True, "bias": False}, "dense": {"bias": False}}}


def test_each_layer_moves_by_a_share_of_the_next_ones():
  """0.5 a layer of a ViT of two blocks, plain and scanned: patches 1/8, blocks 1/4 and 1/2, norm and head 1."""
  names = ("patches", "token", "block1", "block2", "norm")
  params = {"net": {"encoder": dict.fromkeys(names, {"kernel": np.ones((2, 3))}), "head": {"kernel": np.ones((3, 2))}}}
  one = lambda params: jax.tree.map(lambda p: 0.1 * np.ones_like(p), params)
  c = conf(name="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, layer_decay=0.5, schedule="constant")
  step = lambda params: jax.tree.map(lambda a, b: np.round((a - b) / 0.1, 5), params, moved(c, [one(params)], params))
  got = step(params)["net"]
  share = {k: np.unique(v["kernel"]).tolist() for k, v in (got["encoder"] | {"head": got["head"]}).items()}
  assert share == {"patches": [0.125], "token": [0.125], "block1": [0.25], "block2": [0.5], "norm": [1], "head": [1]}
  scanned = {"net": {"encoder": {"patches": np.ones(2), "blocks": {"mlp": {"kernel": np.ones((2, 3, 3))}},
                                 "norm": np.ones(2)}}}
  got = step(scanned)["net"]["encoder"]
  np.testing.assert_array_equal(got["blocks"]["mlp"]["kernel"][:, 0, 0], [0.25, 0.5])
  np.testing.assert_array_equal(got["patches"], 0.125)


def test_layers_of_convolutional_encoders():
  names = ("stem_conv", "stage1_block1_conv1", "stage1_block2_conv2", "stage2_conv", "stage2_block1_skip_conv", "norm")
  got, number = optim.layers({"encoder": dict.fromkeys(names, np.ones(2))})
  assert [got["encoder"][n] for n in names] == [0, 1, 2, 3, 4, 5] and number == 6
