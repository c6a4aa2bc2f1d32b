"""Named factories with keyword options: how configs, the command line and Python all reach a component.

A component (method, encoder, recipe, data source) is a function whose keyword-only parameters with defaults are its
options. Its name is a file or function of ours, a dotted name ("mypackage.mymethod") that is imported as it stands, or
"mymethod" for a file mymethod.py in the working directory.
"""

import importlib
import inspect
import pathlib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from sslx import errors


def own(kind, name, attribute, known):
  """The user's own object behind a name that is none of `known`."""
  if not is_own(name):
    raise unknown(kind, name, known)
  return imported(kind, name, attribute)


def is_own(name):
  """Whether a name is a dotted one, or that of a Python file in the working directory."""
  return "." in name or (name.isidentifier() and pathlib.Path(f"{name}.py").is_file())


def unknown(kind, name, known):
  """A UsageError that names the nearest of `known`, and how the user's own are named."""
  return errors.UsageError(f"{errors.unknown(kind, name, known)}; your own go by their dotted name, package.module, or "
                           "NAME for a file NAME.py in the working directory")


def imported(kind, name, attribute):
  """The object a module's name stands for: `module` (its `attribute`), or `package.module.function`."""
  for module_name, attr in [(name, attribute), tuple(name.rsplit(".", 1))][:1 + ("." in name)]:
    if module_name.startswith(".") or not module_name:
      continue
    try:
      module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
      if e.name and not (module_name == e.name or module_name.startswith(e.name + ".")):
        raise errors.UsageError(f"{kind} '{name}': its module needs '{e.name}', which is not installed") from e
      continue
    except (ImportError, NameError, SyntaxError) as e:
      where = f"{e.filename}, line {e.lineno}: " if isinstance(e, SyntaxError) else ""
      why = e.msg if isinstance(e, SyntaxError) else errors.first_line(e)
      raise errors.UsageError(f"{kind} '{name}' cannot be imported: {where}{type(e).__name__}: {why}") from e
    if callable(getattr(module, attr, None)):
      return getattr(module, attr)
  raise errors.UsageError(f"{kind} '{name}': no such module, or no function `{attribute}` in it; it must be importable")


def known(factory):
  """{option: default} of a factory's keyword parameters that have a default."""
  parameters = inspect.signature(factory).parameters.values()
  return {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY and p.default is not p.empty}


def call(kind, name, factory, /, *args, **options):
  """factory(*args, **options), with one clear line for an option it does not know."""
  allowed = accepted(factory)
  for option in options:
    if option not in allowed:
      raise errors.unknown(f"option of {kind} {name}", option, allowed)
  return factory(*args, **options)


def accepted(factory):
  """The names of all options a factory takes, those without a default and those that are functions among them."""
  return {p.name for p in inspect.signature(factory).parameters.values() if p.kind == p.KEYWORD_ONLY}


def filled(kind, name, factory, changed):
  """A ConfigDict {"name": name, every option: its default or the changed value}: typed, so that flags can set it.

  None stays open to any type; options that are functions are left to Python.
  """
  options = known(factory)
  for option, value in changed.items():
    if option not in options:
      raise errors.unknown(f"option of {kind} {name}", option, options)
    if callable(value):
      raise errors.UsageError(f"option {option} of {kind} {name} is {value!r}: a config holds names and plain values; "
                              "give its name, or pass it to make() from Python")
  values = {k: placeholder(object) if v is None else v for k, v in (options | changed).items() if not callable(v)}
  return ConfigDict({"name": name, **values})
