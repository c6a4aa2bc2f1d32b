"""lightly's side of experiments/bench/peers.py, a contender of experiments/bench/turns.py: SimCLR, DINO, NT-Xent.

SimCLR is that of lightly_simclr.py. DINO has timm's ViT-Ti/4, lightly's transform, head and loss, and sends views of
one size through the network together, as its authors do. Both read JPEG files in loading processes, one a core.
"""

import argparse
import functools

import numpy as np
import torch
import turns
from lightly.loss import NTXentLoss


def epochs(transform, step, args, **facts):
  """Turns of so many batches of files, in a loader whose processes stay."""
  from lightly_simclr import list_images, load_batch
  items, _ = list_images(args.data, "train", args.batch * args.batches)
  loader = torch.utils.data.DataLoader(items, batch_size=args.batch, shuffle=True, num_workers=turns.CORES,
                                       collate_fn=functools.partial(load_batch, transform), persistent_workers=True)

  def turn():
    for views, _ in loader:
      value = step(views)
    return {"work": len(items), "value": value}
  turns.serve(turn, batch=args.batch, threads=torch.get_num_threads(), workers=loader.num_workers, **facts)


def descend(optimizer, loss):
  optimizer.zero_grad()
  loss.backward()
  optimizer.step()
  return loss.item()


def number(*modules):
  """Of the parameters."""
  return sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)


def simclr(args):
  from lightly.models.modules.heads import SimCLRProjectionHead
  from lightly.transforms import SimCLRTransform
  from lightly_simclr import (
    GAUSSIAN_BLUR,
    INPUT_SIZE,
    LEARNING_RATE,
    MOMENTUM,
    PROJECTION_DIM,
    TEMPERATURE,
    WEIGHT_DECAY,
    Encoder,
  )
  encoder = Encoder(args.width)
  head, loss = SimCLRProjectionHead(encoder.features, encoder.features, PROJECTION_DIM), NTXentLoss(TEMPERATURE)
  tx = torch.optim.SGD([*encoder.parameters(), *head.parameters()], LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)
  step = lambda views: descend(tx, loss(*(head(encoder(v)) for v in views)))
  epochs(SimCLRTransform(input_size=INPUT_SIZE, gaussian_blur=GAUSSIAN_BLUR), step, args,
         parameters=number(encoder, head))


def dino(args):
  import timm
  from lightly.loss import DINOLoss
  from lightly.models.modules.heads import DINOProjectionHead
  from lightly.transforms import DINOTransform

  def network():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, num_classes=0, dynamic_img_size=True)
    return torch.nn.Sequential(vit, DINOProjectionHead(vit.embed_dim, 2048, 256, args.prototypes))
  student, teacher, loss = network(), network().requires_grad_(False), DINOLoss(args.prototypes, teacher_temp=0.04)
  teacher.load_state_dict(student.state_dict())
  tx = torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=0.05)

  def step(views):
    large, small = torch.cat(views[:2]), torch.cat(views[2:])
    with torch.no_grad():
      for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
        old.lerp_(new, 1 - 0.996)
      target = teacher(large).chunk(2)
    seen = [*student(large).chunk(2), *student(small).chunk(len(views) - 2)]
    return descend(tx, loss(list(target), seen, epoch=0))
  transform = DINOTransform(global_crop_size=32, local_crop_size=16, n_local_views=6)
  epochs(transform, step, args, parameters=number(student))


def ntxent(args):
  z, loss = [torch.tensor(v, requires_grad=True) for v in np.load(args.input)], NTXentLoss(0.1)

  def turn():
    for _ in range(args.repeat):
      value = loss(*z)
      gradient = torch.autograd.grad(value, z)
    return {"work": args.repeat, "value": value.item(), "slope": sum(g.abs().sum().item() for g in gradient)}
  turns.serve(turn, pairs=len(z[0]), threads=torch.get_num_threads())


WORK = {f.__name__: f for f in (simclr, dino, ntxent)}


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("work", choices=WORK)
  p.add_argument("--data", help="folder with train/CLASS/N.jpg")
  p.add_argument("--input", help="file of arrays")
  p.add_argument("--width", type=int, help="of a ResNet's first stage")
  p.add_argument("--prototypes", type=int)
  p.add_argument("--batch", type=int)
  p.add_argument("--batches", type=int, help="of a turn")
  p.add_argument("--repeat", type=int, help="how often a turn does it")
  args = p.parse_args()
  torch.set_num_threads(turns.CORES)
  torch.manual_seed(0)
  WORK[args.work](args)


if __name__ == "__main__":
  main()
