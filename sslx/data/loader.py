"""From a Source to batches: batch number n is a pure function of (seed, n), so a run resumes with no iterator state."""

import concurrent.futures
import dataclasses
import functools

import grain
import numpy as np
from absl import flags

from sslx import errors
from sslx.data import source as sources

AHEAD = 2                    # batches that are read before they are asked for
ENDLESS = 2**48


def batches(source, *, batch_size, seed, start=0, workers=0, shuffle=True, process_index=0, process_count=1):
  """An endless iterator of {the Source's key: [b, ...], "label": [b], "index": [b]}, from batch number `start` on.

  The examples are shuffled anew in every pass, and every pass has each of them once; a batch may reach over the end of
  a pass. b is batch_size / process_count: the batches of all processes, concatenated in process order, are those of one
  process with the same seed.

  Args:
    source: a Source, or any sequence (`len` and `[i]`) of dicts of equally shaped arrays.
    batch_size: of the global batch, all processes together.
    seed: of the shuffle; the same in every process.
    start: number of the first batch.
    workers: processes that read and decode; 0 = threads of this one. A source in memory has nothing to decode and
      always uses threads. A script that uses workers needs the usual `if __name__ == "__main__":`.
    shuffle: False keeps the order of the source.
    process_index, process_count: which share of every batch to return.

  Raises:
    UsageError: a batch larger than the data set, or one that does not divide by the processes.
  """
  source = sources.from_sequence("given", source)
  if not 1 <= batch_size <= len(source):
    raise errors.UsageError(f"batch_size {batch_size} does not fit data set '{source.name}' of {len(source)} examples: "
                            f"it must be from 1 to {len(source)}")
  if batch_size % process_count:
    raise errors.UsageError(f"batch_size {batch_size} does not divide by {process_count} processes")
  share = batch_size // process_count
  read = functools.partial(_batch, dataclasses.replace(source, paths=None), seed if shuffle else None, batch_size,
                           process_index * share, share)
  workers = 0 if source.in_memory else workers
  data = grain.MapDataset.range(start, ENDLESS).map(read)
  data = data.to_iter_dataset(grain.ReadOptions(num_threads=0 if workers else AHEAD, prefetch_buffer_size=AHEAD))
  if workers:
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()               # grain hands its flags to the workers; only absl.app.run parses them
    data = data.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=AHEAD))
    return _alive(iter(data))
  return iter(data)


def _alive(found):
  """The batches of reading processes, and a RunError where one of these has died."""
  try:
    yield from found
  except RuntimeError as e:
    if "Worker process" not in str(e):
      raise
    raise errors.RunError(f"a process that reads data has died (is memory short?): {errors.first_line(e)} The same "
                          "command goes on from the last checkpoint; fewer data.workers need less memory") from e


def arrays(source, limit=0, seed=0):
  """(examples [N, ...], labels [N] or None, index [N]) of `limit` examples drawn by `seed` (0 = all), by position."""
  source = sources.from_sequence("given", source)
  index = drawn(source, limit, seed)
  found = [source.batch(part) for part in np.array_split(index, -(-len(index) // 1024))]
  labels = np.concatenate([p["label"] for p in found]) if "label" in found[0] else None
  return np.concatenate([p[source.key] for p in found]), labels, index.astype(np.int32)


def drawn(source, limit, seed):
  """The positions of `limit` examples drawn by `seed` (0 = all), in order."""
  n = len(source)
  return np.sort(sources.generator(seed).permutation(n)[:limit]) if 0 < limit < n else np.arange(n)


def parts(source, size):
  """The examples of a Source in order, `size` at a time, each part read while the one before is used."""
  read = lambda i: source.batch(np.arange(i, min(i + size, len(source))))
  with concurrent.futures.ThreadPoolExecutor(1, "sslx-parts") as pool:
    ahead = pool.submit(read, 0)
    for i in range(0, len(source), size):
      part = ahead.result()
      ahead = pool.submit(read, i + size) if i + size < len(source) else None
      yield part


def _batch(source, seed, batch_size, first, share, number):
  """Examples [first, first + share) of global batch `number`. (Shuffling example by example in Grain costs 20 us each;
  a pass's permutation costs 20 ms for a million.)"""
  at = int(number) * batch_size + first + np.arange(share)
  passes, at = np.divmod(at, len(source))
  if seed is not None:
    at = np.concatenate([_order(seed, int(p), len(source))[at[passes == p]] for p in np.unique(passes)])
  return source.batch(at)


@functools.lru_cache(4)
def _order(seed, number, count):
  """The order of the examples in one pass over the data."""
  return sources.generator((seed, number)).permutation(count)
