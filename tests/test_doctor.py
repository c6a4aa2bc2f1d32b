"""What `sslx doctor` finds on a sound machine, and that it sees what is not."""

import jax.numpy as jnp
import pytest

from sslx import cli, doctor
from sslx.encoders import attention


def test_layers_are_right_and_a_wrong_one_is_seen(monkeypatch):
  assert [right for _, _, right, _ in doctor.layers()] == [True, True, True]
  monkeypatch.setattr(attention, "attend", lambda q, k, v: jnp.roll(v, 1, 1))
  assert [right for _, _, right, _ in doctor.layers()] == [False, True, True]


@pytest.mark.slow
def test_one_step_on_all_devices():
  (what, found, right, advice), = doctor.devices()
  assert "on 1 and on all" in what and "the same bit for bit" in found and right and not advice


def test_disk(tmp_path):
  assert [right for _, _, right, _ in doctor.disk(tmp_path)][0]
  assert list(tmp_path.iterdir()) == []
  (_, found, right, _), = doctor.disk(tmp_path / "none")
  assert right is False and "No such file" in found


def test_a_check_that_fails_is_told(monkeypatch, capsys):
  def broken():
    raise RuntimeError("no device")
  for name in ("software", "rates", "layers", "devices", "disk"):
    monkeypatch.setattr(doctor, name, lambda *_: iter(()))
  monkeypatch.setattr(doctor, "machine", broken)
  assert cli.main(["doctor"]) == 1
  out = capsys.readouterr()
  assert "no device" in out.out and "see what to do" in out.err


@pytest.mark.parametrize("rate, right", [(0.5, None), (0.1, False)])
def test_rates_beside_the_published_peak(monkeypatch, rate, right):
  monkeypatch.setattr(doctor, "SIDE", 8)
  monkeypatch.setattr(doctor, "WORDS", 64)
  monkeypatch.setattr(doctor.cost, "chip_of", lambda device: doctor.cost.CHIPS["v5e"])
  monkeypatch.setattr(doctor, "timed", lambda f, *args: 2 * 8**3 / (rate * 197e12))
  assert [r for what, _, r, _ in doctor.rates() if what == "products, bfloat16"] == [right]
