"""Two processes of two devices each: the same numbers as one, stopped together, continued by one alone."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from runs import leaves, numbers, tiny

from sslx import checkpoint, data, errors, evaluate, processes, train

HERE = pathlib.Path(__file__).parent
BOTH = """
import pathlib, signal, sys
import jax, numpy as np
sys.path.insert(0, {here!r})
from runs import tiny
from sslx import arguments, checkpoint, cli, data, errors, evaluate, processes, train
flags = ["--coordinator", {address!r}, "--processes", "2", "--process", sys.argv[1]]
cli.join(arguments.parser().parse_args(["pretrain", *flags]))
out = pathlib.Path({out!r})

try:
  processes.by_first(lambda: 1 / 0)
except (ZeroDivisionError, errors.RunError) as e:
  assert isinstance(e, ZeroDivisionError) == processes.first()
def stop(record):
  if record["step"] == 6 and not processes.first():
    signal.raise_signal(signal.SIGTERM)
try:
  train.train(tiny(mesh__data=-1, mesh__fsdp=2, mesh__least=1, evaluate__every=6), out / "run", log=stop)
except errors.Stopped as e:
  (out / f"stopped{{jax.process_index()}}").write_text(str(e))
try:
  train.train(tiny(batch_size=34, mesh__data=-1), out / "other")
except errors.UsageError as e:
  (out / f"refused{{jax.process_index()}}").write_text(str(e))
x = data.arrays(data.load("digits", split="test"))[0][:51]
np.save(out / f"z{{jax.process_index()}}", evaluate.embed(checkpoint.load_encoder(out / "run"), x, batch_size=16))
"""

pytestmark = pytest.mark.slow                              # three processes


@pytest.fixture(scope="module")
def both(tmp_path_factory):
  """The folder of what two processes did, and the run that one process makes of the same config."""
  out = tmp_path_factory.mktemp("both")
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{s.getsockname()[1]}"
  code = BOTH.format(here=str(HERE), address=address, out=str(out))
  env = os.environ | {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu",
                      "XLA_FLAGS": os.environ["XLA_FLAGS"].replace("count=8", "count=2")}
  two = [subprocess.Popen([sys.executable, "-c", code, str(i)], env=env, stderr=subprocess.PIPE, text=True)
         for i in range(2)]
  said = [p.communicate(timeout=300)[1] for p in two]
  assert [p.returncode for p in two] == [0, 0], "\n".join(said)
  with jax.enable_x64(True):
    train.train(tiny(evaluate__every=6), out / "alone")
  return out


def test_a_signal_to_one_stops_both_at_the_same_step_and_one_alone_goes_on(both):
  first, second = ((both / f"stopped{i}").read_text() for i in range(2))
  assert "a signal to another process at step 8 of 12" in first
  assert "SIGTERM at step 8 of 12" in second
  assert checkpoint.Checkpoints(both / "run", create=False).steps()[-1] == 8
  with jax.enable_x64(True):
    train.train(tiny(evaluate__every=6), both / "run")          # on one device, the state in one piece
  for a, b in zip(numbers(both / "alone"), numbers(both / "run"), strict=True):
    assert a.keys() == b.keys() and "loss" in a
    np.testing.assert_allclose(list(b.values()), list(a.values()), rtol=1e-7)
  for a, b in zip(leaves(both / "alone"), leaves(both / "run"), strict=True):
    np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-10)


def test_every_process_has_all_features(both):
  one, two = (np.load(both / f"z{i}.npy") for i in range(2))
  assert np.array_equal(one, two)
  x = data.arrays(data.load("digits", split="test"))[0][:51]
  np.testing.assert_allclose(one, evaluate.embed(checkpoint.load_encoder(both / "run", step=8), x), atol=1e-5)


def test_wrong_use_is_refused_by_all(both):
  for i in range(2):
    assert "batch_size 34 does not divide over" in (both / f"refused{i}").read_text()
  with pytest.raises(errors.UsageError, match="come together"):
    processes.join("127.0.0.1:1", 2)
  with pytest.raises(errors.UsageError, match="give 0 to 1"):
    processes.join("127.0.0.1:1", 2, 2)
