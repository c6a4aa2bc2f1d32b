"""Labels of any kind as class numbers, and seeded draws of examples that keep the classes' shares."""

import numpy as np

from sslx import errors


def check(train_x, train_y, test_x, test_y):
  """The four as arrays; one clear line when their shapes do not fit."""
  train_x, train_y, test_x, test_y = map(np.asarray, (train_x, train_y, test_x, test_y))
  for name, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or not len(x):
      raise errors.UsageError(f"{name} set: features {x.shape} and labels {y.shape}; they must be [N, D] and [N]")
  if train_x.shape[1] != test_x.shape[1]:
    raise errors.UsageError(f"training features have {train_x.shape[1]} dimensions, test features {test_x.shape[1]}")
  return train_x, train_y, test_x, test_y


def encode(train_y, test_y):
  """(classes of the training set, sorted [K]; train_y as their numbers; test_y likewise, -1 for a class not there)."""
  classes, train = np.unique(train_y, return_inverse=True)
  test = np.minimum(np.searchsorted(classes, test_y), len(classes) - 1)
  return classes, train, np.where(classes[test] == test_y, test, -1)


def draw(rng, ids, counts):
  """counts[c] random examples of each class c: (their indices, the indices of all others), both shuffled."""
  order = rng.permutation(len(ids))
  shuffled = ids[order]
  by_class = np.argsort(shuffled, kind="stable")
  first = np.searchsorted(shuffled[by_class], shuffled[by_class])
  rank = np.empty(len(ids), int)                           # of an example among those of its class, in random order
  rank[by_class] = np.arange(len(ids)) - first
  taken = rank < np.asarray(counts)[shuffled]
  return order[taken], order[~taken]


def unseen(train_y, test_y):
  """[one line] on test examples whose class the training set does not have, or [] if there are none."""
  classes, _, test = encode(np.asarray(train_y), np.asarray(test_y))
  if not (count := int(np.sum(test < 0))):
    return []
  names = sorted(map(str, set(np.asarray(test_y)[test < 0].tolist())))
  return [f"{count} of {len(test)} test examples count as wrong: no training example has their class "
          f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"]
