"""Further data sets that an encoder is judged on, beside those it was trained on."""

from sslx import data, errors


def load(name, split, shape, reads, like):
  """A split of another set as a Source, for an encoder of examples of `shape` that reads that key.

  like: the data group of the run's config: images, of point sets those that are drawn of them, voxels and points come
    to the encoder's size, all else as there.
  """
  own = {k: like[k] for k in ("size", *data.OTHERS) if k in like}
  own |= {"image": {"size": shape[0], "key": "image"}, "voxels": {"size": shape[0]},
          "points": {"length": shape[0]}}.get(reads, {})
  return data.load(name, split=split, dir=like["dir"], fit=like["fit"], on_error=like["on_error"], **own)


def titles(names):
  """{the last part of a name, or the whole one where several end alike: name}, each set once."""
  names = list(dict.fromkeys(names))
  short = [n.rstrip("/").replace(":", "/").rpartition("/")[2] for n in names]
  return {n if short.count(s) > 1 else s: n for n, s in zip(names, short, strict=True)}


def arrays(name, source, like, limits, seed):
  """((examples, labels) to learn from, (examples, labels) to test with) of another set, which must be labelled.

  source: the run's own; limits: at most so many of each, 0 for all.
  """
  found = []
  for split, limit in zip(("train", "test"), limits, strict=True):
    part = load(name, split, source.shape, source.key, like)
    if part.labels is None or part.key != source.key:
      raise errors.UsageError(f"evaluate.data: {name} has no labelled {source.key} to evaluate on in its {split} split")
    if part.key == "image" and part.shape[2] not in (1, source.shape[2]):
      raise errors.UsageError(f"evaluate.data: {name} has images of {part.shape[2]} channels, the run's own have "
                              f"{source.shape[2]}; data.channels=3 makes those RGB")
    found.append(data.arrays(part, limit, seed)[:2])
  return found
