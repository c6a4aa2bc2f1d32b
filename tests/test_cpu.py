import os
import subprocess
import sys

import pytest

from sslx import cpu


def test_what_the_user_has_set_stays():
  new = cpu.wanted({}, 4)
  assert new["XLA_FLAGS"] == "--xla_force_host_platform_device_count=4" and "mmap_max=0" in new["GLIBC_TUNABLES"]
  assert cpu.wanted(new, 4) == {}                            # a restarted process does not restart again
  assert cpu.wanted({}, 96)["XLA_FLAGS"].endswith("=8")
  mine = {"XLA_FLAGS": "--xla_dump_to=x", "GLIBC_TUNABLES": "glibc.rtld.nns=2"}
  new = cpu.wanted(mine, 2)
  assert new["XLA_FLAGS"] == "--xla_dump_to=x --xla_force_host_platform_device_count=2"
  assert new["GLIBC_TUNABLES"].startswith("glibc.rtld.nns=2:glibc.malloc.hugetlb=1:")
  assert cpu.wanted({"GLIBC_TUNABLES": "glibc.malloc.check=1", "JAX_NUM_CPU_DEVICES": "1"}, 2) == {}


def test_jemalloc_is_taken_where_there_is_one(tmp_path, monkeypatch):
  library = tmp_path / "lib" / cpu.JEMALLOC
  library.parent.mkdir()
  library.touch()
  monkeypatch.setattr(sys, "prefix", str(tmp_path))
  assert cpu.jemalloc() != str(library) and not cpu.starts(str(library))               # an empty file is no library
  with monkeypatch.context() as m:
    m.setenv("PATH", str(tmp_path))
    assert not cpu.starts(str(library))                      # no `true` to try it with
  monkeypatch.setattr(cpu, "starts", lambda path: True)
  assert cpu.jemalloc() == str(library)
  new = cpu.wanted({"LD_PRELOAD": "mine.so"}, 2, str(library))
  assert new["LD_PRELOAD"] == f"mine.so {library}" and "dirty_decay_ms:-1" in new["MALLOC_CONF"]
  assert "GLIBC_TUNABLES" not in new and cpu.wanted(new, 2, str(library)) == {}
  for mine in ({"LD_PRELOAD": "libtcmalloc.so.4"}, {"GLIBC_TUNABLES": "glibc.malloc.check=1"}):
    assert set(cpu.wanted(mine, 2, str(library))) == {"XLA_FLAGS"}
  assert "MALLOC_CONF" not in cpu.wanted({"MALLOC_CONF": "narenas:1"}, 2, str(library))
  assert set(cpu.wanted({"LD_PRELOAD": "/opt/libjemalloc.so"}, 2)) == {"XLA_FLAGS", "MALLOC_CONF"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="restarts on Linux alone")
def test_a_command_starts_again_by_itself(tmp_path):
  code = ("import os, sys; sys.path.insert(0, sys.argv.pop(1)); from sslx import cpu\n"
          "cpu.restart(sys.argv, alone='alone' in sys.argv)\n"
          "memory = {os.environ.get(name) for name in ('GLIBC_TUNABLES', 'MALLOC_CONF')} - {None}\n"
          "print(*memory or [None], os.environ.get('XLA_FLAGS'), *sys.argv[1:])")
  script = tmp_path / "script.py"
  script.write_text(code)
  ours = ("XLA_FLAGS", "GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_CONF")
  env = {k: v for k, v in os.environ.items() if k not in ours} | {"JAX_PLATFORMS": "cpu"}
  run = lambda *argv: subprocess.run([sys.executable, str(script), os.getcwd(), *argv], env=env, text=True, check=True,
                                     stdout=subprocess.PIPE).stdout.split()
  memory, flags, *argv = run("alone", "a b")
  kept = cpu.RETAINED if cpu.jemalloc() else "hugetlb=1"
  assert kept in memory and flags.startswith("--xla_force") and argv == ["alone", "a", "b"]
  memory, flags, _ = run("several")
  assert kept in memory and flags == "None"         # of several processes each has the devices it was given
  assert run("alone", "--help")[:2] == ["None", "None"]
