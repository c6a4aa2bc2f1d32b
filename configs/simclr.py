"""SimCLR (Chen et al., 2020).

  sslx pretrain --config configs/simclr.py:digits --workdir runs/digits

variant   data and encoder                                     on 2 CPU cores   expect
digits    scikit-learn's digits, ResNet-18 at width 16         2 minutes        85 % with one label a class (raw: 64)
cifar10   10,000 images of CIFAR-10, ResNet-18 at width 16     30 minutes       kNN 44 % (at random initialisation 31)
imagenet  tfds:imagenet2012, ResNet-50, batch 4096, 100 epochs not run here     (the paper: 69.3 % linear, 1,000 epochs)
tiny      digits, 30 steps: everything once                    20 seconds       nothing

cifar10 reads tfds:cifar10; --config.data.name=folder:PATH reads {train,test}/CLASS/*.jpg.
"""

from sslx import methods, presets


def get_config(arg="digits"):
  c = presets.make(arg)
  if arg == "imagenet":
    c.method = methods.options("simclr", temperature=0.1, aug=presets.aug(arg))
  elif arg == "cifar10":
    c.method = methods.options("simclr", temperature=0.2, widths=(128, 128), norm=True, last_norm=True,
                               aug=presets.aug(arg))
  else:
    width = 32 if arg == "tiny" else 128
    c.method = methods.options("simclr", temperature=0.5, widths=(width, 16 if arg == "tiny" else 128), norm=True,
                               aug=presets.aug(arg))
  return c
