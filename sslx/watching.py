"""A long run, watched: how fast its steps are and what they wait for, a stall while it lasts, a collapse in words."""

import contextlib
import statistics
import threading
import time

import jax
import numpy as np

from sslx import cost, errors, log

COLLAPSED_STD, COLLAPSED_RANK = 0.05, 1.5                  # of unit vectors, 1 for even ones; of RankMe
PATIENCE = 3                                               # records in a row that tell of a collapse
STALL, SLOW = 30.0, 20.0                                   # seconds, and median steps, without a step
WAITS = {"input": "for the input: reading or decoding is too slow or hangs (data.workers=N reads in N processes; is "
                  "the disk or the network there?)",
         "compute": "for the devices: they have not finished an earlier step (is another process of the run gone, or "
                    "another program on the machine?)",
         "evaluating": "for an evaluation, or for what the method does between epochs",
         "saving": "for a checkpoint to be written: is the disk or the network there?"}
CAUSES = {  # methods: what usually makes them collapse
    ("simclr", "moco", "mocov3", "nnclr", "supcon", "pair", "triplet", "cola", "simcse", "video_contrast"):
        "a learning rate that is too high for the batch, a warm-up that is too short, or views with nothing in common",
    ("byol", "nnbyol", "ressl", "all4one"):
        "a target that follows too fast (method.momentum too low), a learning rate that is too high, or a predictor "
        "without batch norm",
    ("simsiam", "nnsiam"):
        "a learning rate that is too high, weight decay that is too strong, or a predictor without batch norm",
    ("barlow_twins", "vicreg", "vibcreg", "wmse", "lejepa"):
        "too little weight on the terms that spread the features, or a batch too small for their covariance",
    ("dino", "ibot", "dinov2"):
        "a teacher's temperature that is too high (all outputs even) or too low (one prototype takes all), a center "
        "that moves too slowly, or gradients that are not clipped (optim.clip)",
    ("swav", "deepcluster", "deepcluster_v2"):
        "assignments that all fall into few clusters: fewer prototypes, a smaller epsilon or a lower learning rate",
    ("ijepa", "data2vec"):
        "a target that follows too fast (method.momentum too low), a learning rate that is too high, or too little "
        "that is hidden"}


class Pace:
  """The clock of a run's loop, and a thread that says so when no step ends.

  With `waiting(what)` around what the loop waits for and `step(n)` at the end of each step. flops: a device's products
  a step, for MFU; None where they or the device's peak are not known.
  """

  EVERY = 1.0                                                # seconds between looks

  def __init__(self, flops=None, device=None):
    self.chip = device and cost.chip_of(device)
    self.flops, self.device = flops, device
    self.now = self.told = None
    self.done, self.warned = 0, False
    self._start()
    self.ended = threading.Event()
    self.thread = threading.Thread(target=self._watch, name="sslx-watch", daemon=True)
    self.thread.start()

  def _start(self):
    self.times, self.waited = [], 0.0                        # seconds of each step, and of all for the input
    self.restart()

  @contextlib.contextmanager
  def waiting(self, what, idle=lambda: True):
    """What happens inside is waiting for `what`: input, compute or saving. idle: whether the devices have nothing to do
    at its end; waiting for the input while they work costs nothing."""
    begun = time.monotonic()
    self.now = what, begun
    try:
      yield
    finally:
      self.now = self.told = None
    if what == "input" and idle():
      self.waiting_now += time.monotonic() - begun

  def step(self, number, count=1):
    """Steps up to `number` have ended; the time since the last such call, or `restart`, is that of `count` of them."""
    now = time.monotonic()
    self.times += [(now - self.begun) / max(1, count)] * count
    self.waited += self.waiting_now
    self.begun, self.waiting_now, self.done = now, 0.0, number

  def restart(self):
    """What was done since the last step is no part of the next one."""
    self.begun, self.waiting_now = time.monotonic(), 0.0

  def values(self):
    """{"step_ms", "step_ms_p95", "data_wait", "memory_gb", "mfu"} of the steps since the last call, as far as known.

    data_wait: share of the time in which the loop waited for the input, and the devices, at the end, for the loop.
    """
    times, waited = self.times, self.waited
    self._start()
    if not times:
      return {}
    median, share = statistics.median(times), waited / max(sum(times), 1e-9)
    out = {"step_ms": 1e3 * median, "step_ms_p95": 1e3 * float(np.percentile(times, 95)), "data_wait": share}
    stats = self.device.memory_stats() if self.device is not None else None
    if stats and "peak_bytes_in_use" in stats:
      out["memory_gb"] = stats["peak_bytes_in_use"] / 1e9
    if self.chip and self.flops:
      out["mfu"] = self.flops / (sum(times) / len(times)) / self.chip.flops
    if share > 0.3 and len(times) >= 10 and not self.warned:
      self.warned = True
      log.say(f"{100 * share:.0f} % of the last {len(times)} steps' time went into waiting {WAITS['input']}")
    return out

  def _watch(self):
    usual = 0.0
    while not self.ended.wait(self.EVERY):
      usual = statistics.median(self.times) if len(self.times) > 2 else usual
      now, limit = self.now, max(STALL, SLOW * usual)
      if now and time.monotonic() - now[1] > max(limit, 2 * (self.told or 0)):
        self.told = time.monotonic() - now[1]
        log.say(f"no step has ended for {self.told:.0f} s after step {self.done}"
                + (f" (one takes {usual:.2g} s)" if usual else "") + f": the run waits {WAITS[now[0]]}")

  def close(self):
    self.ended.set()
    self.thread.join()


def check_finite(pending, checkpoints):
  """Looks at steps [(step, loss, gradients' norm, parameters' norm)]; Diverged names the first that is not finite.

  checkpoints: the steps of those that there are.
  """
  for n, *values in jax.device_get(pending):
    if not np.all(np.isfinite(values)):
      kept = max(checkpoints, default=None)
      raise errors.Diverged(
          f"at step {n} the loss is {values[0]:g}, the gradient norm {values[1]:g}, the parameters' {values[2]:g}; "
          + (f"the checkpoint of step {kept} is kept. " if kept is not None else "no checkpoint was written yet. ")
          + "A lower optim.lr, optim.clip=1, a longer optim.warmup or a look at the data may help")


class Alarm:
  """Says once, in words, when the records of a run tell that its features have collapsed, and when they recover.

  name: of the run among several, "" for a lone one.
  """

  def __init__(self, method, name=""):
    self.method, self.first, self.low, self.high, self.told = method, {}, {}, {}, False
    self.lead = f"{name}: " if name else ""

  def __call__(self, record):
    """Looks at one record {"step", ...}; the words it said, or None."""
    for key, limit in (("z_std", COLLAPSED_STD), ("h_std", COLLAPSED_STD), ("feature_std", COLLAPSED_STD),
                       ("rankme", COLLAPSED_RANK)):
      value = record.get(key)
      if value is None:
        continue
      self.first.setdefault(key, (record["step"], value))
      below = self.low.setdefault(key, [])
      below[:] = [*below, record["step"]] if value < limit else []
      self.high[key] = 0 if below else self.high.get(key, 0) + 1
      patient = PATIENCE if self.first[key][1] >= limit else 3 * PATIENCE       # some start near nothing, and spread
      if len(below) >= patient and not self.told:
        self.told = True
        return self._say(key, value, below[0])
    if self.told and min(self.high.values()) >= PATIENCE:
      self.told = False
      log.say(f"{self.lead}step {record['step']}: the features have spread again")
    return None

  def _say(self, key, value, since):
    name = {"rankme": "effective rank"}.get(key, "spread")
    cause = next((c for names, c in CAUSES.items() if self.method.rpartition(".")[2] in names),
                 "a learning rate that is too high, or a loss that a constant output satisfies")
    begun, was = self.first[key]
    text = (f"collapse: the {name} of the features ({key}) has been near nothing since step {since}: {value:.3g}, and "
            f"{was:.3g} at step {begun}; all examples look alike to the encoder. With {self.method} this usually comes "
            f"from {cause}")
    log.say(self.lead + text)
    return text


class Profile:
  """A trace of `steps` steps, the first few of a start left out, for xprof; in `folder`, one for each process."""
  LEAD = 5

  def __init__(self, folder, steps, start, every=1):
    up = lambda n: -(-n // every) * every                    # it is called after so many steps each time
    self.folder, self.first, self.on = str(folder), start + up(self.LEAD), False
    self.last = self.first + up(steps)

  def __call__(self, done):
    """To be called after each step."""
    if self.first < self.last and done == self.first:
      jax.profiler.start_trace(self.folder)
      self.on = True
    elif self.on and done == self.last:
      self.close()
      log.say(f"a profile of steps {self.first + 1} to {self.last} is in {self.folder}: pip install xprof, then xprof "
              f"--logdir {self.folder}")

  def close(self):
    if self.on:
      self.on = False
      jax.profiler.stop_trace()
