"""I-JEPA, iBOT and DINOv2 against NumPy: what is hidden from whom, the targets, the losses, the pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from losses import losses_numpy as reference

from sslx import encoders, errors
from sslx.augment import mask
from sslx.heads import TokenDecoder
from sslx.methods import dinov2, ibot, ijepa

RNG = np.random.default_rng(0)
IMAGES = {"image": RNG.random((8, 16, 16, 1), np.float32)}
QUICK = {"xla_cpu_use_fusion_emitters": False}             # a third of the time to compile
KEY = jax.random.key(1)
as_it_is = lambda key, image: jnp.asarray(image, float)


def vit(pool):
  return encoders.make("vit_ti", width=8, depth=1, heads=2, patch=4, pool=pool, mean=(0.5,), std=(0.5,))


def started(method):
  """(params, state, views) of a method, the target unlike the online network."""
  params, state = method.init(jax.random.key(0), IMAGES)
  state["target"] = jax.tree.map(lambda v: v + 0.1 * jax.random.normal(KEY, v.shape), state["target"])
  return params, state, jax.jit(method.views, compiler_options=QUICK)(jax.random.key(2), IMAGES)


def blind(method, params, state, views):
  """Whether each patch [h, w] can be painted over, in image 0, without any change to what is learnt.

  The target says the same of every image here, so the loss tells what the predictions are made of.
  """
  state["target"] = jax.tree.map(jnp.zeros_like, state["target"])
  large = views["image"][0] if isinstance(views["image"], tuple) else views["image"][:, None]

  def loss(y, x):
    painted = jax.lax.dynamic_update_slice(large, jnp.full((1, 1, 4, 4, 1), 0.3), (0, 0, 4 * y, 4 * x, 0))
    image = (painted, *views["image"][1:]) if isinstance(views["image"], tuple) else painted[:, 0]
    return method.loss(params, state, views | {"image": image}, KEY, 1.0)[0]
  y, x = np.mgrid[:4, :4]
  first, out = jax.jit(lambda: (method.loss(params, state, views, KEY, 1.0)[0], jax.lax.map(
      lambda at: loss(*at), (y.ravel(), x.ravel()))), compiler_options=QUICK)()
  return np.isclose(out.reshape(4, 4), first, rtol=1e-6, atol=0)


def test_ijepa_predicts_what_the_target_says_of_hidden_blocks():
  encoder = vit("mean")
  method = ijepa.make(encoder, width=8, depth=1, heads=2, momentum=0.6, aug=as_it_is)
  params, state, views = started(method)
  context, targets = np.asarray(views["context"]), np.asarray(views["targets"])
  assert (targets.sum((2, 3)) == 3).all() and targets.shape[1] == 4 and (context.sum((1, 2)) == 16 - 4 * 3).all()
  assert not (context[:, None] & targets).any()

  value, (after, metrics) = jax.jit(method.loss, compiler_options=QUICK)(params, state, views, KEY, 0.5)
  jax.tree.map(lambda new, old, online: np.testing.assert_allclose(new, 0.8 * old + 0.2 * online, rtol=1e-5),
               after["target"], state["target"], params["encoder"])                     # half-way from 0.6 to 1
  see = jax.jit(lambda p, x, keep=None: encoder.apply({"params": p}, x, keep=keep, method="features"),
                compiler_options=QUICK)
  latent = np.asarray(see(after["target"], views["image"])["grid"], float)              # the whole image
  latent = (latent - latent.mean(-1, keepdims=True)) / latent.std(-1, keepdims=True)
  places = np.array([np.flatnonzero(c) for c in context])
  tokens = see(params["encoder"], views["image"], places)["tokens"]
  predictor = jax.jit(lambda x, seen, asked: TokenDecoder(8, 8, 1, 2).apply(
      {"params": params["predictor"]}, x, seen, asked, (4, 4)), compiler_options=QUICK)
  terms = []
  for v in range(4):                                                                    # a block by itself
    asked = np.array([np.flatnonzero(t) for t in targets[:, v]])
    predicted = np.asarray(predictor(tokens, places, asked), float).reshape(-1, 8)
    terms.append(reference.smooth_l1(predicted, latent[targets[:, v]], np.ones(len(predicted)), 1.0))
  np.testing.assert_allclose(value, np.mean(terms), rtol=1e-4)
  assert metrics["z_std"] > 0
  np.testing.assert_array_equal(blind(method, params, state, views), ~context[0])

  shown = method.show(params, state, views)
  assert list(shown) == ["view", "context", "target 1", "target 2", "target 3", "target 4"]
  hidden = np.repeat(np.repeat(~targets[:, 2], 4, 1), 4, 2)
  np.testing.assert_array_equal(np.asarray(shown["target 3"])[..., 0],
                                np.where(hidden, 0.5, np.asarray(views["image"])[..., 0]))


def two_sizes(key, image):
  """Two large views and a small one, all different."""
  scale = jax.random.uniform(key, (3,), minval=0.5)
  image = jnp.asarray(image, float)
  return jnp.stack([image * scale[0], image * scale[1]], 1), image[:, None, :8, :8] * scale[2]


OPTIONS = {"prototypes": 6, "widths": (8, 5), "momentum": 0.6, "warm": 0.0, "teacher_temp": 0.2, "freeze": 0.0,
           "aug": two_sizes, "ratio": (0.2, 0.6)}
CASES = {"ibot": lambda **more: ibot.make(vit("token"), **OPTIONS, **more),
         "dinov2": lambda **more: dinov2.make(vit("token"), **OPTIONS, patch_prototypes=7, patch_weight=2.0, **more)}


@pytest.mark.parametrize("name", CASES)
def test_class_and_patch_losses(name):
  method, K = CASES[name](), {"ibot": 6, "dinov2": 7}[name]
  params, state, views = started(method)
  hidden = np.asarray(views["mask"])                                                    # [B, V, h, w]
  counts = np.sort(hidden.sum((2, 3)).ravel())
  want = [16 * (0.2 + 0.4 * (i + 0.5) / 8) for i in range(8)]                           # half of the 16 views
  np.testing.assert_array_equal(counts, [0] * 8 + np.round(want).astype(int).tolist())
  if name == "ibot":
    state["center"] = {"z": jax.random.normal(KEY, (6,)), "patch": jax.random.normal(KEY, (6,)) * 2}

  value, (after, metrics) = jax.jit(method.loss, compiler_options=QUICK)(params, state, views, KEY, 0.5)
  jax.tree.map(lambda new, old, online: np.testing.assert_allclose(new, 0.8 * old + 0.2 * online, rtol=1e-5),
               after["target"]["params"], state["target"]["params"], params["net"])
  encoder = vit("token")
  see = jax.jit(lambda p, x, mask=None: encoder.apply(
      {"params": p["encoder"]}, x, mask=mask, fill=p["masked"]["fill"], method="features"), compiler_options=QUICK)

  def head(p, x, kind):                                                                 # the MLP and its prototypes
    dense = lambda x, d: x @ np.asarray(d["kernel"], float) + np.asarray(d["bias"], float)
    mlp, last = p[kind]["heads_0"], np.asarray(p[kind]["heads_1"]["prototypes"], float)
    x = np.asarray(jax.nn.gelu(dense(np.asarray(x, float), mlp["dense1"])), float)
    return reference.unit(dense(x, mlp["dense2"])) @ reference.unit(last.T).T
  patch_head = "head" if name == "ibot" else "patch_head"
  teacher, student = after["target"]["params"], params["net"]
  s, t, pooled, s_patch, t_patch, image = [], [], [], [], [], []
  for v in range(2):
    x = views["image"][0][:, v]
    whole, part = see(teacher, x), see(student, x, hidden[:, v])
    t.append(head(teacher, whole["pooled"], "head"))
    s.append(head(student, part["pooled"], "head"))
    pooled.append(np.asarray(part["pooled"], float))
    for b in range(8):                                                                  # patch by patch
      for y, x_ in np.argwhere(hidden[b, v]):
        t_patch.append(head(teacher, whole["grid"][b, y, x_][None], patch_head)[0])
        s_patch.append(head(student, part["grid"][b, y, x_][None], patch_head)[0])
        image.append(2 * b + v)
  s.append(head(student, see(student, views["image"][1][:, 0])["pooled"], "head"))
  s, t, s_patch, t_patch = map(np.array, (s, t, s_patch, t_patch))
  if name == "ibot":
    middle = {k: np.asarray(m, float) for k, m in state["center"].items()}
    want = {"class": reference.dino(s, t, middle["z"], 0.1, 0.2),
            "patch": reference.ibot(s_patch, t_patch, middle["patch"], image, 0.1, 0.2)}
    total = want["class"] + want["patch"]
    for k, seen in (("z", t.reshape(-1, 6)), ("patch", t_patch)):
      np.testing.assert_allclose(after["center"][k], 0.9 * middle[k] + 0.1 * seen.mean(0), rtol=1e-4, atol=1e-5)
  else:
    balanced = lambda v: np.log(reference.sinkhorn(v, 0.2))                             # the softmax of a logarithm
    want = {"class": reference.dino(s, balanced(t.reshape(16, 6)).reshape(2, 8, 6), 0, 0.1, 1.0),
            "patch": reference.ibot(s_patch, balanced(t_patch), 0, image, 0.1, 1.0),
            "koleo": np.mean([reference.koleo(h) for h in pooled])}
    total = want["class"] + 2 * want["patch"] + 0.1 * 2 * want["koleo"]
    assert "center" not in after
  assert s_patch.shape == (hidden.sum(), K)
  for k, w in want.items():
    np.testing.assert_allclose(metrics[k], w, rtol=1e-3, err_msg=k)
  np.testing.assert_allclose(value, total, rtol=1e-3)


def test_ibot_student_is_blind_where_patches_are_hidden():
  method = CASES["ibot"](share=1.0)
  params, state, views = started(method)
  hidden = np.asarray(views["mask"])
  assert (hidden.sum((2, 3)) > 0).all()
  np.testing.assert_array_equal(blind(method, params, state, views), hidden[0, 0])
  shown = method.show(params, state, views)
  assert {"view 1", "view 2", "small view", "masked", "attention"} == set(shown)
  assert (np.asarray(shown["masked"])[np.repeat(np.repeat(hidden[:, 0], 4, 1), 4, 2)] == 0.5).all()


def test_masks_share_out_within_groups():
  counts = jax.jit(lambda key: mask.share_out(key, (0, 2, 5), 300))(KEY).reshape(100, 3)
  assert (np.sort(counts, 1) == [0, 2, 5]).all()
  assert len(np.unique(counts, axis=0)) == 6                                            # in any order


def test_encoders_that_do_not_fit():
  with pytest.raises(errors.UsageError, match="set encoder.pool to mean"):
    ijepa.make(vit("token"))
  with pytest.raises(errors.UsageError, match="4 targets of 4 leave too few"):
    jax.eval_shape(ijepa.make(vit("mean"), share=0.25).views, KEY, IMAGES)
  with pytest.raises(errors.UsageError, match="set encoder.pool to token"):
    ibot.make(vit("mean"))
  for make in (ijepa.make, ibot.make, dinov2.make):
    with pytest.raises(errors.UsageError, match="set encoder.name to a ViT"):
      make(encoders.make("resnet10"))
  with pytest.raises(errors.UsageError, match="did you mean sinkhorn"):
    ibot.make(vit("token"), centering="sinkhorm")
  with pytest.raises(errors.UsageError, match="share is 0 and ratio"):
    ibot.make(vit("token"), share=0.0)
