"""SimCLR with lightly and PyTorch on CIFAR-10, the reference run that another library is compared with.

  python experiments/peers/lightly_simclr.py --data DIR --seed 0 --epochs 20 --out lightly_seed0.json

DIR holds train/CLASS/N.jpg and test/CLASS/N.jpg. The transform, the loss and the projection head are lightly's own; the
encoder is a narrow CIFAR ResNet-18 made of torchvision's BasicBlock. A finished --out file is not computed again.
Needs torch, torchvision and lightly.
"""

import argparse
import functools
import hashlib
import inspect
import json
import math
import os
import pathlib
import platform
import time

import lightly
import numpy as np
import PIL.Image
import torch
import torchvision
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from lightly.transforms.utils import IMAGENET_NORMALIZE
from torch import nn
from torchvision import transforms
from torchvision.models.resnet import BasicBlock

SUBSET_SEED = 0  # which images are used; the same in every run, whatever --seed is
INPUT_SIZE, GAUSSIAN_BLUR = 32, 0.0
TEMPERATURE, PROJECTION_DIM = 0.2, 128
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.12, 0.9, 5e-4
KNN_K, KNN_TEMPERATURE = 20, 0.07


def parse_args():
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--data", required=True, help="folder with train/CLASS/*.jpg and test/CLASS/*.jpg")
  parser.add_argument("--seed", type=int, required=True, help="seed of the weights, the batch order and the views")
  parser.add_argument("--epochs", type=int, default=20)
  parser.add_argument("--out", required=True, help="JSON file to write")
  parser.add_argument("--width", type=int, default=16, help="channels of the first stage (64 is the usual ResNet-18)")
  parser.add_argument("--batch", type=int, default=256)
  parser.add_argument("--limit", type=int, default=10000, help="training images")
  parser.add_argument("--workers", type=int, default=2, help="data loading processes")
  parser.add_argument("--threads", type=int, default=2, help="torch threads of the main process")
  parser.add_argument("--knn-train", type=int, help="training images in the kNN bank (default: --limit)")
  parser.add_argument("--knn-test", type=int, default=2000, help="test images of the kNN evaluation")
  args = parser.parse_args()
  if args.knn_train is None:
    args.knn_train = args.limit
  return args


def list_images(root, split, count):
  """The first `count` of a seeded permutation of the sorted (relative path, label) list, and a hash of the paths."""
  folder = pathlib.Path(root) / split
  classes = sorted(p.name for p in folder.iterdir() if p.is_dir())
  names = sorted(p.relative_to(folder).as_posix() for p in folder.glob("*/*.jpg"))
  if not 0 < count <= len(names):
    raise SystemExit(f"{count} images asked of {folder}, which has {len(names)}")
  order = np.random.default_rng(SUBSET_SEED).permutation(len(names))[:count]
  chosen = [names[i] for i in order]
  digest = hashlib.sha256("\n".join(chosen).encode()).hexdigest()
  return [(str(folder / name), classes.index(name.split("/")[0])) for name in chosen], digest


def load_batch(transform, items):
  """Collate function: read and transform the images of (path, label) items, in the loading process."""
  batch = []
  for path, label in items:
    with PIL.Image.open(path) as image:
      batch.append((transform(image.convert("RGB")), label))
  return torch.utils.data.default_collate(batch)


class Encoder(nn.Module):
  """ResNet-18 with a CIFAR stem: stages of width, 2*width, 4*width and 8*width channels, pooled to 8*width features."""

  def __init__(self, width):
    super().__init__()
    layers = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    inputs = width
    for stage in range(4):
      outputs, stride = width * 2**stage, 1 if stage == 0 else 2
      shortcut = None
      if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
      layers += [BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs)]
      inputs = outputs
    self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    self.features = inputs
    for module in self.modules():  # as torchvision's ResNet does
      if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

  def forward(self, x):
    return self.layers(x)


@torch.inference_mode()
def extract(encoder, items, workers):
  """L2-normalised pooled features of the un-augmented normalised images, and their labels."""
  transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(**IMAGENET_NORMALIZE)])
  collate = functools.partial(load_batch, transform)
  loader = torch.utils.data.DataLoader(items, batch_size=500, num_workers=workers, collate_fn=collate)
  encoder.eval()
  features, labels = zip(*[(encoder(x), y) for x, y in loader], strict=True)
  encoder.train()
  return nn.functional.normalize(torch.cat(features), dim=1), torch.cat(labels)


def knn_accuracy(encoder, bank_items, test_items, workers):
  """Weighted kNN accuracy: cosine similarity, votes weighted by exp(similarity / temperature) (Wu et al. 2018)."""
  bank, bank_labels = extract(encoder, bank_items, workers)
  test, test_labels = extract(encoder, test_items, workers)
  similarity, index = (test @ bank.T).topk(KNN_K, dim=1)
  votes = torch.zeros(len(test), int(bank_labels.max()) + 1)
  votes.scatter_add_(1, bank_labels[index], (similarity / KNN_TEMPERATURE).exp())
  return (votes.argmax(1) == test_labels).sum().item() / len(test), bank.std(0).mean().item()


def train(encoder, head, items, args):
  """The training loop; returns the record of every epoch and the seconds of the whole loop."""
  transform = SimCLRTransform(input_size=INPUT_SIZE, gaussian_blur=GAUSSIAN_BLUR)
  loader = torch.utils.data.DataLoader(
    items, batch_size=args.batch, shuffle=True, drop_last=True, num_workers=args.workers,
    collate_fn=functools.partial(load_batch, transform), persistent_workers=args.workers > 0,
    generator=torch.Generator().manual_seed(args.seed),
  )
  if not len(loader):
    raise SystemExit(f"{len(items)} images are fewer than one batch of {args.batch}")
  loss_fn = NTXentLoss(temperature=TEMPERATURE)
  parameters = [*encoder.parameters(), *head.parameters()]
  optimizer = torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
  steps = args.epochs * len(loader)
  schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
  epochs, start = [], time.perf_counter()
  for epoch in range(args.epochs):
    epoch_start, losses = time.perf_counter(), []
    for (view0, view1), _ in loader:
      loss = loss_fn(head(encoder(view0)), head(encoder(view1)))
      optimizer.zero_grad()
      loss.backward()
      optimizer.step()
      schedule.step()
      losses.append(loss.item())
    if not all(map(math.isfinite, losses)):
      raise SystemExit(f"the loss is not finite in epoch {epoch + 1}")
    seconds = time.perf_counter() - epoch_start
    record = {
      "epoch": epoch + 1, "loss": sum(losses) / len(losses), "first_step_loss": losses[0], "seconds": seconds,
      "images_per_second": len(losses) * args.batch / seconds, "lr_after": schedule.get_last_lr()[0],
      "load_average_1min": os.getloadavg()[0],
    }
    epochs.append(record)
    print(f"epoch {epoch + 1:3d}/{args.epochs}  loss {record['loss']:.4f}  lr {record['lr_after']:.4f}"
          f"  {record['images_per_second']:.0f} images/s  {seconds:.1f} s", flush=True)
  return epochs, time.perf_counter() - start


def transform_parameters():
  """Every parameter of SimCLRTransform as used here: lightly's defaults and the two values that are set."""
  parameters = inspect.signature(SimCLRTransform.__init__).parameters
  used = {name: p.default for name, p in parameters.items() if name != "self"}
  return used | {"input_size": INPUT_SIZE, "gaussian_blur": GAUSSIAN_BLUR}


def hyperparameters(args, encoder):
  """All settings of the run but the paths."""
  return {
    "epochs": args.epochs, "batch": args.batch, "drop_last": True, "train_images": args.limit,
    "subset_seed": SUBSET_SEED, "subset_permutation": "numpy.random.default_rng(subset_seed).permutation(N)[:count]",
    "encoder": "ResNet-18 (torchvision BasicBlock), 3x3 stride-1 stem, no max-pool", "width": args.width,
    "features": encoder.features, "head": "lightly SimCLRProjectionHead (two linear layers without bias, each with BN)",
    "head_hidden": encoder.features, "head_out": PROJECTION_DIM,
    "loss": "lightly NTXentLoss", "temperature": TEMPERATURE, "views_in_one_forward": False,
    "optimizer": "SGD", "lr": LEARNING_RATE, "momentum": MOMENTUM, "nesterov": False, "weight_decay": WEIGHT_DECAY,
    "weight_decay_on": "all parameters, norms and biases too", "schedule": "cosine to 0 over all steps, no warm-up",
    "transform": transform_parameters(),
    "knn_k": KNN_K, "knn_temperature": KNN_TEMPERATURE, "knn_train": args.knn_train, "knn_test": args.knn_test,
    "workers": args.workers, "threads": torch.get_num_threads(), "device": "cpu", "dtype": "float32",
  }


def main():
  """Random-initialisation kNN, training, kNN; then the JSON."""
  args = parse_args()
  out = pathlib.Path(args.out)
  if out.exists():
    print(f"{out} is there already: nothing to do")
    return
  start = time.perf_counter()
  torch.set_num_threads(args.threads)
  torch.manual_seed(args.seed)
  np.random.seed(args.seed)
  train_items, train_hash = list_images(args.data, "train", args.limit)
  bank_items, bank_hash = list_images(args.data, "train", args.knn_train)
  test_items, test_hash = list_images(args.data, "test", args.knn_test)
  encoder = Encoder(args.width)
  head = SimCLRProjectionHead(encoder.features, encoder.features, PROJECTION_DIM)

  before, std_before = knn_accuracy(encoder, bank_items, test_items, args.workers)
  print(f"seed {args.seed}  kNN at random initialisation {before:.4f}", flush=True)
  epochs, seconds = train(encoder, head, train_items, args)
  after, std_after = knn_accuracy(encoder, bank_items, test_items, args.workers)
  steps_per_epoch = args.limit // args.batch
  speed = args.epochs * steps_per_epoch * args.batch / seconds
  result = {
    "method": "simclr", "library": "lightly", "seed": args.seed,
    "knn_random_init": before, "knn": after, "images_per_second": speed,
    "train_seconds": seconds, "wall_seconds": time.perf_counter() - start, "steps": args.epochs * steps_per_epoch,
    "feature_std_random_init": std_before, "feature_std": std_after,
    "encoder_parameters": sum(p.numel() for p in encoder.parameters()),
    "head_parameters": sum(p.numel() for p in head.parameters()),
    "loss_per_epoch": [e["loss"] for e in epochs], "epochs": epochs,
    "hyperparameters": hyperparameters(args, encoder),
    "subset_sha256": {"train": train_hash, "knn_train": bank_hash, "knn_test": test_hash},
    "versions": {
      "python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__,
      "lightly": lightly.__version__, "numpy": np.__version__, "pillow": PIL.__version__,
    },
    "machine": {"cpus": os.cpu_count(), "architecture": platform.machine(), "system": platform.system()},
  }
  partial = out.with_name(out.name + ".partial")
  partial.write_text(json.dumps(result, indent=2) + "\n")
  partial.replace(out)
  print(f"kNN {before:.4f} -> {after:.4f}  {speed:.0f} images/s  {result['wall_seconds']:.0f} s  wrote {out}")


if __name__ == "__main__":
  main()
