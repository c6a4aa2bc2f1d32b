"""Encoders of PyTorch's libraries and how each saves its own, for weights_torch.py.

solo-learn wants other versions of all, so: pip install einops scikit-learn; pip install --no-deps solo-learn==1.0.2.
What it imports for schedules and plots alone is left empty.
"""

import argparse
import importlib
import importlib.machinery
import sys
import types

import timm
import torch
import torchvision
from torch import nn


def nhwc(x):
  return x.permute(0, 2, 3, 1)


def square(tokens):
  side = round(tokens.shape[1] ** 0.5)
  return tokens.reshape(len(tokens), side, side, -1)


def of_timm(model, x):
  """(pooled, grid) as timm gives them."""
  grid = model.forward_features(x)
  pooled = model.forward_head(grid, pre_logits=True)
  return pooled, nhwc(grid) if grid.ndim == 4 else square(grid[:, model.num_prefix_tokens:])


def of_resnet(model, x):
  """(pooled, grid) of torchvision's ResNet, also inside other libraries."""
  for name, part in model.named_children():
    if name in ("avgpool", "fc", "linear"):
      break
    x = part(x)
  return x.mean((2, 3)), nhwc(x)


def of_vit_b_16(model, x):
  """(pooled, grid) of torchvision's ViT."""
  x = model._process_input(x)
  x = model.encoder(torch.cat([model.class_token.expand(len(x), -1, -1), x], 1))
  return x[:, 0], square(x[:, 1:])


def of_features(model, x):
  """(pooled, grid) of torchvision's models that keep their convolutions in `features`."""
  grid = model.features(x)
  pooled = grid.mean((2, 3), keepdim=True)
  if type(model).__name__ == "ConvNeXt":
    pooled = model.classifier[0](pooled)
  return pooled.flatten(1), nhwc(grid)


class Case:
  """make: -> the model; features: (model, images) -> (pooled, grid); saved: model -> what its library writes to disk;
  headless: what takes the heads off a model before strict loading; source and encoder: for `sslx import`."""

  def __init__(self, source, encoder, make, features, to, saved=None, headless=None, size=224, suffix=None):
    self.source, self.encoder, self.make, self.features, self.to = source, encoder, make, features, to
    self.saved, self.headless = saved or (lambda m: m.state_dict()), headless or (lambda m: m)
    self.size, self.suffix = size, suffix or (".pth" if saved else ".safetensors")


def timm_case(encoder, name, source="timm", classes=10, **kwargs):
  options = {k: kwargs.pop(k) for k in ("saved", "suffix", "size") if k in kwargs}
  def headless(model):
    return timm.create_model(name, num_classes=0, **{k: v for k, v in kwargs.items() if k != "no_embed_class"})
  return Case(source, encoder, lambda: timm.create_model(name, num_classes=classes, **kwargs), of_timm, "timm",
              headless=headless, **options)


def torchvision_case(encoder, name, features, off, **kwargs):
  def headless(model):
    for part, new in off.items():
      owner, _, last = part.rpartition(".")
      setattr(model.get_submodule(owner) if owner else model, last, new)
    return model
  return Case("torchvision", encoder, lambda: getattr(torchvision.models, name)(num_classes=10), features,
              "torchvision", headless=headless, **kwargs)


def wrapped(prefix, **others):
  """What a training program saves: the encoder below a prefix, and other things beside it."""
  def saved(model):
    state = {f"{prefix}{k}": v for k, v in model.state_dict().items()}
    return others.get("outer", lambda s: s)(state | {k: v for k, v in others.items() if k != "outer"})
  return saved


def dinov2(model):
  """DINOv2's own names and positions of what timm calls otherwise: registers, and a slot for the class token."""
  state = model.state_dict()
  slot = torch.randn(1, 1, state["cls_token"].shape[-1], generator=torch.Generator().manual_seed(1))
  state["register_tokens"] = state.pop("reg_token")
  state["pos_embed"] = torch.cat([slot, state["pos_embed"]], 1)
  state["cls_token"] = state["cls_token"] - slot
  state["mask_token"] = torch.zeros(1, state["cls_token"].shape[-1])
  return {k: v for k, v in state.items() if not k.startswith("head.")}


def big_vision(model):
  """The arrays of big_vision's .npz that timm reads into this model."""
  s = {k: v.numpy() for k, v in model.state_dict().items()}
  heads, width = model.blocks[0].attn.num_heads, model.embed_dim
  out = {"embedding/kernel": s["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
         "embedding/bias": s["patch_embed.proj.bias"], "cls": s["cls_token"], "pos_embedding": s["pos_embed"],
         "Transformer/encoder_norm/scale": s["norm.weight"], "Transformer/encoder_norm/bias": s["norm.bias"],
         "head/kernel": s["head.weight"].T, "head/bias": s["head.bias"]}
  for i in range(len(model.blocks)):
    a, b = f"Transformer/encoderblock_{i}/", f"blocks.{i}."
    for n in (1, 2):
      out |= {f"{a}LayerNorm_{n - 1}/scale": s[f"{b}norm{n}.weight"],
              f"{a}LayerNorm_{n - 1}/bias": s[f"{b}norm{n}.bias"],
              f"{a}MlpBlock_0/Dense_{n - 1}/kernel": s[f"{b}mlp.fc{n}.weight"].T,
              f"{a}MlpBlock_0/Dense_{n - 1}/bias": s[f"{b}mlp.fc{n}.bias"]}
    weight, bias = s[f"{b}attn.qkv.weight"].reshape(3, heads, -1, width), s[f"{b}attn.qkv.bias"].reshape(3, heads, -1)
    for j, n in enumerate(("query", "key", "value")):
      out |= {f"{a}MultiHeadDotProductAttention_0/{n}/kernel": weight[j].transpose(2, 0, 1),
              f"{a}MultiHeadDotProductAttention_0/{n}/bias": bias[j]}
    out |= {f"{a}MultiHeadDotProductAttention_0/out/kernel": s[f"{b}attn.proj.weight"].T.reshape(heads, -1, width),
            f"{a}MultiHeadDotProductAttention_0/out/bias": s[f"{b}attn.proj.bias"]}
  return {f"params/{k}": v for k, v in out.items()}


def lightly_simclr():
  """The backbone of lightly's SimCLR tutorial, inside a LightningModule with its own head."""
  import pytorch_lightning
  from lightly.models.modules.heads import SimCLRProjectionHead

  class SimCLR(pytorch_lightning.LightningModule):
    def __init__(self):
      super().__init__()
      self.backbone = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
      self.projection_head = SimCLRProjectionHead(512, 512, 128)
  return SimCLR()


def lightly_generator():
  """lightly's own ResNet for small images, as its first tutorials take it apart."""
  from lightly.models import ResNetGenerator

  class Model(nn.Module):
    def __init__(self):
      super().__init__()
      self.backbone = nn.Sequential(*list(ResNetGenerator("resnet-18").children())[:-1], nn.AdaptiveAvgPool2d(1))
  return Model()


def of_generator(model, x):
  parts = list(model.backbone.children())
  x = parts[1](parts[0](x)).relu()
  for part in parts[2:6]:
    x = part(x)
  return x.mean((2, 3)), nhwc(x)


def of_children(model, x):
  x = model.backbone[:-1](x)
  return x.mean((2, 3)), nhwc(x)


def solo(cifar, encoder="resnet18"):
  """solo-learn's SimCLR, with what it imports for schedules and plots alone left empty."""
  import pytorch_lightning  # noqa: F401
  for name in ("pl_bolts", "pl_bolts.optimizers", "pl_bolts.optimizers.lr_scheduler", "matplotlib", "matplotlib.pyplot",
               "pandas", "seaborn", "umap", "wandb"):
    try:
      importlib.import_module(name)
    except ImportError:
      sys.modules[name] = types.ModuleType(name)
      sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
  sys.modules["pl_bolts.optimizers.lr_scheduler"].LinearWarmupCosineAnnealingLR = object
  simclr = importlib.import_module("solo.methods.simclr").SimCLR
  return simclr(encoder=encoder, num_classes=10, backbone_args={"cifar": cifar, "zero_init_residual": False},
                max_epochs=1, batch_size=8, optimizer="sgd", lars=False, lr=0.1, weight_decay=0.0, classifier_lr=0.1,
                exclude_bias_n_norm=False, accumulate_grad_batches=1, extra_optimizer_args={}, scheduler="none",
                min_lr=0.0, warmup_start_lr=0.0, warmup_epochs=0.0, num_large_crops=2, num_small_crops=0,
                proj_output_dim=8, proj_hidden_dim=8, temperature=0.1)


def lightning(model):
  """A checkpoint as Lightning writes it."""
  return {"epoch": 0, "global_step": 1, "state_dict": model.state_dict(), "optimizer_states": [{"state": {}}]}


def backbone_only(border=0):
  """torchvision's ResNet-18, its fc taken off, with the stem for small images if that has a border."""
  def headless(model):
    new = torchvision.models.resnet18()
    new.fc = nn.Identity()
    if border:
      new.conv1, new.maxpool = nn.Conv2d(3, 64, 3, 1, border, bias=False), nn.Identity()
    return new
  return headless


IDENTITY, TEACHER = nn.Identity(), "teacher.backbone."
SMALL = {"img_size": 96, "size": 96}
CASES = {
    "ResNet-18, torchvision": torchvision_case("resnet18", "resnet18", of_resnet, {"fc": IDENTITY}),
    "ResNet-50, torchvision": torchvision_case("resnet50", "resnet50", of_resnet, {"fc": IDENTITY}),
    "ResNet-50, timm": timm_case("resnet50", "resnet50"),
    "WRN-50-2, torchvision": torchvision_case("wide_resnet50_2", "wide_resnet50_2", of_resnet, {"fc": IDENTITY}),
    "ViT-Ti/16, timm": timm_case("vit_ti", "vit_tiny_patch16_224"),
    "ViT-S/16, timm": timm_case("vit_s", "vit_small_patch16_224"),
    "ViT-B/16, timm": timm_case("vit_b", "vit_base_patch16_224"),
    "ViT-B/16, torchvision": torchvision_case("vit_b", "vit_b_16", of_vit_b_16, {"heads": IDENTITY}),
    "ViT-S/16, mean of the tokens, timm": timm_case("vit_s", "vit_small_patch16_224", global_pool="avg",
                                                    class_token=False, fc_norm=False),
    "ViT-Ti/16, mean of the tokens, timm": timm_case("vit_ti", "vit_tiny_patch16_224", global_pool="avg",
                                                     class_token=False, fc_norm=False),
    "ViT-B/16, mean of the tokens, timm": timm_case("vit_b", "vit_base_patch16_224", global_pool="avg",
                                                    class_token=False, fc_norm=False),
    "ViT-S/16, norm of the mean, timm": timm_case("vit_s", "vit_small_patch16_224", global_pool="avg"),
    "ViT-S/14, registers, layer scale, timm": timm_case("vit_s", "vit_small_patch14_reg4_dinov2", img_size=224),
    "ViT-S/14, registers, DINOv2": timm_case("vit_s", "vit_small_patch14_reg4_dinov2", "dinov2", img_size=224,
                                             saved=dinov2),
    "ConvNeXt-T, timm": timm_case("convnext_tiny", "convnext_tiny"),
    "ConvNeXt-T, torchvision": torchvision_case("convnext_tiny", "convnext_tiny", of_features,
                                                {"classifier.2": IDENTITY}),
    "ConvNeXt V2 atto, timm": timm_case("convnextv2_atto", "convnextv2_atto"),
    "ConvNeXt V2 tiny, timm": timm_case("convnextv2_tiny", "convnextv2_tiny"),
    "ConvNeXt atto (1x1 convolutions), timm": timm_case("convnext_atto", "convnext_atto"),
    "VGG-16-BN, torchvision": torchvision_case("vgg16_bn", "vgg16_bn", of_features, {"classifier": IDENTITY}),
    "AlexNet, torchvision": torchvision_case("alexnet", "alexnet", of_features, {"classifier": IDENTITY}),
    "ViT-S/16, DINO": timm_case("vit_s", "vit_small_patch16_224", "dino", **SMALL, saved=wrapped(
        TEACHER, **{"teacher.head.mlp.0.weight": torch.zeros(2, 2)},
        outer=lambda s: {"teacher": {k.removeprefix("teacher."): v for k, v in s.items()}, "epoch": 3,
                         "args": argparse.Namespace(arch="vit_small"), "student": {}})),
    "ViT-S/16, iBOT": timm_case("vit_s", "vit_small_patch16_224", "ibot", **SMALL, saved=wrapped(
        "", masked_embed=torch.zeros(1, 384), outer=lambda s: {"state_dict": s})),
    "ViT-S/16, MAE": timm_case("vit_s", "vit_small_patch16_224", "mae", **SMALL, saved=wrapped(
        "", mask_token=torch.zeros(1, 1, 512), **{"decoder_embed.weight": torch.zeros(512, 384)},
        outer=lambda s: {"model": s})),
    "ViT-S/16, MoCo v3": timm_case("vit_s", "vit_small_patch16_224", "mocov3", **SMALL, saved=wrapped(
        "module.base_encoder.", **{"module.predictor.0.weight": torch.zeros(2, 2)},
        outer=lambda s: {"epoch": 1, "arch": "vit_small", "state_dict": s, "optimizer": {"state": {}}})),
    "ResNet-18, SimCLR": timm_case("resnet18", "resnet18", "simclr", size=96, saved=wrapped(
        "module.backbone.", outer=lambda s: {"state_dict": s, "arch": "resnet18"})),
    "ResNet-18, VISSL": timm_case("resnet18", "resnet18", "vissl", size=96, saved=wrapped(
        "_feature_blocks.", outer=lambda s: {"classy_state_dict": {"base_model": {"model": {
            "trunk": s, "heads": {"0.clf.weight": torch.zeros(2, 2)}}}}})),
    "ViT-Ti/16, big_vision": timm_case("vit_ti", "vit_tiny_patch16_224", "big_vision", **SMALL, no_embed_class=True,
                                       act_layer="gelu_tanh", saved=big_vision, suffix=".npz"),
    "ResNet-18, lightly": Case("lightly", "resnet18", lightly_simclr, of_children, "torchvision", lightning,
                               backbone_only(), size=96, suffix=".ckpt"),
    "ResNet-18 for small images, lightly": Case("lightly", "resnet18", lightly_generator, of_generator,
                                                "torchvision", lightning, backbone_only(1), size=32, suffix=".ckpt"),
    "ResNet-18, solo-learn": Case("solo-learn", "resnet18", lambda: solo(False), lambda m, x: of_resnet(m.encoder, x),
                                  "torchvision", lightning, backbone_only(), size=96, suffix=".ckpt"),
    "ResNet-18 for small images, solo-learn": Case(
        "solo-learn", "resnet18", lambda: solo(True), lambda m, x: of_resnet(m.encoder, x), "torchvision", lightning,
        backbone_only(2), size=32, suffix=".ckpt")}
