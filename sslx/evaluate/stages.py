"""Linear probes of every stage of a frozen encoder: where edges end and meaning begins.

A stage is read as the mean over its places. The probe is that of `linear`, or ridge regression to the classes in closed
form, its regularisation chosen by leaving each training example out, also in closed form: a hundred times faster.
"""

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from threadpoolctl import threadpool_limits

from sslx.evaluate import labels
from sslx.evaluate.embed import layers
from sslx.evaluate.linear import FROZEN as LINEAR, linear, standardised

PAPER = "Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2017"
ALPHAS = tuple(10.0 ** np.arange(-2, 6))                   # of ridge, the l2 regularisation of standardised features
FROZEN = {"version": "stages-v1", "paper": PAPER, "probe": LINEAR["version"]}
FROZEN_RIDGE = {"version": "stages-ridge-v1", "paper": PAPER, "alphas": list(ALPHAS)}


def names(encoder):
  """The names of an encoder record's stages, the first to read the image first, and "pooled", the representation."""
  found = layers(encoder, encoder.variables)
  return [*sorted((k for k in found if k.startswith("stage")), key=lambda k: int(k[5:])), "pooled"]


def ridge(train_x, train_y, test_x, test_y, *, standardise=True, seed=0):
  """{"accuracy", "alpha"} of ridge regression from train_x [N, D] to one -1 or 1 a class; `seed` has no part in it."""
  train_x, train_y, test_x, test_y = labels.check(train_x, train_y, test_x, test_y)
  classes, train_ids, test_ids = labels.encode(train_y, test_y)
  if len(classes) == 1:
    return {"accuracy": float(np.mean(test_ids == 0)), "alpha": None}
  if standardise:
    train_x, test_x = standardised(train_x, test_x)
  with threadpool_limits(1):
    model = RidgeClassifierCV(alphas=ALPHAS).fit(train_x.astype(np.float64), train_ids)
    return {"accuracy": float(np.mean(model.predict(test_x) == test_ids)), "alpha": float(model.alpha_)}


PROBES = {"stages": linear, "stages_ridge": ridge}
