"""Training steps of timm's ViT-Ti/4 and of an MAE made of its blocks, for experiments/bench/vit.py and peers.py.

A contender of experiments/bench/turns.py, with models and sizes of vit.py; attention is timm's own choice, PyTorch's
fused one.
"""

import argparse

import timm
import torch
import turns
from timm.models.vision_transformer import Block
from torch import nn
from torch.nn import functional


class MAE(nn.Module):
  """MAE (He et al., 2022) with timm's ViT and blocks: images [B, 3, H, W] -> loss."""

  def __init__(self, vit, ratio, width, depth, heads):
    super().__init__()
    count, patch = vit.patch_embed.num_patches, vit.patch_embed.patch_size[0]
    self.vit, self.patch, self.seen = vit, patch, count - round(ratio * count)
    self.embed, self.out = nn.Linear(vit.embed_dim, width), nn.Linear(width, 3 * patch**2)
    self.fill = nn.Parameter(torch.randn(width) / 50)
    self.register_buffer("places", torch.randn(count, width))
    self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(depth)))
    self.norm = nn.LayerNorm(width, eps=1e-6)

  def forward(self, image):
    vit, (B, _, H, W), p = self.vit, image.shape, self.patch
    order = torch.rand(B, len(self.places)).argsort(1)
    seen, hidden = order[:, :self.seen], order[:, self.seen:]
    x = vit.patch_embed(image) + vit.pos_embed[:, 1:]
    x = x.gather(1, seen[..., None].expand(-1, -1, x.shape[2]))
    x = torch.cat([(vit.cls_token + vit.pos_embed[:, :1]).expand(B, -1, -1), x], 1)
    x = self.embed(vit.norm(vit.blocks(x)))
    x = torch.cat([x[:, :1], x[:, 1:] + self.places[seen], self.fill + self.places[hidden]], 1)
    out = self.out(self.norm(self.blocks(x)[:, -hidden.shape[1]:]))
    pixels = image.reshape(B, 3, H // p, p, W // p, p).permute(0, 2, 4, 3, 5, 1).reshape(B, len(self.places), -1)
    pixels = functional.layer_norm(pixels, pixels.shape[-1:], eps=1e-6)
    return functional.mse_loss(out, pixels.gather(1, hidden[..., None].expand(-1, -1, pixels.shape[2])))


def step_of(args):
  """(step() -> loss, the number of parameters) of the model named, on images drawn once."""
  vit = timm.create_model("vit_tiny_patch16_224", img_size=args.side, patch_size=args.patch, num_classes=10)
  image, label = torch.rand(args.batch, 3, args.side, args.side), torch.randint(10, (args.batch,))
  if args.model == "mae":
    vit.head = nn.Identity()
    model = MAE(vit, 0.75, *args.decoder)
    loss = lambda: model(image)
  else:
    model = vit
    loss = lambda: functional.cross_entropy(model(image), label)
  optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)

  def step():
    optimizer.zero_grad()
    value = loss()
    value.backward()
    optimizer.step()
    return value.item()
  return step, sum(p.numel() for p in model.parameters())


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--model", choices=("vit", "mae", "product"), required=True)
  p.add_argument("--side", type=int, default=32)
  p.add_argument("--patch", type=int, default=4)
  p.add_argument("--batch", type=int, default=128)
  p.add_argument("--decoder", type=int, nargs=3, default=(96, 2, 4), help="width, depth and heads of MAE's")
  p.add_argument("--steps", type=int, default=2, help="of a turn")
  args = p.parse_args()
  torch.set_num_threads(turns.CORES)
  if args.model == "product":
    a = torch.rand(2048, 2048)
    step, size = lambda: (a @ a)[0, 0].item(), 0
  else:
    step, size = step_of(args)

  def turn():
    values = [step() for _ in range(args.steps)]
    return {"work": args.steps * args.batch, "value": values[-1]}
  turns.serve(turn, parameters=size, batch=args.batch, threads=torch.get_num_threads())


if __name__ == "__main__":
  main()
