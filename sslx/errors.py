"""Errors a person can act on: one line that says what was given, what is allowed and what to do."""

import difflib


class UsageError(ValueError):
  """Wrong use: an unknown name, a missing path, options that do not fit together. The command line exits with 2."""


class RunError(RuntimeError):
  """A run that could not go on: a non-finite loss, a full disk, a corrupt file. The command line exits with 1."""


class Diverged(RunError):
  """A loss, gradients or parameters that are not finite."""


class Stopped(Exception):
  """A signal asked the run to stop; everything is saved. The command line exits with 3: the same command goes on."""


def unknown(kind, name, known):
  """A UsageError for a name that is not among `known`, with the nearest valid ones first."""
  known = sorted(map(str, known))
  near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
  hint = f"did you mean {' or '.join(near)}? " if near else ""
  return UsageError(f"unknown {kind} '{name}': {hint}there are {', '.join(known) or 'none'}")


def first_line(e):
  """The first line of an exception's text, or its type's name."""
  return (str(e).strip().splitlines() or [type(e).__name__])[0]
