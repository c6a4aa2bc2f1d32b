"""What experiments/bench/peers.py compares: the work, who does it besides sslx, and what sslx sets itself to reach.

Both sides get the same sizes and the same input. A turn takes a few to twenty seconds on two cores.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import views


@dataclasses.dataclass(frozen=True)
class Side:
  """command: a file below experiments/ and its words; takes: {option: size}; runs: how, see turns.environment."""
  command: str
  takes: dict = dataclasses.field(default_factory=dict)
  runs: str = ""


def side(command, *sizes, runs="", **takes):
  """A Side whose options have the names of the sizes, but for `takes`."""
  return Side(command, {s: s for s in sizes} | takes, runs)


def ours(command, *sizes):
  return side(f"bench/{command}", *sizes, runs="pretrain")


def peer(command, *sizes):
  return side(f"peers/{command}", *sizes)


@dataclasses.dataclass(frozen=True)
class Row:
  """smoke: sizes that differ in a smoke run; count: the key of a turn in which sslx's work is, where not "work"."""
  what: str
  against: str
  target: float
  ours: Side
  peer: Side
  size: dict
  smoke: dict
  unit: str = "images"
  files: bool = False
  input: Callable | None = None
  count: str = "work"
  note: str = ""


def pairs(size):
  """Two views [2, B, 128] of random examples, alike but not the same."""
  rng = np.random.default_rng(0)
  z = rng.normal(size=(size["pairs"], 128)).astype(np.float32)
  return np.stack([z, z + rng.normal(size=z.shape).astype(np.float32)])


def clusters(size):
  """Features [N, 512] of ten classes that lie in each other, and queries."""
  rng = np.random.default_rng(0)
  centers, out = rng.normal(size=(10, 512)), {}
  for name in ("bank", "queries"):
    y = rng.integers(0, 10, size[name])
    out |= {name: (centers[y] + 6 * rng.normal(size=(len(y), 512))).astype(np.float32), f"{name}_y": y}
  return out


def of_photos(side):
  return lambda size: views.photos(side)


def simclr(width, batches):
  return Row(f"SimCLR from JPEG files, all included: ResNet-18 at width {width}, 32 px, batch 256", "lightly", 1.0,
             ours(f"ours.py simclr --width {width}", "batch", "batches"),
             peer(f"lightly_turns.py simclr --width {width}", "batch", "batches"),
             {"batch": 256, "batches": batches}, {"batch": 16, "batches": 2}, files=True)


def vit(name, model, what):
  return Row(f"{what}, 128 images, 32 px: a training step", "timm", 2.0,
             ours(f"vit.py --serve {name}", "batch", "steps"), peer(f"vit_timm.py --model {model}", "batch", "steps"),
             {"batch": 128, "steps": 4}, {"batch": 8, "steps": 1})


def augmented(side, target):
  case = f"--recipe simclr --side {side}"
  return Row(f"SimCLR's pair of views alone, {side} px", "torchvision v2 on all cores", target,
             ours(f"views.py --serve {case}", "seconds"),
             peer(f"views_torch.py --library pil {case} --batch {views.BATCH[side]}", "seconds"),
             {"seconds": 4.0}, {"seconds": 0.1}, input=of_photos(views.SOURCE[side]))


def neighbours(library, label):
  return Row("kNN of 10,000 queries among 50,000, D 512", label, 1.0, ours("ours.py knn"),
             peer(f"neighbours.py {library}"), {"bank": 50_000, "queries": 10_000}, {"bank": 2_000, "queries": 300},
             "queries", input=clusters)


def ntxent(count, against, target, other, repeat, note=""):
  return Row(f"NT-Xent at {count:,} pairs, value and gradient", against, target, ours("ours.py ntxent", "repeat"),
             other, {"pairs": count, "repeat": repeat}, {"pairs": 64, "repeat": 1}, "times", input=pairs, note=note)


ROWS = {
    "simclr_16": simclr(16, 8), "simclr_64": simclr(64, 2),
    "vit": vit("sslx", "vit", "ViT-Ti/4"), "mae": vit("mae", "mae", "MAE on ViT-Ti/4"),
    "dino": Row("DINO from JPEG files, all included: ViT-Ti/4, 2 views of 32 px and 6 of 16, batch 64", "lightly", 2.0,
                ours("ours.py dino", "batch", "batches", "prototypes"),
                peer("lightly_turns.py dino", "batch", "batches", "prototypes"),
                {"batch": 64, "batches": 4, "prototypes": 4096}, {"batch": 4, "batches": 2, "prototypes": 64},
                files=True),
    "views_32": augmented(32, 3.0), "views_224": augmented(224, 1.5),
    "simclr_jax": Row("SimCLR, ResNet-18 at width 64, 32 px, batch 64, images in memory",
                      "stable-pretraining's JAX backend", 2.0, ours("ours.py arrays", "batch", "batches"),
                      peer("stable_simclr.py", "batch", "batches"), {"batch": 64, "batches": 4},
                      {"batch": 4, "batches": 1}, input=of_photos(32)),
    "ntxent_optax": ntxent(
        1024, "optax.losses.ntxent", 5.0, side("bench/ours.py ntxent --form optax", "repeat", runs="kept"), 3,
        "at 4,096 pairs optax's form cannot be run here: XLA plans {megabytes_at_4096_pairs:,.0f} MB for it"),
    "ntxent_lightly": ntxent(4096, "lightly", 1.0, peer("lightly_turns.py ntxent", "repeat"), 5),
    "knn_sklearn": neighbours("sklearn", "scikit-learn, brute force"),
    "knn_faiss": neighbours("faiss", "faiss IndexFlatIP"),
    "flop_rate": Row("operations of the products in ViT-Ti/4's training step, batch 128",
                     "a product of 2048 x 2048 matrices by jnp.dot", 0.7,
                     ours("vit.py --serve sslx", "batch", "steps"),
                     side("bench/vit.py --serve product", "batch", steps="products", runs="kept"),
                     {"batch": 128, "steps": 4, "products": 60}, {"batch": 8, "steps": 1, "products": 2}, "FLOP",
                     count="flops")}
