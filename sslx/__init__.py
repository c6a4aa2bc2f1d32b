"""sslx: self-supervised learning in JAX and Flax.

One shape alphabet, everywhere: B batch, N examples, D features, K projection or classes, H W C image, h w feature grid,
T time or tokens, V views.
"""

import importlib

from sslx.version import __version__ as __version__

_HOME = {  # name at the top level -> module that defines it; imported when first used
    "make_step": "step", "TrainState": "step",
    "load_encoder": "checkpoint", "Encoder": "checkpoint",
    "embed": "evaluate", "Embedder": "evaluate", "Method": "methods.base",
    "import_weights": "interop", "export_weights": "interop",
}
_PARTS = ("augment", "checkpoint", "config", "data", "encoders", "errors", "evaluate", "heads", "interop", "losses",
          "methods", "optim", "report", "train", "transfer")


def __getattr__(name):
  if name in _HOME:
    return getattr(importlib.import_module(f"sslx.{_HOME[name]}"), name)
  if name in _PARTS:
    return importlib.import_module(f"sslx.{name}")
  raise AttributeError(f"module 'sslx' has no attribute '{name}'")


def __dir__():
  return sorted([*_HOME, *_PARTS, "__version__"])
