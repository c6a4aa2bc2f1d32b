"""From a Source to batches: batch number n is a pure function of (seed, n), so a run resumes with no iterator state."""

import dataclasses

import grain
import numpy as np
from absl import flags

from sslx import errors
from sslx.data import source as sources

AHEAD = 2                    # batches that are read before they are asked for


def batches(source, *, batch_size, seed, start=0, workers=0, shuffle=True, process_index=0, process_count=1):
  """An endless iterator of {"image": [b, H, W, C], "label": [b], "index": [b]}, from batch number `start` on.

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
  if batch_size < 1 or batch_size > len(source):
    raise errors.UsageError(f"batch_size {batch_size} does not fit data set '{source.name}' of {len(source)} examples: "
                            f"it must be from 1 to {len(source)}")
  if batch_size % process_count:
    raise errors.UsageError(f"batch_size {batch_size} does not divide by {process_count} processes")
  data = grain.MapDataset.range(len(source))
  if shuffle:                                    # grain adds the pass to the seed: spread seeds so that they never meet
    data = data.shuffle(seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))
  data = data.repeat().batch(batch_size // process_count, drop_remainder=True)
  data = data[start * process_count + process_index::process_count]
  data = data.map(dataclasses.replace(source, paths=None).batch)
  workers = 0 if source.in_memory else workers
  if workers and not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()                 # grain's workers read their flags, which only absl.app.run would parse
  data = data.to_iter_dataset(grain.ReadOptions(num_threads=0 if workers else AHEAD, prefetch_buffer_size=AHEAD))
  if workers:
    data = data.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=AHEAD))
  return iter(data)


def arrays(source, limit=0, seed=0):
  """(images [N, H, W, C], labels [N] or None, index [N]) of `limit` examples drawn by `seed` (0 = all), by position."""
  source = sources.from_sequence("given", source)
  n = len(source)
  index = np.sort(sources.generator(seed).permutation(n)[:limit]) if 0 < limit < n else np.arange(n)
  parts = [source.batch(part) for part in np.array_split(index, -(-len(index) // 1024))]
  labels = np.concatenate([p["label"] for p in parts]) if "label" in parts[0] else None
  return np.concatenate([p["image"] for p in parts]), labels, index.astype(np.int32)
