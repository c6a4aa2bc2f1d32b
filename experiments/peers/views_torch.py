"""SimCLR's pair, DINO's 2 + 6 views and RandAugment by torchvision or kornia, for bench/views.py and bench/peers.py.

A contender of experiments/bench/turns.py, whose turns last some seconds. torchvision works in a DataLoader with one
worker a core, on PIL images ("pil") or on tensors of bytes ("torchvision"), each image on its own; kornia works on
float batches with all cores, and draws one policy a batch in RandAugment. Steps and numbers are those of
`sslx.augment.recipes`; all crops are bilinear.
"""

import argparse
import time

import numpy as np
import torch
import turns
from torch.utils.data import DataLoader, Dataset


def kernel(side):
  """Pixels of the blur's kernel: a tenth of the side."""
  return max(3, round(0.1 * side) // 2 * 2 + 1)


def stack(v2, side, scale, *, jitter, blur_p, solarize_p):
  """One view by torchvision's transforms."""
  steps = [v2.RandomResizedCrop(side, scale=scale, antialias=True), v2.RandomHorizontalFlip()]
  if not jitter:
    return v2.Compose([*steps, v2.RandAugment(interpolation=v2.InterpolationMode.BILINEAR), v2.ToImage(),
                       v2.ToDtype(torch.float32, scale=True), v2.RandomErasing(0.25)])
  steps += [v2.RandomApply([v2.ColorJitter(*jitter)], p=0.8), v2.RandomGrayscale(p=0.2)]
  if blur_p:
    steps.append(v2.RandomApply([v2.GaussianBlur(kernel(side), sigma=(0.1, 2.0))], p=blur_p))
  if solarize_p:
    steps.append(v2.RandomSolarize(128, p=solarize_p))
  return v2.Compose([*steps, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


def views(make, recipe, side, small):
  """The transforms of a recipe, one a view, by make(side, scale, jitter=, blur_p=, solarize_p=); no jitter: drawn."""
  if recipe == "rand_augment":
    return [make(side, (0.08, 1.0), jitter=None, blur_p=0.0, solarize_p=0.0)]
  if recipe == "simclr":
    return [make(side, (0.08, 1.0), jitter=(0.8, 0.8, 0.8, 0.2), blur_p=0.5, solarize_p=0.0)] * 2
  jitter = (0.4, 0.4, 0.2, 0.1)
  large = [make(side, (0.4, 1.0), jitter=jitter, blur_p=b, solarize_p=s) for b, s in ((1.0, 0.0), (0.1, 0.2))]
  return large + [make(small, (0.05, 0.4), jitter=jitter, blur_p=0.5, solarize_p=0.0)] * 6


class Views(Dataset):
  """The views of each image, without end."""

  def __init__(self, images, transforms, pil):
    import PIL.Image
    self.images = [PIL.Image.fromarray(i) for i in images] if pil else list(torch.tensor(images).permute(0, 3, 1, 2))
    self.transforms = transforms

  def __len__(self):
    return 10**9

  def __getitem__(self, i):
    image = self.images[i % len(self.images)]
    return [t(image) for t in self.transforms]


def torchvision_turns(images, args, pil):
  """turn(), of a DataLoader after its workers' first batches."""
  from torchvision.transforms import v2
  torch.set_num_threads(1)
  transforms = views(lambda *a, **k: stack(v2, *a, **k), args.recipe, args.side, args.small)
  loader = DataLoader(Views(images, transforms, pil), batch_size=args.batch, num_workers=turns.CORES)

  def run():
    batches = iter(loader)
    for _ in range(turns.CORES):
      next(batches)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < args.seconds or done % turns.CORES or done < 2:     # workers come in together
      next(batches)
      done += 1
    found = {"work": done * args.batch, "seconds": time.perf_counter() - start}
    del batches
    return found
  return run


def kornia_turns(images, args):
  """turn(), of whole batches."""
  from kornia import augmentation as K
  torch.set_num_threads(turns.CORES)

  def make(side, scale, *, jitter, blur_p, solarize_p):
    steps = [K.RandomResizedCrop((side, side), scale=scale), K.RandomHorizontalFlip()]
    if not jitter:
      return K.AugmentationSequential(*steps, K.auto.RandAugment(n=2, m=9), K.RandomErasing(p=0.25))
    steps += [K.ColorJitter(*jitter, p=0.8), K.RandomGrayscale(p=0.2)]
    if blur_p:
      steps.append(K.RandomGaussianBlur((kernel(side),) * 2, (0.1, 2.0), p=blur_p))
    if solarize_p:
      steps.append(K.RandomSolarize(0.1, p=solarize_p))
    return K.AugmentationSequential(*steps)
  transforms = views(make, args.recipe, args.side, args.small)
  images = torch.tensor(images).permute(0, 3, 1, 2)

  def run():
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < args.seconds or done < 2:
      at = torch.arange(done * args.batch, (done + 1) * args.batch) % len(images)
      batch = images[at].float() / 255
      with torch.no_grad():
        for t in transforms:
          t(batch)
      done += 1
    return {"work": done * args.batch}
  return run


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--library", choices=("torchvision", "pil", "kornia"), required=True)
  p.add_argument("--recipe", choices=("simclr", "dino", "rand_augment"), required=True)
  p.add_argument("--side", type=int, required=True, help="of the large views")
  p.add_argument("--small", type=int, default=96, help="side of the small views")
  p.add_argument("--input", required=True, help=".npy of bytes [N, H, W, 3]")
  p.add_argument("--batch", type=int, default=64)
  p.add_argument("--seconds", type=float, default=3.0, help="of a turn")
  args = p.parse_args()
  images = np.load(args.input)
  turn = kornia_turns(images, args) if args.library == "kornia" else torchvision_turns(
      images, args, pil=args.library == "pil")
  turns.serve(turn, batch=args.batch)


if __name__ == "__main__":
  main()
