"""Evaluation during a run: cheap protocols on fixed examples, and the number that makes a checkpoint the best one."""

import numpy as np

from sslx import checkpoint, data, errors, evaluate
from sslx.evaluate import sets


def watcher(config, source, test, encoder, method):
  """(a function params, state -> (values for the log, the number that "best" compares), that number's metric or None).

  For use during the run. On further sets (evaluate.data) it gives kNN by their names, "knn_cifar10"; where the run's
  own data have no labels, the mean of these is what "best" compares.
  """
  read = config.evaluate.read
  if read not in ("h", "z"):
    raise errors.unknown("evaluate.read", read, ("h", "z"))
  if read == "z" and method.project is None:
    raise errors.UsageError(f"evaluate.read=z: the method {config.method.name} has no projection to read: use h")
  bank = data.arrays(source, config.evaluate.train, config.seed)
  queries = None if test is None else data.arrays(data.given(test), config.evaluate.test, config.seed)
  labelled = bank[1] is not None and queries is not None and queries[1] is not None
  limits = (config.evaluate.train, config.evaluate.test)
  further = {title: sets.arrays(name, source, config.data, limits, config.seed)
             for title, name in sets.titles(config.evaluate.data).items() if name != config.data.name}
  protocols, best = config.evaluate.protocols, config.checkpoint.best
  for name in protocols:
    if name not in ("knn", "health", "pretext"):
      raise errors.unknown("protocol during the run", name, ("knn", "health", "pretext"))
  if "pretext" in protocols and test is None:
    raise errors.UsageError("evaluate.protocols has pretext, which needs images that are held out: give a test split")
  if "pretext" in protocols:
    held_out, _ = data.numbered(data.given(test))
    missing = [k for k in method.reads if k not in held_out.batch(np.arange(1))]
    if missing or "index" in method.reads:
      raise errors.UsageError("evaluate.protocols has pretext, but this method's task reads "
                              f"{', '.join(missing) or 'the index of training examples'}, which held-out data have not")
  best = ("knn" if labelled or further else "rankme") if best == "auto" else best
  if best not in ("knn", "rankme", "none"):
    raise errors.unknown("checkpoint.best", best, ("auto", "knn", "rankme", "none"))
  if best == "knn" and not (labelled or further):
    raise errors.UsageError("checkpoint.best=knn needs a labelled train and test split, or a set in evaluate.data: use "
                            "rankme or auto")

  def watch(params, state):
    h = lambda: (encoder, method.encoder(params, state)[source.key])
    module, variables = h() if read == "h" else method.project(params, state)
    embed = lambda images: evaluate.embed(checkpoint.of(module, variables, source), images)
    features, values = embed(bank[0]), {}
    if labelled and ("knn" in protocols or best == "knn"):
      values["knn"] = evaluate.knn(features, bank[1], embed(queries[0]), queries[1])
    if "knn" in protocols or (best == "knn" and not labelled):
      for title, (a, b) in further.items():
        values[f"knn_{title}"] = evaluate.knn(embed(a[0]), a[1], embed(b[0]), b[1])
    if "health" in protocols or best == "rankme":
      health = evaluate.health(features)
      values |= {"rankme": health["effective_rank"], "feature_std": health["feature_std"]}
    if "pretext" in protocols:
      found = evaluate.pretext(method, {k: v for k, v in params.items() if k != "probe"}, state, held_out,
                               examples=config.evaluate.test or len(test), batch_size=min(256, config.batch_size),
                               seed=config.seed)
      values |= {f"test_{k}": v for k, v in found.items()}
    values = {k: v for k, v in values.items() if v is not None}
    mean = best == "knn" and not labelled
    return values, np.mean([values[f"knn_{title}"] for title in further]) if mean else values.get(best)

  metric = f"knn on {', '.join(further)}" if best == "knn" and not labelled else best
  return watch, None if best == "none" else metric if read == "h" else f"{metric} of z"
