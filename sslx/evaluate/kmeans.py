"""k-means clusters of frozen features beside the true classes, of which it never learns: NMI, ARI, matched accuracy."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from threadpoolctl import threadpool_limits

from sslx import errors

VERSION = "kmeans-v1"
PAPER = "Van Gansbeke et al., SCAN, 2020 (as many clusters as classes, matched one to one)"
STARTS = 10                                                # of which the tightest clustering is taken
FROZEN = {"version": VERSION, "paper": PAPER, "starts": STARTS, "features": "rows of length 1, of the test set"}


def kmeans(x, y, *, seed=0):
  """{"nmi", "ari", "accuracy"} of k-means on x [N, D], rows scaled to length 1, with as many clusters as classes in y.

  nmi: mutual information of clusters and classes over the mean of their entropies; ari: the adjusted Rand index;
  accuracy: share of x whose cluster is matched with its class, one cluster a class, matched as is best (Kuhn, 1955).
  """
  x, classes = np.asarray(x, np.float32), np.unique(y, return_inverse=True)[1]
  count = classes.max(initial=0) + 1
  if len(x) != len(classes):
    raise errors.UsageError(f"{len(x)} features and {len(classes)} labels; each needs one")
  x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  with threadpool_limits(1):
    found = KMeans(count, n_init=STARTS, random_state=seed).fit_predict(x)
  both = np.zeros((count, count), int)
  np.add.at(both, (found, classes), 1)
  return {"nmi": float(normalized_mutual_info_score(classes, found)), "ari": float(adjusted_rand_score(classes, found)),
          "accuracy": float(both[linear_sum_assignment(both, maximize=True)].sum() / len(x))}
