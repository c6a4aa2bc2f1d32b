"""Vision transformers: timm's names, which DINO, MAE, MoCo v3, iBOT and DINOv2 share; torchvision's; big_vision's."""

import re

import numpy as np

from sslx.encoders import vit
from sslx.encoders.positions import sincos_2d
from sslx.interop.table import Row, conv, dense, norm, one

MODULE, FAMILY = vit.ViT, vit
TOP = {  # patches, class token, positions, last norm
    "timm": ("patch_embed.proj", "cls_token", "pos_embed", "norm"),
    "torchvision": ("conv_proj", "class_token", "encoder.pos_embedding", "encoder.ln"),
    "big_vision": ("embedding", "cls", "pos_embedding", "Transformer.encoder_norm"),
    "vit_jax": ("embedding", "cls", "Transformer.posembed_input.pos_embedding", "Transformer.encoder_norm")}
BLOCK = {  # a block, its two norms, attention's projections in and out, the two layers of the MLP
    "timm": ("blocks.{}.", "norm1", "norm2", "attn.qkv.", "attn.proj", "mlp.fc1", "mlp.fc2"),
    "torchvision": ("encoder.layers.encoder_layer_{}.", "ln_1", "ln_2", "self_attention.in_proj_",
                    "self_attention.out_proj", "mlp.0", "mlp.3"),
    "big_vision": ("Transformer.encoderblock_{}.", "LayerNorm_0", "LayerNorm_1", "MultiHeadDotProductAttention_0.",
                   None, "MlpBlock_0.Dense_0", "MlpBlock_0.Dense_1"),
    "vit_jax": ("Transformer.encoderblock_{}.", "LayerNorm_0", "LayerNorm_2", "MultiHeadDotProductAttention_1.",
                None, "MlpBlock_3.Dense_0", "MlpBlock_3.Dense_1")}
TOP["timm bare"], BLOCK["timm bare"] = TOP["timm"], BLOCK["timm"]    # positions of the patches alone (no_embed_class)
FLAX, BARE = ("big_vision", "vit_jax"), ("timm bare", "big_vision")


def rows(module, layout, shape=None):
  """The table of a ViT; shape (H, W, C) is that of the images, for positions that are computed."""
  patches, token, place, last = TOP[layout]
  in_flax, options = layout in FLAX, dict(module.block)
  yield from plain(conv("patches", patches, bias=True), in_flax)
  yield from positions(module, layout, token, place, shape)
  if module.registers:
    yield one("params/registers", "reg_token")
  for i in range(module.depth):
    block, norm1, norm2, qkv, proj, mlp1, mlp2 = BLOCK[layout]
    a, b = f"params/block{i + 1}", block.format(i)
    name = f"block{i + 1}"
    yield from plain(norm(f"{name}/norm1", b + norm1), in_flax)
    if in_flax:
      yield from attention(a, b + qkv, options["heads"])
    else:
      yield from dense(f"{name}/qkv", b + qkv, dot="")
      yield from dense(f"{name}/proj", b + proj)
    if options["qk_norm"]:
      yield from norm(f"{name}/norm_q", f"{b}attn.q_norm")
      yield from norm(f"{name}/norm_k", f"{b}attn.k_norm")
    yield from plain(norm(f"{name}/norm2", b + norm2), in_flax)
    yield from plain(dense(f"{name}/mlp1", b + mlp1), in_flax)
    yield from plain(dense(f"{name}/mlp2", b + mlp2), in_flax)
    if options["layer_scale"]:
      yield one(f"{a}/scale1", f"{b}ls1.gamma")
      yield one(f"{a}/scale2", f"{b}ls2.gamma")
  yield from plain(norm("norm", "fc_norm" if module.norm == "pooled" else last), in_flax)


def plain(rows, in_flax):
  """The rows, as Flax names and lays out arrays if that is theirs."""
  for row in rows:
    if in_flax:
      ours, theirs = row.ours[0], row.theirs[0].rpartition(".")[0]
      row = one(ours, f"{theirs}.{ours.rpartition('/')[2]}")
    yield row


def positions(module, layout, token, place, shape):
  """The class token and the positions, of which ours have a slot for the class token."""
  if module.position == "learned" and module.class_token and layout in BARE:
    def into(cls, p):
      return cls, np.concatenate([np.zeros_like(p[:, :1]), p], 1)

    def out(cls, p):
      return np.where(p[:, :1] == 0, cls, cls + p[:, :1]), p[:, 1:]
    yield Row(("params/token", "params/positions"), (token, place), into, out)
    return
  if module.class_token:
    yield one("params/token", token)
  if module.position == "learned":
    yield one("params/positions", place)
  elif module.position == "sincos":
    slots = int(module.class_token and layout not in BARE)
    grid = [n // module.patch for n in shape[:2]]
    made = np.pad(sincos_2d(*grid, module.width), ((slots, 0), (0, 0)))[None].astype(np.float32)
    yield Row((), (place,), lambda a: (), lambda: (made,))


def attention(ours, theirs, heads):
  """Flax's attention: three projections [D, heads, D / heads], and one back."""
  names = ("query", "key", "value")
  split = lambda a: tuple(p.reshape(*p.shape[:-1], heads, -1) for p in np.split(a, 3, -1))
  yield Row((f"{ours}/qkv/kernel",), tuple(f"{theirs}{n}.kernel" for n in names),
            lambda *a: (np.concatenate([p.reshape(len(p), -1) for p in a], 1),), split)
  yield Row((f"{ours}/qkv/bias",), tuple(f"{theirs}{n}.bias" for n in names),
            lambda *a: (np.concatenate([p.reshape(-1) for p in a]),), split)
  yield one(f"{ours}/proj/kernel", f"{theirs}out.kernel", lambda a: a.reshape(-1, a.shape[-1]),
            lambda a: a.reshape(heads, -1, a.shape[-1]))
  yield one(f"{ours}/proj/bias", f"{theirs}out.bias")


RENAMED = (  # DINOv2's chunks of blocks, registers and SwiGLU; torchvision's before 0.12
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."), (r"^register_tokens$", "reg_token"),
    (r"\.mlp\.w12\.", ".mlp.fc1."), (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3."))
STACK = "Transformer.encoderblock."


def named_alike(theirs):
  """A flat dict with one name for what several programs name differently; stacked blocks apart."""
  out = {}
  for key, a in theirs.items():
    for old, new in RENAMED:
      key = re.sub(old, new, key)
    if key.startswith(STACK):
      out |= {f"Transformer.encoderblock_{i}.{key.removeprefix(STACK)}": v for i, v in enumerate(a)}
    else:
      out[key] = a
  return out


def recognised(shapes, source):
  """See resnet.recognised."""
  for layout in ("timm", "torchvision", "big_vision", "vit_jax"):
    patches, token, place, last = TOP[layout]
    kernel, first = patches + (".kernel" if layout in FLAX else ".weight"), BLOCK[layout][0].format(0)
    if kernel not in shapes or not any(k.startswith(first + BLOCK[layout][1]) for k in shapes):
      continue
    if layout == "big_vision" and place not in shapes and first + "MlpBlock_3.Dense_0.kernel" in shapes:
      continue
    sides = shapes[kernel][:2] if layout in FLAX else shapes[kernel][2:]
    options = {"patch": sides[0], "class_token": token in shapes, "pool": "token" if token in shapes else "mean",
               "position": "learned" if place in shapes else "none"}
    if place in shapes:
      count = shapes[place][1]
      slot = token in shapes and layout != "big_vision" and round((count - 1) ** 0.5) ** 2 == count - 1
      options["grid"] = round((count - slot) ** 0.5)
      layout = "timm bare" if layout == "timm" and token in shapes and not slot else layout
    if "reg_token" in shapes:
      options["registers"] = shapes["reg_token"][1]
    if f"{first}ls1.gamma" in shapes:
      options["layer_scale"] = 1e-5
    if f"{first}attn.q_norm.weight" in shapes:
      options["qk_norm"] = True
    if "fc_norm.weight" in shapes and last + ".weight" not in shapes:
      options |= {"pool": "mean", "norm": "pooled"}
    mlp1, mlp2 = (shapes.get(f"{first}{n}.weight", ()) for n in BLOCK[layout][-2:])
    if mlp1 and mlp2 and mlp1[0] == 2 * mlp2[-1]:
      options["mlp"] = "swiglu"
    elif layout in FLAX:
      options["mlp"] = "gelu_tanh"
    return layout, options
  return None


def laid_out(module, to):
  """See resnet.laid_out."""
  return "timm bare" if module.registers and module.class_token else to          # as timm's with registers


def refused(module, to):
  """See resnet.refused."""
  block = dict(module.block)
  if module.rotary:
    return "the layouts of PyTorch's plain ViT have no rotary positions (encoder.rotary): --to safetensors or stablehlo"
  if to == "torchvision" and (module.pool != "token" or module.registers or block["layer_scale"] or block["qk_norm"]
                              or block["mlp"] != "gelu" or module.position == "none"):
    return "torchvision's ViT has a class token, positions and plain blocks alone: --to timm"
  return None


def call(module, to, shape):
  """See resnet.call."""
  block = dict(module.block)
  hidden = block["hidden"] / module.width
  if to == "torchvision":
    known = {768: "vit_b_{}", 1024: "vit_l_{}", 1280: "vit_h_{}"}
    own = next((v for v in vit.VARIANTS.values() if v[:3] == (module.width, module.depth, block["heads"])), None)
    name = own and known.get(module.width, "").format(module.patch)
    name = name if name in ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14") else None
    return {"name": name, "options": {"image_size": shape[0]} if shape[0] != 224 else {},
            "then": ["model.heads = torch.nn.Identity()"]}
  side = module.grid * module.patch if module.position == "learned" and module.grid else shape[0]
  options = {"num_classes": 0, "img_size": side, "patch_size": module.patch, "embed_dim": module.width,
             "depth": module.depth, "num_heads": block["heads"], "mlp_ratio": hidden}
  options |= {} if shape[2] == 3 else {"in_chans": shape[2]}
  if module.pool == "mean":
    options |= {"global_pool": "avg", "class_token": module.class_token, "fc_norm": module.norm == "pooled"}
  if module.registers:
    options |= {"reg_tokens": module.registers, "no_embed_class": True}
  if block["layer_scale"]:
    options |= {"init_values": block["layer_scale"]}
  if block["qk_norm"]:
    options |= {"qk_norm": True}
  if module.position == "none":
    options |= {"pos_embed": "none"}
  if block["mlp"] == "gelu_tanh":
    options |= {"act_layer": "gelu_tanh"}
  classes = {}
  if block["mlp"] == "swiglu":
    options["mlp_ratio"] = 2 * (-(-block["hidden"] * 2 // 24) * 8) / module.width
    classes = {"mlp_layer": "timm.layers.SwiGLUPacked", "act_layer": "torch.nn.SiLU"}
  return {"name": "vit_base_patch16_224", "options": options, "classes": classes, "then": []}
