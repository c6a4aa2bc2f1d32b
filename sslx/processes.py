"""Several processes of one run, a machine or a device each: how they start, take turns, agree and stop together."""

import collections
import hashlib
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from sslx import errors, mesh

LOST = 30              # seconds after which a process that says nothing is given up, and all others with it


def join(address=None, count=None, index=None):
  """Makes this process one of a run's, before anything else asks for a device.

  Without arguments the cluster says who is who (SLURM, Open MPI, Kubernetes, TPU pods). Else: the first process's
  address "HOST:PORT", how many processes there are and which one this is, from 0 on.
  """
  given = [v is not None for v in (address, count, index)]
  if any(given) and not all(given):
    raise errors.UsageError("--coordinator HOST:PORT, --processes N and --process I come together")
  if all(given) and not 0 <= index < count:
    raise errors.UsageError(f"--process {index} of {count}: give 0 to {count - 1}")
  if all(given) and count > 1:
    print(f"waiting for all {count} processes at {address}", file=sys.stderr, flush=True)
  try:
    jax.distributed.initialize(address, count, index, heartbeat_timeout_seconds=LOST)
  except (ValueError, RuntimeError) as e:
    found = "nothing of a cluster was found here" if not any(given) else f"process {index} of {count} at {address}"
    raise errors.UsageError(f"cannot join the other processes, {found}: {errors.first_line(e)}. Give --coordinator "
                            "HOST:PORT --processes N --process I") from e


def leave(code, line):
  """Ends this process of several after a failure, at once, so that those that wait for it notice and stop, too."""
  print(f"sslx: {line}", file=sys.stderr, flush=True)
  os._exit(code)


def several():
  """Whether there are other processes."""
  return jax.process_count() > 1


def first():
  """Whether this is the process that writes."""
  return jax.process_index() == 0


def by_first(action):
  """What `action()` gives in the first process, None in the others; where it raises, all of them stop."""
  if not several():
    return action()
  result, failure = None, None
  if first():
    try:
      result = action()
    except Exception as e:  # it is raised again below, when the others know
      failure = e
  failed = multihost_utils.broadcast_one_to_all(np.int32(failure is not None))
  if failure is not None:
    raise failure
  if failed:
    raise errors.RunError("the first process could not go on: it says why")
  return result


def alike(what, text):
  """A UsageError in all processes where `text` is not the same in every one."""
  if several():
    mark = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=4).digest(), np.uint32)
    marks = multihost_utils.process_allgather(mark)
    if np.any(marks != marks[0]):
      other = int(np.argmax(np.any(marks != marks[0], -1)))
      raise errors.UsageError(f"{what} of process {other} is not that of the first one: the command must be the same "
                              "in all")


def all_or_none(action):
  """What `action()` gives in this process; an error in all of them where it raises in any."""
  if not several():
    return action()
  result, failure = None, None
  try:
    result = action()
  except Exception as e:  # it is raised again below, when the others know
    failure = e
  failed = multihost_utils.process_allgather(np.int32(failure is not None))
  if failure is not None:
    raise failure
  if np.any(failed):
    raise errors.RunError(f"process {int(np.argmax(failed))} cannot read it")
  return result


def in_turn(action):
  """What `action()` gives, in the first process before the others, who may find then what it has made."""
  result = by_first(action)
  return result if first() else action()


class Agreement:
  """What any process asks for, told to all of them at the same step.

  Each step every process calls it with flags; it returns whether any process raised each of them two calls before. No
  process waits: it is a sum on the device, read when it is long done. A single process has its own flags at once.
  """
  DELAY = 3

  def __init__(self):
    self.asked = collections.deque()
    if several():
      devices = mesh.arranged(mesh.ordered())
      self.rows, self.any = mesh.rows(devices), jax.jit(lambda x: jnp.any(x, 0), out_shardings=mesh.everywhere(devices))

  def __call__(self, *flags):
    if not several():
      return flags
    mine = np.tile(np.array(flags, bool), (jax.local_device_count(), 1))
    self.asked.append(self.any(jax.make_array_from_process_local_data(self.rows, mine)))
    if len(self.asked) < self.DELAY:
      return (False,) * len(flags)
    return tuple(map(bool, np.asarray(self.asked.popleft())))
