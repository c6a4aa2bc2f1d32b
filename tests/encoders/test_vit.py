"""Vision transformers against timm's parameter counts, a loop for the positions and a forward pass in NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from sslx import encoders, errors
from sslx.encoders import positions, vit

COUNTS = {  # timm's vit_*_patch16_224 (huge and giant: patch14) without classifier
  "vit_ti": (16, 5_524_416), "vit_s": (16, 21_665_664), "vit_b": (16, 85_798_656), "vit_l": (16, 303_301_632),
  "vit_h": (14, 630_764_800), "vit_g": (14, 1_011_202_432)}
RNG = np.random.default_rng(0)
QUICK = {"xla_backend_optimization_level": 0}                        # a tenth of the time to compile random draws


def shapes(module, *shape):
  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(module.init, key, jax.ShapeDtypeStruct(shape, jnp.float32))


def count(name, side, **options):
  variables = shapes(encoders.make(name, **options), 1, side, side, 3)
  assert set(variables) == {"params"}
  return sum(v.size for v in jax.tree.leaves(variables))


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
  patch, number = COUNTS[name]
  assert count(name, 224, patch=patch, position="learned") == number
  places = (224 // patch) ** 2 + 1
  assert count(name, 2 * patch, patch=patch) == number - places * vit.VARIANTS[name][0]


def test_parameter_counts_of_dinov2():
  """timm's vit_giant_patch14_dinov2, and vit_small_patch14_reg4_dinov2, whose class token has no position."""
  big = {"width": 1536, "heads": 24, "mlp": "swiglu", "layer_scale": 1e-5, "patch": 14, "position": "learned"}
  assert count("vit_g", 518, **big) == 1_136_479_232
  assert count("vit_s", 518, patch=14, position="learned", registers=4, layer_scale=1e-5) == 22_057_344 + 384


@pytest.mark.parametrize("base", [10000, 10])
def test_positions(base):
  h, w, width = 2, 3, 8
  want = np.zeros((h * w, width))
  for y in range(h):
    for x in range(w):
      for i in range(width // 4):
        a, b = x / base ** (4 * i / width), y / base ** (4 * i / width)
        want[y * w + x, [i, 2 + i, 4 + i, 6 + i]] = np.sin(a), np.cos(a), np.sin(b), np.cos(b)
  np.testing.assert_allclose(positions.sincos_2d(h, w, width, base), want, atol=1e-12)


def forward(p, x, patch, heads, depth, gelu=lambda y: y * (1 + erf(y / np.sqrt(2))) / 2, pooled=False):
  """Tokens after the last norm (or that of their mean, without the class token), in NumPy; x is normalised already."""
  def norm(x, n):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * n["scale"] + n["bias"]
  dense = lambda x, n: x @ n["kernel"] + n["bias"]
  B, H, W, C = x.shape
  h, w, width = H // patch, W // patch, p["patches"]["bias"].size
  x = x.reshape(B, h, patch, w, patch, C).transpose(0, 1, 3, 2, 4, 5).reshape(B, h * w, -1)
  x = x @ p["patches"]["kernel"].reshape(-1, width) + p["patches"]["bias"] + positions.sincos_2d(h, w, width)
  if "token" in p:
    x = np.concatenate([np.repeat(p["token"], B, 0), x], 1)
  for i in range(depth):
    b = p[f"block{i + 1}"]
    qkv, out = np.split(dense(norm(x, b["norm1"]), b["qkv"]), 3, -1), []
    for q, k, v in zip(*(np.split(a, heads, -1) for a in qkv), strict=True):
      a = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(width // heads))
      out.append(a / a.sum(-1, keepdims=True) @ v)
    x = x + dense(np.concatenate(out, -1), b["proj"])
    y = dense(norm(x, b["norm2"]), b["mlp1"])
    x = x + dense(gelu(y), b["mlp2"])
  return norm(x[:, 1:].mean(1) if pooled else x, p["norm"])


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_forward(pool):
  module = vit.make((8, 2, 2), patch=2, pool=pool, mean=(0.5,), std=(0.25,))
  x = RNG.random((2, 4, 6, 3), np.float32)
  spec = jax.eval_shape(module.init, jax.eval_shape(lambda: jax.random.key(0)), x)
  v = jax.tree.map(lambda s: RNG.normal(0, 0.5, s.shape).astype(np.float32), spec)
  out = jax.jit(lambda v, x: module.apply(v, x, method="features"))(v, x)
  want = forward(jax.tree.map(lambda a: a.astype(float), v["params"]), (x.astype(float) - 0.5) / 0.25, 2, 2, 2)
  tokens = {"class_tokens"} if pool == "token" else set()
  assert set(out) == {"stage1", "stage2", "grid", "tokens", "pooled"} | tokens and out["stage1"].shape == (2, 2, 3, 8)
  np.testing.assert_allclose(out["tokens"], want, atol=1e-4)
  np.testing.assert_allclose(out["grid"].reshape(2, 6, 8), want[:, -6:], atol=1e-4)
  np.testing.assert_allclose(out["pooled"], want[:, 0] if pool == "token" else want.mean(1), atol=1e-4)
  np.testing.assert_allclose(jax.jit(module.apply)(v, x), out["pooled"], atol=1e-5)


def test_a_class_token_beside_the_mean_and_its_norm():
  module = vit.make((8, 2, 2), patch=2, pool="mean", class_token=True, norm="pooled", mlp="gelu_tanh", mean=(0.0,),
                    std=(1.0,))
  x = RNG.random((2, 4, 6, 3), np.float32)
  spec = jax.eval_shape(module.init, jax.eval_shape(lambda: jax.random.key(0)), x)
  v = jax.tree.map(lambda s: RNG.normal(0, 0.5, s.shape).astype(np.float32), spec)
  tanh = lambda y: y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3))) / 2
  want = forward(jax.tree.map(lambda a: a.astype(float), v["params"]), x.astype(float), 2, 2, 2, tanh, pooled=True)
  out = jax.jit(lambda v, x: module.apply(v, x, method="features"))(v, x)
  np.testing.assert_allclose(out["pooled"], want, atol=1e-4)
  np.testing.assert_array_equal(out["grid"], out["stage2"])                          # the last map is without it


def test_patches_start_as_a_dense_layer():
  """At the variance of their inputs, as MAE's ViT-B/16 has it, so that positions do not drown small ones."""
  v = jax.jit(vit.make((64, 1, 2), patch=8).init, compiler_options=QUICK)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
  largest, bound = jnp.abs(v["params"]["patches"]["kernel"]).max(), np.sqrt(3 / (8 * 8 * 3))
  assert 0.99 * bound < largest <= bound


def test_sizes_and_patches():
  key = jax.eval_shape(lambda: jax.random.key(0))
  with pytest.raises(errors.UsageError, match="30x32 does not divide into patches of 16"):
    jax.eval_shape(encoders.make("vit_ti").init, key, jax.ShapeDtypeStruct((1, 30, 32, 3), jnp.float32))


def test_bfloat16_keeps_parameters_wide():
  x = RNG.random((2, 4, 4, 3), np.float32)
  build = lambda **kw: vit.make((8, 1, 2), patch=2, **kw)
  v = jax.jit(build(dtype="bfloat16").init, compiler_options=QUICK)(jax.random.key(0), x)
  assert {a.dtype for a in jax.tree.leaves(v)} == {jnp.dtype("float32")}
  low, full = (jax.jit(build(dtype=d).apply)(v, x) for d in ("bfloat16", None))
  assert low.dtype == jnp.bfloat16
  np.testing.assert_allclose(low.astype(float), full, atol=0.1)


SMALL = {"patch": 2, "width": 8, "depth": 3, "heads": 2, "mean": (0.5,), "std": (0.25,)}
EXTRAS = {"learned": {"position": "learned"}, "rotary": {"position": "none", "rotary": True, "registers": 2},
          "dinov2": {"mlp": "swiglu", "layer_scale": 0.5, "qk_norm": True, "pool": "mean"}}


def small(side=6, **options):
  """(module, variables with random values everywhere, images)."""
  module = encoders.make("vit_ti", **SMALL | options)
  v = jax.tree.map(lambda s: RNG.normal(0, 0.5, s.shape).astype(np.float32), shapes(module, 1, side, side, 1))
  return module, v, RNG.random((3, side, side, 1), np.float32)


def features(module, v, x, **options):
  return jax.jit(lambda v, x: module.apply(v, x, method="features", **options))(v, x)


def test_learned_positions_are_resized():
  learnt = RNG.normal(size=(1, 10, 4)).astype(np.float32)
  assert positions.resized(learnt, 1, 3, 3) is learnt
  assert positions.resized(learnt, 1, 1, 9).shape == (1, 10, 4)
  assert not np.allclose(positions.resized(learnt, 1, 1, 9), learnt)                  # as many, but of another shape
  flat6 = learnt[:, :7]
  assert positions.resized(flat6, 1, 2, 3) is flat6                                         # six are no square's
  flat = np.broadcast_to(learnt[:, :1], (1, 10, 4))
  np.testing.assert_allclose(positions.resized(flat, 1, 5, 4), np.broadcast_to(learnt[:, :1], (1, 21, 4)), atol=1e-6)
  ramp = np.concatenate([learnt[:, :1], np.arange(9.0, dtype=np.float32).reshape(1, 9, 1).repeat(4, 2)], 1)
  larger = np.asarray(positions.resized(ramp, 1, 6, 6))
  np.testing.assert_array_equal(larger[:, :1], learnt[:, :1])
  assert np.all(np.diff(larger[0, 1:, 0].reshape(6, 6), axis=0) > 0)                 # places keep their order
  with pytest.raises(errors.UsageError, match="no square.*encoder.grid"):
    positions.resized(learnt[:, :7], 1, 3, 3)


def test_learned_positions_serve_other_sizes():
  module, v, _ = small(position="learned")
  assert v["params"]["positions"].shape == (1, 10, 8)
  assert features(module, v, RNG.random((2, 10, 8, 1), np.float32))["grid"].shape == (2, 5, 4, 8)
  assert shapes(encoders.make("vit_ti", **SMALL, position="learned", grid=7), 1, 6, 6, 1)["params"]["positions"].shape \
      == (1, 50, 8)


@pytest.mark.parametrize("extra", EXTRAS)
def test_visible_patches_alone(extra):
  """All places kept: the same tokens in the order of `keep`; some kept: the hidden pixels do not matter."""
  module, v, x = small(**EXTRAS[extra])
  first = {"learned": 1, "rotary": 3, "dinov2": 0}[extra]
  full = np.asarray(features(module, v, x)["tokens"])
  order = np.stack([RNG.permutation(9) for _ in x])
  seen = features(module, v, x, keep=order)
  assert set(seen) == {"tokens", "pooled"}
  np.testing.assert_allclose(seen["tokens"][:, :first], full[:, :first], atol=1e-5)
  np.testing.assert_allclose(seen["tokens"][:, first:], np.take_along_axis(full[:, first:], order[..., None], 1),
                             atol=1e-5)
  part = features(module, v, x, keep=np.full((3, 2), [0, 4]))["tokens"]
  other = x.copy()
  other[:, 2:, 4:], other[:, 4:] = 0, 1
  assert part.shape == (3, first + 2, 8)
  np.testing.assert_array_equal(part, features(module, v, other, keep=np.full((3, 2), [0, 4]))["tokens"])


def test_mask_tokens_in_place():
  module, v, x = small()
  mask, fill = RNG.random((3, 3, 3)) < 0.5, RNG.normal(size=8).astype(np.float32)
  pixels = np.repeat(np.repeat(mask, 2, 1), 2, 2)[..., None]
  other = np.where(pixels, RNG.random(x.shape), x).astype(np.float32)
  out = features(module, v, x, mask=mask, fill=fill)
  np.testing.assert_array_equal(out["tokens"], features(module, v, other, mask=mask, fill=fill)["tokens"])
  assert out["grid"].shape == (3, 3, 3, 8) and np.any(out["pooled"] != features(module, v, x)["pooled"])
  np.testing.assert_array_equal(features(module, v, x, mask=mask & False, fill=fill)["pooled"],
                                features(module, v, x)["pooled"])


@pytest.mark.parametrize("how", [{"remat": True}, {"remat": True, "scan": True}], ids="+".join)
def test_remat_and_scan_compute_the_same(how):
  extra = EXTRAS["rotary"] | EXTRAS["dinov2"] | EXTRAS["learned"]
  plain, v, x = small(**extra)
  module = encoders.make("vit_ti", **SMALL | extra | how)
  stacked = dict(v["params"])
  if "scan" in how:
    blocks = [stacked.pop(f"block{i}") for i in (1, 2, 3)]
    stacked["blocks"] = jax.tree.map(lambda *b: np.stack(b), *blocks)
    assert jax.tree.structure(shapes(module, 1, 6, 6, 1)) == jax.tree.structure({"params": stacked})
  want, out = features(plain, v, x), features(module, {"params": stacked}, x)
  assert set(out) == set(want) >= {"stage1", "stage3", "grid"}
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), out, want)
  total = lambda m: jax.jit(jax.grad(lambda x: m[0].apply(m[1], x).sum()))
  np.testing.assert_allclose(total((module, {"params": stacked}))(x), total((plain, v))(x), atol=1e-4)


def test_rotary_attention_sees_distances_alone():
  q, k = RNG.normal(size=(2, 1, 12, 1, 8)).astype(np.float32)
  q, k = np.broadcast_to(q[:, :1], q.shape), np.broadcast_to(k[:, :1], k.shape)      # the same token everywhere
  angle = positions.angles_2d(3, 4, 8)[None]
  scores = np.asarray(positions.turned(q, angle)[0, :, 0] @ positions.turned(k, angle)[0, :, 0].T).reshape(3, 4, 3, 4)
  np.testing.assert_allclose(scores[:-1, :-1, :-1, :-1], scores[1:, 1:, 1:, 1:], atol=1e-5)
  assert np.ptp(scores[1, 1]) > 0.1


def test_drop_path_scales_what_is_kept():
  rng = np.random.default_rng(0)
  block, x = vit.Block(2, None), jnp.asarray(rng.normal(size=(1, 3, 8)), jnp.float32)
  p = block.init(jax.random.key(0), x)
  many = jnp.broadcast_to(x, (512, 3, 8))
  p["params"]["mlp2"] = jax.tree.map(jnp.zeros_like, p["params"]["mlp2"])                    # the first branch alone
  first = np.asarray(block.apply(p, x) - x)
  out = np.asarray(block.apply(p, many, None, 0.5, rngs={"dropout": jax.random.key(1)}) - x)
  gone = np.isclose(out, 0, atol=1e-6).all((1, 2))
  assert 200 < gone.sum() < 312
  np.testing.assert_allclose(out[~gone], np.broadcast_to(2 * first, out[~gone].shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_drop_path_rises_with_depth(scan):
  module, v, _ = small(drop_path=0.5, scan=scan)
  x = np.broadcast_to(np.random.default_rng(0).random((1, 6, 6, 1), np.float32), (4000, 6, 6, 1))
  run = lambda train, **kw: jax.jit(lambda: module.apply(v, x, train, method="features", **kw))()
  still, moved = run(False), run(True, rngs={"dropout": jax.random.key(0)})
  np.testing.assert_array_equal(run(True)["pooled"], still["pooled"])                # without a key nothing is dropped
  np.testing.assert_allclose(moved["stage1"], still["stage1"], atol=1e-5)
  for stage, rate in ((2, 0.25), (3, 0.5)):                                          # both branches are skipped
    before, after = (np.asarray(moved[f"stage{i}"]) for i in (stage - 1, stage))
    gone = np.isclose(after, before, atol=1e-5).all((1, 2, 3)).mean()
    assert abs(gone - rate**2) < 0.03


@pytest.mark.parametrize("options, message", [
  ({"position": "sine"}, "unknown position 'sine': did you mean"), ({"mlp": "relu"}, "unknown mlp 'relu'"),
  ({"norm": "pooled"}, "set encoder.pool to mean"), ({"width": 64}, "width 64 with 3 heads"),
  ({"width": 18, "heads": 3, "rotary": True}, "width 18 with 3 heads")])
def test_wrong_options(options, message):
  with pytest.raises(errors.UsageError, match=message):
    encoders.make("vit_ti", **options)


def test_attention_needs_a_class_token():
  with pytest.raises(errors.UsageError, match="no class token"):
    vit.attention(encoders.make("vit_ti", pool="mean"), {}, None)


@pytest.mark.parametrize("scan", [False, True])
def test_attention_of_the_class_token(scan):
  """By hand from the tokens that the last block reads, which are those after the first."""
  options = {"patch": 2, "width": 8, "heads": 2, "registers": 1, "scan": scan}
  encoder = encoders.make("vit_ti", depth=2, **options)
  x = jnp.asarray(RNG.random((2, 4, 6, 3), np.float32))
  variables = encoder.init(jax.random.key(0), x)
  seen = vit.attention(encoder, variables, x)
  assert seen.shape == (2, 2, 2, 3) and np.all(seen > 0)
  p = dict(variables["params"])
  block = jax.tree.map(lambda a: a[1], p["blocks"]) if scan else p["block2"]
  p |= {"blocks": jax.tree.map(lambda a: a[:1], p["blocks"])} if scan else {}
  unchanged = {"scale": jnp.ones(8), "bias": jnp.zeros(8)}
  tokens = []
  def keep(rows):                                                        # what the last norm reads
    tokens.append(rows)
  before = encoders.make("vit_ti", depth=1, **options)
  with nn.intercept_methods(lambda call, args, kw, context: (
      keep(args[0]) if context.module.name == "norm" else None, call(*args, **kw))[1]):
    before.apply({"params": {k: v for k, v in p.items() if k != "block2"} | {"norm": unchanged}}, x, method="features")
  y = nn.LayerNorm(epsilon=1e-6).apply({"params": block["norm1"]}, tokens[0])
  q, k, _ = np.split(np.asarray(y @ block["qkv"]["kernel"] + block["qkv"]["bias"]), 3, -1)
  for head in (slice(0, 4), slice(4, 8)):
    scores = np.einsum("bd,btd->bt", q[:, 0, head], k[..., head]) / 2
    share = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(seen[:, head.start // 4].reshape(2, 6), share[:, 2:], rtol=1e-4)
