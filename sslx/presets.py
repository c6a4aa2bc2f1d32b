"""What the built-in configs share: data, encoder and length of a run, by variant.

  digits    scikit-learn's digits, ResNet-18 at width 16, 400 steps of 256: two minutes on two CPU cores
  cifar10   10,000 images of CIFAR-10, ResNet-18 at width 16, 20 epochs of batch 256: half an hour
  imagenet  ImageNet-1k at 224 pixels, ResNet-50, 100 epochs of batch 4096
  tiny      digits, 30 steps of a network of toy size: everything once
"""

from sslx import config, encoders, errors
from sslx.augment import recipes


def make(variant):
  """The ConfigDict of a variant, with its method still to be named."""
  if variant not in VARIANTS:
    raise errors.unknown("variant", variant, VARIANTS)
  return VARIANTS[variant](config.default())


def digits(c):
  c.total_steps, c.batch_size = 400, 256
  c.data.name = "digits"
  c.encoder = encoders.options("resnet18", width=16, stem="small", mean=(0.3,), std=(0.38,))
  c.optim.lr, c.optim.warmup, c.optim.weight_decay = 0.3, 0.05, 5e-4
  c.checkpoint.every, c.log.every = 100, 5
  return c


def tiny(c):
  c = digits(c)
  c.total_steps, c.batch_size = 30, 64
  c.encoder.name, c.encoder.width = "resnet10", 4
  c.checkpoint.every, c.log.every = 10, 5
  return c


def cifar10(c):
  c.total_epochs, c.batch_size = 20.0, 256
  c.data.name, c.data.limit = "tfds:cifar10", 10_000
  c.encoder = encoders.options("resnet18", width=16, stem="small")
  c.optim.lr, c.optim.weight_decay = 0.12, 5e-4
  c.checkpoint.every, c.log.every = 195, 39
  return c


def imagenet(c):
  c.total_epochs, c.batch_size = 100.0, 4096
  c.precision = "bfloat16"
  c.data.name, c.data.size, c.data.workers = "tfds:imagenet2012", 256, 16
  c.encoder = encoders.options("resnet50")
  c.optim.name, c.optim.lr, c.optim.scale = "lars", 0.3, "linear"
  c.optim.warmup, c.optim.weight_decay = 0.1, 1e-6
  return c


VITS = {"digits": {"patch": 2, "width": 96, "depth": 4, "heads": 4, "base": 10.0, "mean": (0.3,), "std": (0.38,)},
        "tiny": {"patch": 2, "width": 16, "depth": 2, "heads": 2, "base": 10.0, "mean": (0.3,), "std": (0.38,)},
        "cifar10": {"patch": 4, "width": 128, "depth": 6, "heads": 4, "base": 10.0}, "imagenet": {"patch": 16}}


def vit(c, variant):
  """The config `c` of a variant with a ViT, as methods that hide patches need: ViT-B/16 on ImageNet, else a small one.

  Its representation is the mean of the patches; AdamW, at a rate that is still to be set.
  """
  c.encoder = encoders.options("vit_b" if variant == "imagenet" else "vit_ti", pool="mean", **VITS[variant])
  c.optim.name, c.optim.weight_decay, c.optim.warmup = "adamw", 0.05, 0.05
  return c


def text(variant):
  """The ConfigDict of a method that reads text, its method still to be named: Muon, a small transformer over bytes.

  text: yours, data.name still to be set, 1,000 steps of 64; tiny: digits drawn in letters, 30 steps.
  """
  if variant not in ("text", "tiny"):
    raise errors.unknown("variant", variant, ("text", "tiny"))
  c, small = config.default(), variant == "tiny"
  c.total_steps, c.batch_size = (30, 64) if small else (1000, 64)
  c.data.name = "digits_text" if small else "text:PATH"
  c.encoder = encoders.options("text_ti", **{"width": 16, "depth": 2, "heads": 2} if small else {"depth": 4})
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "muon", 0.02, 0.01, 0.05
  c.checkpoint.every, c.log.every = (10, 5) if small else (200, 20)
  return c


AUDIOS = {  # encoder: its options in tiny, those in audio
    "audio_resnet10": ({"width": 4, "stem": "small"}, {"width": 16}),
    "audio_vit_ti": ({"patch": 4, "width": 16, "depth": 2, "heads": 2, "base": 10.0},
                     {"patch": 8, "width": 128, "depth": 4, "heads": 4, "base": 10.0})}

SPECTROGRAMS = {"tiny": {"rate": 4000, "window": 128, "hop": 64, "mels": 16},
                "audio": {"rate": 8000, "window": 256, "hop": 125, "mels": 40}}


def audio(variant, encoder):
  """The config of a variant for sound, AdamW, with its method still to be named.

  audio: the user's, audio:PATH, recordings of a second at 8 kHz, 64 frames of 40 bands, 600 steps of 64: a few minutes
  on a CPU core. tiny: digits as chords.
  """
  if variant not in ("audio", "tiny"):
    raise errors.unknown("variant", variant, ("audio", "tiny"))
  c = tiny(config.default())
  small, large = AUDIOS[encoder]
  if variant == "tiny":
    c.data.name = "digits_audio"
  else:
    c.data.name, c.data.length, c.data.rate = "audio:PATH", 1.0, 8000
    c.total_steps, c.batch_size, c.checkpoint.every, c.log.every = 600, 64, 200, 20
  c.encoder = encoders.options(encoder, **small if variant == "tiny" else large, **SPECTROGRAMS[variant])
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 1e-3, 0.05, 0.1
  return c


VIDEOS = {  # encoder: its options in both variants, those of tiny alone, those of video alone
    "r2plus1d_10": ({"stem": "small"}, {"width": 4}, {"width": 16, "stem": "video"}),
    "frames_resnet10": ({"stem": "small"}, {"width": 4}, {"width": 16, "stem": "imagenet"}),
    "video_vit_ti": ({}, {"patch": 4, "width": 16, "depth": 2, "heads": 2}, {"patch": 8, "width": 128, "depth": 4,
                                                                             "heads": 4})}


def video(variant, encoder):
  """The config of a variant for clips, AdamW, with its method still to be named.

  video: the user's, video:PATH, frames of 64 pixels, 300 steps of 32: minutes on two CPU cores. tiny: falling digits.
  """
  if variant not in ("video", "tiny"):
    raise errors.unknown("variant", variant, ("video", "tiny"))
  c = tiny(config.default())
  both, small, large = VIDEOS[encoder]
  if variant == "tiny":
    c.data.name, c.batch_size = "digits_video", 32
    own = small | {"mean": (0.1,), "std": (0.25,)}
  else:
    c.data.name, c.data.size, c.total_steps, c.batch_size, c.checkpoint.every = "video:PATH", 64, 300, 32, 100
    own = large
  c.encoder = encoders.options(encoder, **both | own)
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup, c.optim.clip = "adamw", 2e-3, 0.05, 0.1, 1.0
  return c


SOLIDS = {  # key: the encoder, its options in tiny, those in the user's variant
    "voxels": ("voxel_resnet8", {"width": 4, "stem": "small"}, {"width": 8}),
    "points": ("pointnet", {"width": 8}, {"width": 16})}


def solid(variant, key):
  """The config of a variant for objects, AdamW, with its method still to be named; key: voxels or points.

  voxels: the user's, voxels:PATH, of a side of 16; points: points:PATH, 256 of each; both 300 steps of 64: a minute or
  two on a CPU core. tiny: digits as blocks or hills.
  """
  if variant not in (key, "tiny"):
    raise errors.unknown("variant", variant, (key, "tiny"))
  c = tiny(config.default())
  name, small, large = SOLIDS[key]
  c.data.name = f"digits_{key}"
  if variant != "tiny":
    c.data.name, c.total_steps, c.batch_size, c.checkpoint.every, c.log.every = f"{key}:PATH", 300, 64, 100, 10
    c.data.update({"size": 16} if key == "voxels" else {"length": 256.0})
  c.encoder = encoders.options(name, **small if variant == "tiny" else large)
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 3e-3, 0.05, 0.1
  return c


def points_tower(variant):
  """The options of an encoder of points beside an image encoder."""
  name, small, large = SOLIDS["points"]
  return encoders.options(name, **small if variant == "tiny" else large)


def pairs(variant, sound=False):
  """The config of a method that compares an image with what belongs to it, its method still to be named: AdamW.

  pairs: yours, data.name still to be set, images of 64 pixels, ResNet-18 at width 32, 1,000 steps of 128, with `sound`
  recordings of a second at 8 kHz; tiny: digits with their names, sounds and depths.
  """
  if variant not in ("pairs", "tiny"):
    raise errors.unknown("variant", variant, ("pairs", "tiny"))
  c = tiny(config.default())
  c.data.name = "digits_pairs"
  if variant == "pairs":
    c.data.name, c.data.size, c.total_steps, c.batch_size = "pairs:PATH", 64, 1000, 128
    c.encoder = encoders.options("resnet18", width=32)
    c.checkpoint.every, c.log.every = 200, 20
    if sound:
      c.data.length, c.data.rate = 1.0, 8000
  c.optim.name, c.optim.lr, c.optim.weight_decay, c.optim.warmup = "adamw", 1e-3, 0.1, 0.1
  return c


def text_tower(variant):
  """The options of a text encoder beside an image encoder."""
  return encoders.options("text_ti", **{"width": 16, "depth": 1, "heads": 2} if variant == "tiny" else {"depth": 4})


def audio_tower(variant):
  """The options of an encoder of sound beside an image encoder."""
  small, large = AUDIOS["audio_resnet10"]
  return encoders.options("audio_resnet10", **small | SPECTROGRAMS["tiny"] if variant == "tiny" else
                          large | SPECTROGRAMS["audio"])


VARIANTS = {"digits": digits, "cifar10": cifar10, "imagenet": imagenet, "tiny": tiny}


def aug(variant, recipe="simclr", **options):
  """The views of a variant: `handwriting` for digits, with crops if the recipe is a multi-crop; else the recipe.

  It goes without blur at 32 pixels, and its large views have 224 on ImageNet.
  """
  if variant in ("digits", "tiny"):
    several = "small" in recipes.accepted(recipe)
    small = 4 if variant == "digits" else 1
    return recipes.options("handwriting_crops", small=small) if several else recipes.options("handwriting")
  fit = {"blur_p": 0.0, "small_blur_p": 0.0, "small": 4} if variant == "cifar10" else {"size": 224}
  return recipes.options(recipe, **{k: v for k, v in fit.items() if k in recipes.accepted(recipe)} | options)
