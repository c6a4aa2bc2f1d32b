"""Contenders that take turns: processes that do a share of the same work for every line of their input.

A contender answers in lines of JSON: first what it is, then, for each line that it reads, what a turn took. Whatever
else it prints is passed over. All stay alive from turn to turn, so that nobody's compilation, imports or caches are
counted; those who wait do nothing. Ratios are those of two turns of one round, their spread that of the rounds: other
work on the machine comes and goes between rounds more than within one. This file needs the standard library alone: the
peers in experiments/peers import it in an environment of their own.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
CORES = len(os.sched_getaffinity(0))
MEMORY = ("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_CONF")
WARM = 2                                                     # turns that do not count: memory still grows in the first


def asked(**facts):
  """The side of a contender: says `facts`; then, for every line of the input, a dict to fill while the turn is taken.

  "work" is how much was done, in a unit that all contenders share; "seconds" only if a turn times itself.
  """
  print(json.dumps({"facts": facts}), flush=True)
  for _ in sys.stdin:
    clock, cores, found = time.perf_counter(), time.process_time(), {}
    yield found
    took = {"seconds": time.perf_counter() - clock, "core_seconds": time.process_time() - cores}
    print(json.dumps(took | {"peak_mb": peak()} | found), flush=True)


def serve(turn, **facts):
  """`asked`, where a turn is a function () -> {"work": ..., ...}."""
  for found in asked(**facts):
    found.update(turn())


def peak():
  """The most memory that this process has held, in megabytes; those that load data for it are not counted."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def compete(contenders, rounds):
  """{name: {"facts": {...}, "turns": [an answer a round]}}.

  contenders: {name: (command, what its environment has more than a clean one)}; the first turns of each warm up.
  """
  found, running = {}, {}
  try:
    for name, (command, environment) in contenders.items():
      running[name] = start(command, environment)
      found[name] = {"facts": answer(name, running[name])["facts"], "turns": []}
      tell(f"{name}: {json.dumps(found[name]['facts'])}")
    for n in range(1 - WARM, rounds + 1):
      for name, process in running.items():
        process.stdin.write("go\n")
        process.stdin.flush()
        got = answer(name, process)
        tell(f"{f'round {n}' if n > 0 else 'warming up'}, {name}: "
             + ", ".join(f"{k} {v:.6g}" for k, v in got.items()))
        if n > 0:
          found[name]["turns"].append(got)
  finally:
    for process in running.values():
      process.terminate()
      process.wait()
  return found


def clean():
  """This process's environment without what bears on devices and memory."""
  return {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", *MEMORY)}


def start(command, environment):
  """The process of a contender, in a clean environment but for `environment`; it can import this file."""
  path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
  return subprocess.Popen([str(c) for c in command], env=clean() | {"PYTHONPATH": path} | environment,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(name, process):
  """The next line of JSON from a contender; SystemExit where it has ended."""
  for line in process.stdout:
    if line.startswith("{"):
      return json.loads(line)
  raise SystemExit(f"{name} stopped; its message is above. The peers' environment: make bench-peers")


def environment(runs):
  """What a process is given more: as "pretrain" what `sslx pretrain` gives itself on a CPU, memory that is kept, by
  jemalloc where it is installed, and a simulated device a core; "kept": that memory alone; "": nothing."""
  from sslx import cpu
  new = cpu.wanted({}, CORES, cpu.jemalloc())
  return {k: v for k, v in new.items() if runs == "pretrain" or (runs == "kept" and k in MEMORY)}


def allocator():
  """What keeps the memory of `environment`."""
  from sslx import cpu
  return "jemalloc" if cpu.jemalloc() else "glibc"


def rows_asked(doc, rows, measure):
  """The rows that the command line asks for; where `by_itself` has started this process, measures its row and ends."""
  p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--rows", nargs="+", choices=rows, default=list(rows), metavar="ROW", help=", ".join(rows))
  p.add_argument("--one", choices=rows, help=argparse.SUPPRESS)
  args = p.parse_args()
  if args.one:
    print(json.dumps(measure(args.one)))
    raise SystemExit
  return args.rows


def by_itself(file, more, *words):
  """What `file --one WORDS` finds, in a process of its own, whose environment has `more`."""
  out = subprocess.run([sys.executable, file, "--one", *words], env=clean() | more, text=True,
                       stdout=subprocess.PIPE, check=True).stdout
  return json.loads(out.splitlines()[-1])


def rates(found):
  """Work a second of each turn of a contender."""
  return [t["work"] / t["seconds"] for t in found["turns"]]


def middle(values):
  """(median, least, most)."""
  return statistics.median(values), min(values), max(values)


def ratios(a, b):
  """a / b, a round at a time."""
  return [x / y for x, y in zip(a, b, strict=True)]


def versions(python, names):
  """"name version ..." of packages in the environment of an interpreter; SystemExit where there is none."""
  if not pathlib.Path(python).exists():
    raise SystemExit(f"no Python at {python}: make bench-peers")
  ask = ("import importlib.metadata as m, sys\nfor n in sys.argv[1:]:\n  try: print(n, m.version(n))\n"
         "  except m.PackageNotFoundError: pass")
  out = subprocess.run([python, "-c", ask, *names], text=True, stdout=subprocess.PIPE, check=True).stdout
  return " ".join(out.split())


def tell(line):
  print(line, file=sys.stderr, flush=True)
