"""Encoders of PyTorch's libraries with random weights, for experiments/interop.py: saved, measured, and loaded back.

  python experiments/peers/weights_torch.py make --case NAME --images images.npy --folder DIR
  python experiments/peers/weights_torch.py check --case NAME --images images.npy --folder DIR --file FILE
  python experiments/peers/weights_torch.py ours --folder DIR

`make` writes DIR/weights.* as the case's library saves it, and the features of the images; `check` loads FILE into a
fresh model with load_state_dict(strict=True), compares every tensor with the first model's, bit by bit, and its
features. The cases are in weights_cases.py.
"""

import argparse
import json
import pathlib

import numpy as np
import timm
import torch
import torchvision
from torch import nn
from weights_cases import CASES, of_resnet


def randomised(model, seed=0):
  """The model with no parameter at a value that would hide a mistake, its norms' statistics and counters included."""
  g = torch.Generator().manual_seed(seed)
  normal = lambda p, std: p.data.copy_(torch.randn(p.shape, generator=g) * std)
  uniform = lambda p, low, high: p.data.copy_(torch.rand(p.shape, generator=g) * (high - low) + low)
  for module in model.modules():
    for name, p in module.named_parameters(recurse=False):
      if (isinstance(module, (nn.Conv2d, nn.Linear)) and name == "weight") or name == "in_proj_weight":
        normal(p, p[0].numel() ** -0.5)
      elif "norm" in type(module).__name__.lower() and name == "weight":
        uniform(p, 0.5, 1.5)
      elif name in ("gamma", "layer_scale"):
        uniform(p, 0.1, 1.0)
      else:
        normal(p, 0.2)
    if isinstance(module, nn.BatchNorm2d):
      normal(module.running_mean, 0.2)
      uniform(module.running_var, 0.5, 1.5)
      module.num_batches_tracked.fill_(int(torch.randint(1, 10**6, (), generator=g)))
  return model.eval()


def normalised(images, case):
  """Images [N, H, W, 3], bytes -> [N, 3, H, W], as the case's encoder was trained to see them."""
  mean, std = ((0.5,) * 3,) * 2 if case.source == "big_vision" else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
  x = torch.tensor(images[:, :case.size, :case.size]).permute(0, 3, 1, 2).float() / 255
  return (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


@torch.no_grad()
def make(case, images, folder):
  """Writes weights.*, features.npz and case.json."""
  model = randomised(case.make())
  content, path = case.saved(model), folder / f"weights{case.suffix}"
  if case.suffix == ".npz":
    np.savez(path, **content)
    again = case.make()
    again.load_pretrained(path)                             # timm's own reader agrees with what was written
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
  elif case.suffix == ".safetensors":
    from safetensors.torch import save_file
    save_file(content, path)
  else:
    torch.save(content, path)
  pooled, grid = case.features(model, normalised(images, case))
  np.savez(folder / "features.npz", pooled=pooled.numpy(), grid=grid.contiguous().numpy())
  (folder / "case.json").write_text(json.dumps({
      "source": case.source, "encoder": case.encoder, "size": case.size, "to": case.to,
      "file": path.name, "versions": {"torch": torch.__version__, "timm": timm.__version__,
                                      "torchvision": torchvision.__version__}}))


@torch.no_grad()
def check(case, images, folder, file):
  """{"strict", "tensors", "identical", "differ"} of the exported file beside the first model."""
  from safetensors.torch import load_file
  first, state = randomised(case.make()), load_file(file)
  second = case.headless(case.make()).eval()
  second.load_state_dict(state, strict=True)
  old = dict(first.state_dict())
  if type(second).__name__ == "ResNet" and case.source in ("solo-learn", "lightly"):
    inner = first.encoder if case.source == "solo-learn" else first.backbone
    names = [k for k in second.state_dict() if not k.startswith("fc.")]
    old = dict(zip(names, inner.state_dict().values(), strict=True))
  if case.source == "dinov2":                               # as timm itself reads DINOv2's files
    saved = torch.load(folder / "weights.pth", weights_only=True)
    old = timm.models.vision_transformer.checkpoint_filter_fn(saved, second)
  if case.source == "big_vision":                           # without a place for the class token, which is ours
    old["pos_embed"] = nn.functional.pad(old["pos_embed"], (0, 0, 1, 0))
  differ = [k for k, v in state.items() if v.dtype != old[k].dtype or not torch.equal(v, old[k])
            or v.numpy().tobytes() != old[k].numpy().tobytes()]
  features = of_resnet if case.source in ("solo-learn", "lightly") else case.features
  pooled = features(second, normalised(images, case))[0]
  before = torch.tensor(np.load(folder / "features.npz")["pooled"])
  return {"strict": True, "tensors": len(state), "identical": not differ, "differ": differ[:3],
          "features_after": float((pooled - before).abs().max())}


@torch.no_grad()
def ours(folder):
  """What a model made by DIR/recipe.py gives with DIR/out.safetensors, loaded strictly, for the images DIR/x.npy."""
  from safetensors.torch import load_file
  names = {"torch": torch, "timm": timm, "torchvision": torchvision}
  exec((folder / "recipe.py").read_text(), names)
  names["model"].load_state_dict(load_file(folder / "out.safetensors"), strict=True)
  x = torch.tensor(np.load(folder / "x.npy")).permute(0, 3, 1, 2).float()
  return names["model"].eval()(x).tolist()


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("action", choices=("make", "check", "ours", "list"))
  p.add_argument("--case")
  p.add_argument("--images")
  p.add_argument("--folder", type=pathlib.Path)
  p.add_argument("--file")
  args = p.parse_args()
  torch.set_num_threads(1)
  if args.action == "list":
    print(json.dumps(list(CASES)))
  elif args.action == "ours":
    print(json.dumps(ours(args.folder)))
  elif args.action == "make":
    make(CASES[args.case], np.load(args.images), args.folder)
  else:
    print(json.dumps(check(CASES[args.case], np.load(args.images), args.folder, args.file)))


if __name__ == "__main__":
  main()
