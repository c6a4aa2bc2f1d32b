"""The encoder of text: what a token sees, what padding changes, and what dropout and options do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import encoders, errors
from sslx.encoders.attention import attend
from sslx.encoders.positions import angles_1d, turned

RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 257, (3, 7)).astype(np.int32)
SMALL = {"width": 8, "depth": 2, "heads": 2}
POOLS = pytest.mark.parametrize("pool", ["mean", "token", "last"])


def made(**options):
  module = encoders.make("text_ti", **SMALL | options)
  return module, jax.jit(module.init)(jax.random.key(0), IDS)


def run(module, variables, x, **options):
  return jax.jit(lambda v, x: module.apply(v, x, method="features", **options))(variables, x)


@POOLS
@pytest.mark.parametrize("position", ["rotary", "learned", "none"])
def test_padding_changes_nothing(pool, position):
  module, variables = made(pool=pool, position=position)
  short, long = run(module, variables, IDS), run(module, variables, np.pad(IDS, ((0, 0), (0, 4))))
  np.testing.assert_allclose(long["pooled"], short["pooled"], atol=1e-5)
  shown = short["tokens"].shape[1]
  np.testing.assert_allclose(long["tokens"][:, :shown], short["tokens"], atol=1e-5)
  with_class = pool == "token"
  assert {k: v.shape for k, v in short.items()} == {
      "pooled": (3, 8), **dict.fromkeys(("tokens", "stage1", "stage2"), (3, 7 + with_class, 8))}


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_pooling(pool):
  module, variables = made(pool=pool)
  x = IDS.copy()
  x[1, 3:], x[2] = 0, 0                                      # one is cut, one is empty
  out = jax.tree.map(np.asarray, run(module, variables, x))
  want = [out["tokens"][i, :n].mean(0) if pool == "mean" else out["tokens"][i, n - 1] for i, n in enumerate((7, 3))]
  np.testing.assert_allclose(out["pooled"][:2], want, atol=1e-6)
  assert np.isfinite(out["pooled"]).all()


@pytest.mark.parametrize("causal", [True, False])
def test_who_sees_whom(causal):
  """The gradient of what a token becomes by the embedding of every token: none by later ones if causal."""
  module, variables = made(causal=causal)
  fill = lambda e: module.apply(variables, IDS[:1], method="features", mask=jnp.ones((1, 7), bool), fill=e)["tokens"][0]
  by = jax.jit(jax.jacobian(lambda e: fill(e)[:, 0]))(RNG.normal(size=(1, 7, 8)))             # [token, 1, by, D]
  seen = np.abs(by[:, 0]).max(-1) > 0
  assert (seen == (np.tri(7, dtype=bool) if causal else np.ones((7, 7), bool))).all()
  other = IDS.copy()
  other[:, 5] = 256 - other[:, 5]
  before, after = (run(module, variables, x)["tokens"][:, :5] for x in (IDS, other))
  assert np.array_equal(before, after) == causal


def test_attention_with_a_mask_is_jaxs_own():
  q, k, v = RNG.normal(size=(3, 2, 5, 2, 4)).astype(np.float32)
  mask = np.tri(5, dtype=bool) & (np.arange(5) < np.array([5, 3])[:, None])[:, None]          # [B, T, T]
  ours = lambda *a: jnp.sum(jnp.sin(attend(*a, mask)))
  plain = lambda *a: jnp.sum(jnp.sin(jax.nn.dot_product_attention(*a, mask=mask[:, None])))
  for got, want in zip(*(jax.tree.leaves(jax.jit(jax.value_and_grad(f, (0, 1, 2)))(q, k, v)) for f in (ours, plain)),
                       strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_rotary_attention_goes_by_distance():
  """Queries and keys turned by their places have products that depend on how far they are apart alone."""
  q, k = (jnp.broadcast_to(RNG.normal(size=8), (1, 9, 1, 8)) for _ in range(2))
  q, k = (turned(a, angles_1d(9, 8)[None])[0, :, 0] for a in (q, k))
  products = np.asarray(q @ k.T)
  for distance in range(-8, 9):
    on = np.diagonal(products, distance)
    np.testing.assert_allclose(on, on[0], rtol=1e-4, atol=1e-5)
  assert abs(products[0, 3] - products[3, 0]) > 1e-3


def test_dropout_is_of_training_alone():
  module, variables = made(dropout=0.5)
  apply = jax.jit(module.apply, static_argnames="train")
  same, other, again = (apply(variables, IDS, train=True, rngs={"dropout": jax.random.key(k)}) for k in (1, 2, 1))
  assert np.array_equal(same, again) and not np.allclose(same, other)
  assert np.array_equal(apply(variables, IDS), apply(variables, IDS, train=True))             # no rng, no dropout


@pytest.mark.parametrize("options, message", [
  ({"pool": "first"}, "unknown pool 'first'"), ({"causal": True, "pool": "token"}, "set encoder.pool to last or mean"),
  ({"heads": 3}, "heads must divide the width"), ({"dropout": 1.0}, "encoder.dropout is 1"),
  ({"position": "sincos"}, "unknown position")])
def test_wrong_options(options, message):
  with pytest.raises(errors.UsageError, match=message):
    encoders.make("text_ti", **SMALL | options)


def test_wrong_input():
  module, variables = made(position="learned", length=7)
  with pytest.raises(errors.UsageError, match="reads ids, integers"):
    module.apply(variables, IDS.astype(float))
  with pytest.raises(errors.UsageError, match="set encoder.length"):
    module.apply(variables, np.pad(IDS, ((0, 0), (0, 1)), constant_values=5))
