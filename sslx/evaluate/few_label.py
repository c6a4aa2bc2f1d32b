"""Few labels on frozen features: logistic regression from a handful of labelled examples, over repeated draws.

Features are standardised with the statistics of the whole training set, which need no labels. The regularisation is
chosen once for each setting and contender: SEARCH further draws of the same size (never those that are scored) are
fitted with the C of GRID in turn (`linear.search`) and scored on training examples outside the draw, at most HELD of
them; the C of the best mean accuracy holds for all scored draws. That is one number taken from labels beyond the few,
the same favour for every contender; one label a class leaves no other way. Test labels only score.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from sslx.evaluate import labels
from sslx.evaluate.linear import GRID, MARGIN, STEPS, fit, search, standardised

VERSION = "few-label-v1"
PAPER = "Chen et al., SimCLR, 2020 (1 % and 10 % of labels); Assran et al., MSN, 2022 (a few labels a class)"
SETTINGS = ("1", "2", "5", "10", "1%", "10%", "20%")       # labels a class, or share of the training labels
DRAWS, DRAWS_OF_SHARE, SEARCH = 10, 3, 3
HELD = 2000
FROZEN = {"version": VERSION, "paper": PAPER, "settings": list(SETTINGS), "draws": DRAWS,
          "draws_of_share": DRAWS_OF_SHARE, "search": SEARCH, "held": HELD, "grid": list(GRID), "margin": MARGIN,
          "steps": STEPS}


def few_label(train_x, train_y, test_x, test_y, *, standardise=True, seed=0, settings=SETTINGS):
  """{setting: {"mean", "std", "C", "converged"}} of test accuracy over the draws of each setting that fits the set.

  The draws depend on train_y and `seed` alone, so contenders of the same labels meet the same examples. "std" is the
  deviation over draws (with n - 1), "converged" whether L-BFGS did in every scored draw.
  """
  train_x, train_y, test_x, test_y = labels.check(train_x, train_y, test_x, test_y)
  _, train_ids, test_ids = labels.encode(train_y, test_y)
  train_x, test_x = standardised(train_x, test_x) if standardise else (train_x, test_x)
  out = {}
  for setting in settings:
    if reason(setting, train_ids):
      continue
    with threadpool_limits(1):
      c = search([(train_x[i], train_ids[i], train_x[rest[:HELD]], train_ids[rest[:HELD]])
                  for i, rest in draws(setting, train_ids, seed, extra=True)])
      fits = [fit(train_x[i], train_ids[i], c) for i, _ in draws(setting, train_ids, seed)]
    accuracy = [np.mean(model.predict(test_x) == test_ids) for model, _ in fits]
    out[setting] = {"mean": float(np.mean(accuracy)), "std": float(np.std(accuracy, ddof=1)), "C": c,
                    "converged": all(converged for _, converged in fits)}
  return out


def counts(setting, ids):
  """How many labels of each class a setting takes: n, or the rounded share of each class, at least one."""
  sizes = np.bincount(ids)
  if setting.endswith("%"):
    return np.maximum(1, np.round(float(setting[:-1]) / 100 * sizes)).astype(int)
  return np.full(len(sizes), int(setting))


def reason(setting, ids):
  """Why the training set is too small for a setting, or None: shares must give each class a label, n must leave one."""
  sizes = np.bincount(ids)
  if len(sizes) < 2:
    return "the training set has one class"
  if setting.endswith("%") and float(setting[:-1]) / 100 * sizes.min() < 0.5:
    return f"the smallest class has {sizes.min()} training examples, too few for a share of {setting}"
  if (need := counts(setting, ids).max()) and np.any(counts(setting, ids) >= sizes):
    return f"the smallest class has {sizes.min()} training examples, {need} labels a class and one to spare are needed"
  return None


def draws(setting, ids, seed, extra=False):
  """The (indices of labelled, indices of all others) of a setting: those to be scored, or those to search C with."""
  n = SEARCH if extra else DRAWS_OF_SHARE if setting.endswith("%") else DRAWS
  for i in range(n):
    rng = np.random.default_rng([seed, SETTINGS.index(setting) if setting in SETTINGS else len(SETTINGS), extra, i])
    yield labels.draw(rng, ids, counts(setting, ids))


def left_out(train_y, settings=SETTINGS):
  """{setting: why} of the settings that a training set of these labels is too small for."""
  ids = np.unique(train_y, return_inverse=True)[1]
  return {s: why for s in settings if (why := reason(s, ids))}
