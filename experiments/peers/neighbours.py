"""kNN by scikit-learn or faiss, exactly and with all cores, for experiments/bench/peers.py (a contender of turns.py).

The vote is that of sslx.evaluate.knn: the 20 nearest by cosine, each with exp(cosine / 0.07). scikit-learn compares
unit vectors by squared distance, 2 - 2 cosine, for which it has its fastest brute force; faiss by product
(IndexFlatIP).
"""

import argparse

import numpy as np
import turns

K, TEMPERATURE = 20, 0.07


def unit(x):
  return x / np.linalg.norm(x, axis=1, keepdims=True)


def sklearn(x):
  from sklearn.neighbors import KNeighborsClassifier
  model = KNeighborsClassifier(K, weights=lambda d: np.exp(-d / 2 / TEMPERATURE), algorithm="brute",
                               metric="sqeuclidean", n_jobs=-1)
  return model.fit(unit(x["bank"]), x["bank_y"]).predict(unit(x["queries"]))


def faiss(x):
  import faiss
  faiss.omp_set_num_threads(turns.CORES)
  index = faiss.IndexFlatIP(x["bank"].shape[1])
  index.add(unit(x["bank"]))
  cosine, at = index.search(unit(x["queries"]), K)
  votes = np.zeros((len(at), x["bank_y"].max() + 1))
  np.add.at(votes, (np.arange(len(at))[:, None], x["bank_y"][at]), np.exp((cosine - cosine[:, :1]) / TEMPERATURE))
  return votes.argmax(1)


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("library", choices=("sklearn", "faiss"))
  p.add_argument("--input", required=True, help=".npz of bank, bank_y, queries, queries_y")
  args = p.parse_args()
  with np.load(args.input) as found:
    x = dict(found)
  search = {"sklearn": sklearn, "faiss": faiss}[args.library]
  turns.serve(lambda: {"value": float(np.mean(search(x) == x["queries_y"])), "work": len(x["queries"])},
              bank=len(x["bank"]))


if __name__ == "__main__":
  main()
