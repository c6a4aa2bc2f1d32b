"""Examples by the names of their files: what a list of names stands for in a data set, and names to list it by."""

import collections
import os

from sslx import errors


def positions(names, paths, where):
  """The position among `paths` of each name: that of the one file which ends like it, whole parts of a path compared.

  where: the list they are of, for the UsageError on a name that no file or several have.
  """
  split = [os.path.normpath(n).split(os.sep) for n in names]
  tables = {k: table(paths, k) for k in {len(parts) for parts in split}}
  found = [tables[len(parts)].get(tuple(parts), ()) for parts in split]
  missing = [n for n, at in zip(names, found, strict=True) if not at]
  if missing:
    raise errors.UsageError(f"{where} names {missing[0]}, which is not in this set"
                            + (f" (nor are {len(missing) - 1} more of its names)" if len(missing) > 1 else "")
                            + f"; its files are such as {'/'.join(paths[0].split(os.sep)[-2:])}")
  several = next(((n, at) for n, at in zip(names, found, strict=True) if len(at) > 1), None)
  if several:
    n, at = several
    raise errors.UsageError(f"{where} names {n}, which {len(at)} files of this set are called: write its folder, too, "
                            f"as in {'/'.join(paths[at[0]].split(os.sep)[-2 - n.count(os.sep):])}")
  return [at[0] for at in found]


def short(paths):
  """A name for each path: its last part, or as many as it takes for all to be different."""
  longest = max(p.count(os.sep) for p in paths) + 1
  k = next((k for k in range(1, longest) if len(table(paths, k)) == len(paths)), longest)
  return ["/".join(p.split(os.sep)[-k:]) for p in paths]


def table(paths, k):
  """{the last k parts of a path: [positions]}."""
  out = collections.defaultdict(list)
  for i, path in enumerate(paths):
    out[tuple(path.split(os.sep)[-k:])].append(i)
  return out
