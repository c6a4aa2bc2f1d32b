"""What is said of a run's speed, of a stall while it lasts, of features that collapse; and a profile."""

import time

import jax
import numpy as np
import pytest
from runs import tiny

from sslx import cost, log, methods, train, watching


@pytest.fixture
def said(monkeypatch):
  lines = []
  monkeypatch.setattr(log, "say", lines.append)
  return lines


def test_pace(monkeypatch, said):
  clock = [0.0]
  monkeypatch.setattr(time, "monotonic", lambda: clock[0])

  class Device:
    device_kind = "TPU v5 lite"
    memory_stats = staticmethod(lambda: {"peak_bytes_in_use": 3e9})
  pace = watching.Pace(flops=197e12 * 0.5, device=Device)
  assert pace.values() == {}
  for n in range(20):
    if n == 5:
      clock[0] += 100                                        # an evaluation
      pace.restart()
    with pace.waiting("input"):
      clock[0] += 0.4
    with pace.waiting("input", idle=lambda: False):          # the devices are busy meanwhile
      pass
    with pace.waiting("compute"):
      clock[0] += 0.6
    pace.step(n + 1)
  found = pace.values()
  pace.close()
  np.testing.assert_allclose([found[k] for k in ("step_ms", "step_ms_p95", "data_wait", "memory_gb", "mfu")],
                             [1000, 1000, 0.4, 3.0, 0.5])
  assert len(said) == 1 and "40 % of the last 20 steps' time went into waiting for the input" in said[0]


@pytest.mark.parametrize("what, words", [("input", "data.workers"), ("compute", "another process")])
def test_a_stall_is_named_while_it_lasts(monkeypatch, said, what, words):
  monkeypatch.setattr(watching, "STALL", 0.02)
  monkeypatch.setattr(watching.Pace, "EVERY", 0.005)
  pace = watching.Pace()
  pace.step(7)
  with pace.waiting(what):
    for _ in range(1000):
      if said:
        break
      time.sleep(0.01)
  pace.close()
  assert "no step has ended for 0 s after step 7" in said[0] and words in said[0]


def test_a_collapse_is_told_once_with_its_cause_and_so_is_recovery(said):
  alarm = watching.Alarm("byol")
  for step, std in ((10, 0.8), (20, 0.04), (30, 0.6), (40, 0.03), (50, 0.02), (60, 0.01), (70, 0.01), (80, 0.5),
                    (90, 0.01), (100, 0.5), (110, 0.5), (120, 0.5), (130, 0.5)):   # once is neither
    alarm({"step": step, "z_std": std, "loss": 1.0})
  assert len(said) == 2
  assert "near nothing since step 40: 0.01, and 0.8 at step 10" in said[0] and "method.momentum too low" in said[0]
  assert said[1] == "step 120: the features have spread again"
  other = watching.Alarm("mine.own")
  assert "a constant output" in [other({"step": step, "rankme": 1.2}) for step in range(9)][-1]
  slow = watching.Alarm("mine.own")                          # near nothing at first, as some are
  assert not any(slow({"step": step, "z_std": 0.01 * step}) for step in range(20))


def test_causes_are_of_methods_that_there_are():
  assert {name for names in watching.CAUSES for name in names} <= set(methods.names())


def test_a_run_that_collapses_says_so_and_is_profiled(said, tmp_path):
  c = tiny(log__every=1, checkpoint__every=0)
  c.method.temperature = 1e6                                 # nothing repels
  c.optim.lr, c.optim.weight_decay = 3.0, 0.3
  train.train(c, tmp_path, profile=2)
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))
  assert any("a profile of steps 6 to 7" in line for line in said)
  assert all(r["step_ms"] > 0 for r in log.read(tmp_path / "metrics.jsonl"))


def test_flops():
  dense = lambda w, x: ((x @ w) ** 2).sum()
  w, x = np.ones((8, 16), np.float32), np.ones((4, 8), np.float32)
  assert cost.flops(jax.make_jaxpr(dense)(w, x)) == 2 * 4 * 8 * 16
  assert cost.flops(jax.make_jaxpr(jax.grad(dense))(w, x)) == 2 * 2 * 4 * 8 * 16
  loop = lambda w, x: jax.lax.scan(lambda c, _: (c + dense(w, x), None), 0.0, None, length=5)[0]
  assert cost.flops(jax.make_jaxpr(loop)(w, x)) == 5 * 2 * 4 * 8 * 16
  assert cost.flops(jax.make_jaxpr(loop)(w, x), once=True) == 2 * 4 * 8 * 16
  either = lambda w, x: jax.lax.cond(x[0, 0] > 0, dense, lambda w, x: 0.0, w, x)
  assert cost.flops(jax.make_jaxpr(jax.jit(either))(w, x)) == 2 * 4 * 8 * 16

  def conv(kernel, x, stride=2):
    y = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return (y**2).sum()
  kernel, image = np.ones((3, 3, 4, 6), np.float32), np.ones((2, 8, 8, 4), np.float32)
  one = 2 * 2 * 4 * 4 * 6 * 9 * 4
  assert cost.flops(jax.make_jaxpr(conv)(kernel, image)) == one
  both = jax.make_jaxpr(jax.grad(conv, argnums=(0, 1)))(kernel, image)
  assert cost.flops(both) == 3 * one                         # what dilation fills with zeros costs nothing
