"""SimCLR by the JAX backend of stable-pretraining, for experiments/bench/peers.py (a contender of turns.py).

Its own Trainer, augmentation on the device (crop, flip, brightness, contrast, greyscale), ResNet-18 with the stem for
small images, AdamW. Turns are taken by its loader; the Trainer waits for every step, so that none is left over.
"""

import argparse

import jax
import numpy as np
import stable_pretraining.jax as spj
import turns
from flax import nnx


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--input", required=True, help=".npy of bytes [N, 32, 32, 3]")
  p.add_argument("--batch", type=int, required=True)
  p.add_argument("--batches", type=int, required=True, help="of a turn")
  args = p.parse_args()
  images, rngs = np.load(args.input), nnx.Rngs(0)
  backbone = spj.backbone.resnet18(rngs=rngs, low_resolution=True)
  model = spj.SimCLR(backbone=backbone, embed_dim=backbone.embed_dim, rngs=rngs, projector_dims=(512, 128),
                     temperature=0.5, optim={"type": "adamw", "learning_rate": 1e-3},
                     transform=spj.augment.two_view_transform(images.shape[1]))
  trainer = spj.Trainer(max_epochs=1)
  size = sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))

  def loader():
    for found in turns.asked(parameters=size, batch=args.batch, devices=jax.device_count()):
      for i in range(args.batches):
        yield {"image": images[i * args.batch:(i + 1) * args.batch].astype(np.float32) / 255}
      found.update(work=args.batch * args.batches, value=trainer.callback_metrics["fit/loss"])
  trainer.fit(model, loader())


if __name__ == "__main__":
  main()
