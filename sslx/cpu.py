"""What CPUs want of the process before JAX starts: memory that is kept from step to step, and a device a core."""

import glob
import os
import subprocess
import sys
import sysconfig

ACCELERATORS = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/accel*", "/dev/vfio/[0-9]*")
KEPT = {"hugetlb": "1", "arena_max": "1", "mmap_max": "0", "trim_threshold": "100000000000"}     # of glibc
JEMALLOC, RETAINED = "libjemalloc.so.2", "thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1"        # of jemalloc
ONCE = "SSLX_STARTED_AGAIN"
DEVICES, MOST = "--xla_force_host_platform_device_count", 8


def jemalloc():
  """The path of the jemalloc of this environment or system, "" if there is none that programs start with."""
  places = (f"{sys.prefix}/lib", f"{sys.base_prefix}/lib", "/usr/local/lib",
            f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}", "/usr/lib64", "/usr/lib")
  return next((path for place in places if os.path.exists(path := f"{place}/{JEMALLOC}") and starts(path)), "")


def starts(library):
  """Whether a program starts with it, in silence: it may be of another architecture, or for pages of another size."""
  try:
    done = subprocess.run(["true"], env={**os.environ, "LD_PRELOAD": library, "MALLOC_CONF": RETAINED}, check=False,
                          capture_output=True)
  except OSError:                                            # an image without so much as `true`
    return False
  return done.returncode == 0 and not done.stderr


def wanted(environ, cores, library=""):
  """What to add to `environ`, {} if nothing: memory kept, in large pages; a simulated device a core, at most 8.

  A step's large arrays are mapped afresh each time otherwise, which costs a third of it, and one device leaves cores
  idle. What the user has set of either stays.

  library: path of the jemalloc to allocate with. Without one glibc keeps memory in a single arena, for whose lock the
    threads of a step wait.
  """
  new = {}
  tunables, preloaded = (environ.get(name, "") for name in ("GLIBC_TUNABLES", "LD_PRELOAD"))
  if "glibc.malloc" not in tunables and "malloc" not in preloaded:
    if library:
      new["LD_PRELOAD"] = f"{preloaded} {library}".strip()
    else:
      new["GLIBC_TUNABLES"] = ":".join(filter(None, [tunables, *(f"glibc.malloc.{k}={v}" for k, v in KEPT.items())]))
  if "jemalloc" in new.get("LD_PRELOAD", preloaded) and "MALLOC_CONF" not in environ:
    new["MALLOC_CONF"] = RETAINED
  if DEVICES not in environ.get("XLA_FLAGS", "") and "JAX_NUM_CPU_DEVICES" not in environ:
    new["XLA_FLAGS"] = f"{environ.get('XLA_FLAGS', '')} {DEVICES}={min(cores, MOST)}".strip()
  return new


def restart(argv, *, alone=True):
  """Starts this command again with what CPUs want, if it has not got it and no accelerator is here; or returns.

  alone: whether it is the only process of the run, whose devices are its own choice.
  """
  if not sys.platform.startswith("linux") or "jax" in sys.modules or "--help" in argv or "-h" in argv:
    return
  if os.environ.pop(ONCE, None):                             # even where something has cleaned the rest away
    return
  if os.environ.get("JAX_PLATFORMS") != "cpu" and any(map(glob.glob, ACCELERATORS)):
    return
  new = wanted(os.environ, len(os.sched_getaffinity(0)), jemalloc())
  if not alone:
    new.pop("XLA_FLAGS", None)
  if new:
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | new | {ONCE: "1"})
