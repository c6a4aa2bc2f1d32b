"""Methods: a file each, whose name is the method's and whose `make(encoder, *, hyperparameters)` builds it."""

import importlib
import pkgutil

from sslx import options as _options
from sslx.augment import recipes
from sslx.methods.base import Method as Method

_NOT_METHODS = {"base", "beams", "clips", "embedding", "kmeans", "masked", "pretext", "probe", "solid", "sound",
                "towers", "words"}


def names():
  """Every built-in method's name."""
  return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_METHODS)


def _find(name):
  if name in names():
    return importlib.import_module(f"{__name__}.{name}").make
  return _options.own("method", name, "make", names())


def describe(name):
  """The first line of the method's docstring: its name and paper."""
  module = importlib.import_module(_find(name).__module__)
  return (module.__doc__ or "").partition("\n")[0]


def cite(name):
  """The BibTeX entry of the method's paper, or None."""
  return getattr(importlib.import_module(_find(name).__module__), "CITE", None)


def options(name, **changed):
  """{"name": name, every option: its default}, with `changed` ones, for a config; `aug` is recipes.options(...)."""
  return _options.filled("method", name, _find(name), changed)


def accepted(name):
  """The names of the options of `name`."""
  return _options.accepted(_find(name))


def make(name, encoder, **options):
  """The Method `name` on a Flax encoder; a dotted name is the user's own `make(encoder, *, hyperparameters)`.

  `aug` may be a function (key, image) -> view or the name and options of a recipe. Raises errors.UsageError for an
  unknown name or option, naming the nearest valid ones.
  """
  if "aug" in options and not callable(options["aug"]):
    options["aug"] = recipes.make(**options["aug"])
  return _options.call("method", name, _find(name), encoder, **options)


def split(group):
  """(name, options) of a config group such as {"name": "simclr", "temperature": 0.5}."""
  options = dict(group)
  return options.pop("name"), options
