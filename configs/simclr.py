"""SimCLR (Chen et al., 2020).

  sslx pretrain --config configs/simclr.py:digits --workdir runs/digits

variant   data and encoder                                     on 2 CPU cores   expect
digits    scikit-learn's digits, ResNet-18 at width 16         2 minutes        90 % with one label a class (raw: 64)
cifar10   10,000 images of CIFAR-10, ResNet-18 at width 16     30 minutes       kNN 44 % (at random initialisation 31)
imagenet  tfds:imagenet2012, ResNet-50, batch 4096, 100 epochs not run here     (the paper: 69.3 % linear, 1,000 epochs)
tiny      digits, 30 steps: everything once                    20 seconds       nothing

cifar10 reads tfds:cifar10; --config.data.name=folder:PATH reads {train,test}/CLASS/*.jpg.
"""

from sslx import config, encoders, errors, methods
from sslx.augment import recipes


def get_config(arg="digits"):
  variants = {"digits": digits, "cifar10": cifar10, "imagenet": imagenet, "tiny": tiny}
  if arg not in variants:
    raise errors.unknown("variant", arg, variants)
  return variants[arg]()


def digits():
  c = config.default()
  c.total_steps, c.batch_size = 400, 256
  c.data.name = "digits"
  c.encoder = encoders.options("resnet18", width=16, stem="small", mean=(0.3,), std=(0.38,))
  c.method = methods.options("simclr", temperature=0.5, widths=(128, 128), norm=True,
                             aug=recipes.options("handwriting"))
  c.optim.lr, c.optim.warmup, c.optim.weight_decay = 0.3, 0.05, 5e-4
  c.checkpoint.every, c.log.every = 100, 5
  return c


def tiny():
  c = digits()
  c.total_steps, c.batch_size = 30, 64
  c.encoder.name, c.encoder.width = "resnet10", 4
  c.method.widths = (32, 16)
  c.checkpoint.every, c.log.every = 10, 5
  return c


def cifar10():
  c = config.default()
  c.total_epochs, c.batch_size = 20.0, 256
  c.data.name, c.data.limit = "tfds:cifar10", 10_000
  c.encoder = encoders.options("resnet18", width=16, stem="small")
  c.method = methods.options("simclr", temperature=0.2, widths=(128, 128), norm=True, last_norm=True,
                             aug=recipes.options("simclr", blur_p=0.0))
  c.optim.lr, c.optim.weight_decay = 0.12, 5e-4
  c.checkpoint.every, c.log.every = 195, 39
  return c


def imagenet():
  c = config.default()
  c.total_epochs, c.batch_size = 100.0, 4096
  c.precision = "bfloat16"
  c.data.name, c.data.size, c.data.workers = "tfds:imagenet2012", 256, 16
  c.encoder = encoders.options("resnet50")
  c.method = methods.options("simclr", temperature=0.1, widths=(2048, 128), aug=recipes.options("simclr", size=224))
  c.optim.name, c.optim.lr, c.optim.scale = "lars", 0.3, "linear"
  c.optim.warmup, c.optim.weight_decay = 0.1, 1e-6
  return c
