"""sslx's side of experiments/bench/peers.py, a contender of turns.py (experiments/bench/turns.py).

Training is what `sslx pretrain` runs: its reader of files, its step over a mesh of all devices, the state donated.
"""

import argparse
import itertools

import jax
import numpy as np
import optax
import turns

from sslx import config, data, encoders, evaluate, inputs, losses, mesh, methods, optim, run, train
from sslx.augment import recipes

CONFIGS = turns.HERE.parents[1] / "configs"
RATE = 1e-3


def over_devices(method, tx, first, total=1000):
  """(the jitted step, its state, its key, batch of the host -> batch on all devices)."""
  over, key = mesh.arranged(jax.devices()), jax.random.key(0)
  state = train.init_state(method, tx, key, first)
  where = mesh.shardings(state, over)
  place = lambda batch: mesh.place({k: batch[k] for k in method.reads}, over)
  return train.make_step(method, tx, total, where), mesh.put(state, where), key, place


def stepping(method, tx, first):
  """(step(batch) -> loss, the number of parameters); the batch is of the host, the state is kept."""
  do, state, key, place = over_devices(method, tx, first)
  size, now = sum(x.size for x in jax.tree.leaves(state.params)), [state]

  def step(batch):
    now[0], metrics = do(now[0], key, place(batch))
    return metrics["loss"]
  return step, size


def epochs(source, method, tx, args):
  """Turns of so many batches, read anew each time, the host at most two steps ahead of the devices."""
  step, size = stepping(method, tx, source.batch(np.arange(1)))
  done = itertools.count()

  def turn():
    values = []
    found = data.batches(source, batch_size=args.batch, seed=0, start=next(done) * args.batches)
    for batch in itertools.islice(found, args.batches):
      values.append(step(batch))
      if len(values) > 2:
        values[-3].block_until_ready()
    return {"work": args.batch * args.batches, "value": float(values[-1])}
  turns.serve(turn, parameters=size, batch=args.batch, devices=jax.device_count())


def files(name, args, *more):
  """(config, source) of a config's cifar10 variant on a folder of images, as many as a turn takes."""
  c = config.override(config.load(f"{CONFIGS}/{name}.py:cifar10"), [
      f"--config.data.name=folder:{args.data}", f"--config.data.limit={args.batch * args.batches}",
      f"--config.batch_size={args.batch}", "--config.online_probe=False", *more])
  source = inputs.load(c, "train")
  return run.resolve(c, len(source)), source


def simclr(args):
  c, source = files("simclr", args, f"--config.encoder.width={args.width}",
                    f"--config.method.widths=({8 * args.width},128)")
  epochs(source, train.build(c)[1], optim.make(c.optim, 1000, args.batch), args)


def of_dino(prototypes):
  """DINO on ViT-Ti/4 with 2 views of 32 pixels and 6 of 16."""
  aug = recipes.make("dino", size=32, small=6, small_size=16, interpolation="bilinear")
  return methods.make("dino", encoders.make("vit_ti", patch=4, position="learned", grid=8), prototypes=prototypes,
                      aug=aug)


def dino(args):
  _, source = files("dino", args)
  epochs(source, of_dino(args.prototypes), optax.adamw(RATE, weight_decay=0.05), args)


def arrays(args):
  """SimCLR on images in memory, with the steps and the projector that stable-pretraining's JAX backend has."""
  aug = recipes.make("moco_v2", jitter=(0.4, 0.4, 0.0, 0.0), jitter_p=1.0, blur_p=0.0)
  method = methods.make("simclr", encoders.make("resnet18", stem="small"), temperature=0.5, widths=(512, 128), aug=aug)
  images = np.load(args.input)
  step, size = stepping(method, optax.adamw(RATE), {"image": images[:1]})

  def turn():
    values = [step({"image": images[i * args.batch:(i + 1) * args.batch]}) for i in range(args.batches)]
    return {"work": args.batch * args.batches, "value": float(values[-1])}
  turns.serve(turn, parameters=size, batch=args.batch, devices=jax.device_count())


def ntxent(args):
  """Value and gradient of NT-Xent: sslx's, or optax's on one device, with XLA's count of its temporaries."""
  from contrastive_memory import TEMPERATURE, compiled, reference
  z, facts = np.load(args.input), {}
  if args.form == "optax":
    f = reference
    wide = jax.ShapeDtypeStruct((4096, z.shape[2]), np.float32)
    facts["megabytes_at_4096_pairs"] = compiled(f, wide, wide).memory_analysis().temp_size_in_bytes / 1e6
    z = jax.device_put(z)
  else:
    f = lambda a, b: losses.ntxent(a, b, temperature=TEMPERATURE)
    z = mesh.place({"a": z[0], "b": z[1]}, mesh.arranged(jax.devices())).values()
  z = tuple(z)
  f = compiled(f, *z)
  facts["megabytes"] = f.memory_analysis().temp_size_in_bytes / 1e6

  def turn():
    for _ in range(args.repeat):
      value, gradient = jax.block_until_ready(f(*z))
    return {"work": args.repeat, "value": float(value), "slope": float(sum(abs(g).sum() for g in gradient))}
  turns.serve(turn, pairs=len(z[0]), **facts)


def knn(args):
  x = np.load(args.input)
  turns.serve(lambda: {"value": evaluate.knn(x["bank"], x["bank_y"], x["queries"], x["queries_y"]),
                       "work": len(x["queries"])}, bank=len(x["bank"]))


WORK = {f.__name__: f for f in (simclr, dino, arrays, ntxent, knn)}


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
  p.add_argument("--form", choices=("sslx", "optax"), default="sslx")
  args = p.parse_args()
  WORK[args.work](args)


if __name__ == "__main__":
  main()
