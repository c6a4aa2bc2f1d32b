"""Linear probe on frozen features: multinomial logistic regression on all labels, its regularisation validated."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sslx.evaluate import labels

VERSION = "linear-v1"
PAPER = "Kornblith et al., Do Better ImageNet Models Transfer Better?, 2019 (L-BFGS on features, C by validation)"
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)                       # of C, the inverse of the l2 regularisation
VALIDATION = 0.2                                           # share of the training set, stratified
MARGIN = 0.005                                             # the grid is left when accuracy is that far below its best
STEPS = 500                                                # of L-BFGS, at most
FROZEN = {"version": VERSION, "paper": PAPER, "grid": list(GRID), "validation": VALIDATION, "margin": MARGIN,
          "steps": STEPS}


def linear(train_x, train_y, test_x, test_y, *, standardise=True, seed=0):
  """{"accuracy", "C", "converged"} of logistic regression from train_x [N, D] to train_y.

  C is the one of GRID that is best on a stratified fifth of the training set, drawn by `seed` (the smallest if equal);
  then the fit is repeated on all of it, with the statistics of all of it for standardisation (`standardise=False` takes
  features as they are). The test set only scores. L-BFGS is given one thread: it is faster so where cores are shared.
  """
  train_x, train_y, test_x, test_y = labels.check(train_x, train_y, test_x, test_y)
  classes, train_ids, test_ids = labels.encode(train_y, test_y)
  if len(classes) == 1:
    return {"accuracy": float(np.mean(test_ids == 0)), "C": None, "converged": True}
  counts = np.bincount(train_ids)
  held, rest = labels.draw(np.random.default_rng(seed), train_ids, np.minimum(np.ceil(VALIDATION * counts), counts - 1))
  c = GRID[0]
  if len(held):
    fit_x, held_x = train_x[rest], train_x[held]
    fit_x, held_x = standardised(fit_x, held_x) if standardise else (fit_x, held_x)
    with threadpool_limits(1):
      c = search([(fit_x, train_ids[rest], held_x, train_ids[held])])
  train_x, test_x = standardised(train_x, test_x) if standardise else (train_x, test_x)
  with threadpool_limits(1):
    model, converged = fit(train_x, train_ids, c)
  return {"accuracy": float(np.mean(model.predict(test_x) == test_ids)), "C": c, "converged": converged}


def standardised(train_x, *others):
  """train_x and the others, shifted and scaled by train_x's own mean and deviation (constant dimensions become 0)."""
  x = np.asarray(train_x, np.float64)
  mean, std = x.mean(0), x.std(0)
  scale = np.divide(1, std, out=np.zeros_like(std), where=std > 1e-6 * np.abs(x).max(initial=1e-30))
  return tuple(((np.asarray(a, np.float64) - mean) * scale).astype(np.float32) for a in (train_x, *others))


def search(splits):
  """The C of GRID with the highest mean accuracy over splits (train_x, train_ids, held_x, held_ids), the smallest such.

  GRID is climbed, each fit starting from the one before, and left once the mean is MARGIN below the best so far: weaker
  regularisation only costs time then.
  """
  models, accuracies = [LogisticRegression(max_iter=STEPS, warm_start=True) for _ in splits], []
  for c in GRID:
    fitted = [fit(x, ids, c, model)[0] for model, (x, ids, _, _) in zip(models, splits, strict=True)]
    pairs = zip(fitted, splits, strict=True)
    accuracies.append(np.mean([np.mean(model.predict(x) == ids) for model, (_, _, x, ids) in pairs]))
    if accuracies[-1] < max(accuracies) - MARGIN:
      break
  return GRID[int(np.argmax(accuracies))]


def fit(x, ids, c, model=None):
  """(the fitted model, whether L-BFGS converged within STEPS)."""
  model = model or LogisticRegression(max_iter=STEPS)
  with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always", ConvergenceWarning)
    model.set_params(C=c).fit(x, ids)
  for w in seen:
    if not issubclass(w.category, ConvergenceWarning):
      warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
  return model, not any(issubclass(w.category, ConvergenceWarning) for w in seen)
