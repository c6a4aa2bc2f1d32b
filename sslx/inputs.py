"""The data of a run: what its config names, and whether its method can take it."""

import numpy as np

from sslx import data, errors, log
from sslx.evaluate import split as splits


def load(config, split, rest=False):
  """The data of a config: its "train" or "test" split; of data.votes or data.labels the labelled examples.

  rest: with data.unlabelled all training examples, see data.beside.
  """
  c = config.data
  if c.name == "given":
    raise errors.UsageError("the data were given as an object, or the encoder was imported: name a set, --data NAME")
  with log.progress() as bar:
    def progress(done, total):
      if not bar.tasks:
        bar.add_task("checking and copying images, once")
      bar.update(bar.task_ids[0], completed=done, total=total)
    source = data.load(c.name, split=split, dir=c.dir, size=c.size, fit=c.fit, channels=c.get("channels", 0),
                       limit=c.limit * (split == "train"), on_error=c.on_error, seed=config.seed,
                       progress=progress, **{k: c[k] for k in data.OTHERS if k in c})
  if source.skipped:
    log.say(f"{source.name}, {split}: {source.skipped} left out, which are not whole (data.on_error=skip)")
  if split == "train" and c.get("votes"):
    if c.get("labels"):
      raise errors.UsageError("data.votes names the examples that have labels: leave data.labels empty")
    source = data.voted(source, c.votes)
  few = split == "train" and c.get("labels")
  if not few:
    return source
  index = splits.labelled(few, source.labels, config.seed, source.paths)
  return data.beside(source, index) if rest and c.get("unlabelled") else source.take(index)


def check_reads(method, batch):
  """A UsageError where the method needs what the data do not hold."""
  missing = [k for k in method.reads if k not in batch]
  if missing:
    raise errors.UsageError(f"the method reads {', '.join(missing)}, which the data do not hold: there are "
                            f"{', '.join(k for k in batch if k != 'index')}")


def check_images(source):
  """A UsageError where images, videos or voxels are not uint8, uint16 or floats in [0, 1], judged by 64 of them."""
  if source.key in ("text", "audio", "points"):
    return
  images = data.arrays(source, 64)[0]
  whole = images.dtype in (np.uint8, np.uint16)
  if not (whole or (np.issubdtype(images.dtype, np.floating) and images.min() >= 0 and images.max() <= 1)):
    raise errors.UsageError(f"images are {images.dtype} from {images.min():g} to {images.max():g}; they must be uint8, "
                            "uint16 or floats in [0, 1]")
