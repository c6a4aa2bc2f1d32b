"""What a run survives: each kind of trouble made on purpose, what the run says, and what it ends with.

  python experiments/drills.py --runs runs/drills             # ten minutes; full and read-only disks need root (mount)
  python experiments/drills.py --runs runs/drills --names "full disk"

SimCLR on digits, 300 steps, a checkpoint every 20. After each drill the same command runs again, and its last
checkpoint is held against an undisturbed run's, byte for byte. Figures go to experiments/results/drills*.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
STEPS = 300


def command(workdir, *more):
  return [sys.executable, "-m", "sslx", "pretrain", "--config", f"{HERE.parent}/configs/simclr.py:tiny", "--workdir",
          str(workdir), f"--config.total_steps={STEPS}", "--config.checkpoint.every=20", "--config.log.every=10", *more]


def start(workdir, *more, env=None):
  return subprocess.Popen(command(workdir, *more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=os.environ | (env or {}))


def ended(p, limit=180):
  """(exit code, the last line that it said)."""
  try:
    said = p.communicate(timeout=limit)[1]
  except subprocess.TimeoutExpired:
    p.kill()
    return "hangs", p.communicate()[1][-300:]
  lines = [line for line in said.splitlines() if "sslx:" in line or "cannot be read" in line] or said.splitlines()[-1:]
  return p.returncode, " ".join(lines)[-400:]


def reached(workdir, step, p):
  """Waits for a whole checkpoint of `step`."""
  while not (workdir / "checkpoints" / str(step)).exists():
    if p.poll() is not None:
      raise SystemExit(f"the run ended early: {p.communicate()[1][-2000:]}")
    time.sleep(0.01)


def signalled(number, step=100):
  def drill(workdir):
    p = start(workdir)
    if step:
      reached(workdir, step, p)
    else:
      time.sleep(2)                                          # it imports, or reads data
    p.send_signal(number)
    return ended(p)
  return drill


def in_save(workdir):
  p = start(workdir)
  reached(workdir, 60, p)
  while not any("tmp" in f.name for f in workdir.glob("checkpoints/*")):
    time.sleep(0.0005)
  p.kill()
  return ended(p)


def damaged(how):
  def drill(workdir):
    p = start(workdir)
    reached(workdir, 100, p)
    p.send_signal(signal.SIGKILL)
    p.wait()
    newest = max(int(f.name) for f in workdir.glob("checkpoints/*") if f.name.isdigit())
    files = sorted((f for f in (workdir / "checkpoints" / str(newest) / "default").rglob("*") if f.is_file()),
                   key=lambda f: f.stat().st_size)
    if how == "truncated":
      os.truncate(files[-1], files[-1].stat().st_size // 2)
    else:
      files[-1].unlink()
    p = start(workdir)
    return ended(p)
  return drill


@contextlib.contextmanager
def mounted(folder, options):
  """A small disk at `folder`."""
  folder.mkdir(parents=True, exist_ok=True)
  subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
  try:
    yield
  finally:
    subprocess.run(["umount", str(folder)], check=True)


def full_disk(workdir):
  """A disk of 1 MB; what is on it is then copied to one with room."""
  small = workdir.parent / "small_disk"
  with mounted(small, "size=1m"):
    found = ended(start(small / "run"))
    shutil.copytree(small / "run", workdir)
  return found


def read_only(workdir):
  disk = workdir.parent / "read_only_disk"
  with mounted(disk, "ro,size=3m"):
    return ended(start(disk / "run"))


def two_runs(workdir):
  p = start(workdir)
  reached(workdir, 60, p)
  p.send_signal(signal.SIGSTOP)                              # it would be done before the other one begins
  found = ended(start(workdir))
  p.send_signal(signal.SIGCONT)
  p.wait()
  return found


def worker_dies(workdir):
  """Of a folder of images, read by two processes; this run is another one than the rest."""
  import numpy as np
  from PIL import Image
  folder = workdir.parent / "images"
  for split in ("train", "test"):
    for name in "ab":
      (folder / split / name).mkdir(parents=True, exist_ok=True)
      for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
  more = (f"--config.data.name=folder:{folder}", "--config.data.workers=2", "--config.batch_size=32",
          "--config.encoder.mean=(0.5,0.5,0.5)", "--config.encoder.std=(0.3,0.3,0.3)", "--config.data.size=8")
  p = start(workdir, *more)
  reached(workdir, 60, p)
  kids = subprocess.run(["pgrep", "-f", "-P", str(p.pid), "spawn_main"], capture_output=True, text=True).stdout.split()
  os.kill(int(kids[-1]), signal.SIGKILL)
  found = ended(p)
  p = start(workdir, *more)
  if ended(p)[0] != 0:
    raise SystemExit("the run did not go on after its reader had died")
  shutil.rmtree(workdir)
  return found


def nan(workdir):
  """Images of floats, one of which is not a number: from Python, as no image file can hold that."""
  code = ("import numpy as np; from sslx import config, data, errors, train; import runs\n"
          "x = [dict(r, image=r['image'].astype('f4') / 255) for r in data.load('digits')]\n"
          "x[700]['image'] = np.full_like(x[700]['image'], np.nan)\n"
          f"try: train.train(runs.tiny(total_steps=60), {str(workdir)!r}, data=x)\n"
          "except errors.RunError as e: print('sslx:', e); raise SystemExit(1)")
  p = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                     env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent / "tests"), str(HERE.parent)])})
  shutil.rmtree(workdir, ignore_errors=True)
  return p.returncode, p.stdout.strip()[-300:] or p.stderr[-300:]


def clock(workdir):
  """The wall clock goes back by a year in the middle: a module that Python loads at its start sees to it."""
  patch = workdir.parent / "clock"
  patch.mkdir(parents=True, exist_ok=True)
  (patch / "sitecustomize.py").write_text("import os, time\nold = time.time\n"
                                          f"flag = {str(workdir / 'checkpoints' / '60')!r}\n"
                                          "time.time = lambda: old() - 3e7 * os.path.exists(flag)\n")
  path = os.pathsep.join(filter(None, [str(patch), os.environ.get("PYTHONPATH", "")]))
  p = start(workdir, env={"PYTHONPATH": path})
  reached(workdir, 100, p)
  p.send_signal(signal.SIGTERM)
  return ended(p)


def lost_process(workdir):
  """One of two processes is killed; what the other one does is told, and then one process alone goes on."""
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{s.getsockname()[1]}"
  both = [start(workdir, "--coordinator", address, "--processes", "2", "--process", str(i),
                env={"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}) for i in range(2)]
  reached(workdir, 60, both[0])
  both[1].kill()
  begun = time.monotonic()
  code, said = ended(both[0])
  shutil.rmtree(workdir)                                     # in float32 two devices are not one bit for bit
  word = "the distributed service detected fatal errors" if "distributed service" in said else said
  return code, f"after {time.monotonic() - begun:.0f} s: {word}"


DRILLS = {
    "SIGTERM": signalled(signal.SIGTERM), "SIGINT": signalled(signal.SIGINT),
    "SIGKILL in the loop": signalled(signal.SIGKILL), "SIGKILL at the start": signalled(signal.SIGKILL, 0),
    "SIGKILL in a save": in_save, "truncated checkpoint": damaged("truncated"),
    "missing checkpoint file": damaged("missing"), "full disk": full_disk, "read-only workdir": read_only,
    "two runs in one workdir": two_runs, "a reading process dies": worker_dies, "NaN in the data": nan,
    "the clock jumps": clock, "one of two processes lost": lost_process}


def content(workdir):
  """{array: bytes} of the run's last checkpoint."""
  import jax
  import numpy as np

  from sslx import checkpoint
  saved = checkpoint.Checkpoints(workdir, create=False)
  tree = saved.restore_plain(STEPS)[1]
  saved.close()
  return {jax.tree_util.keystr(k): np.asarray(v).tobytes() for k, v in jax.tree_util.tree_leaves_with_path(tree)}


def table(rows):
  """The results as Markdown."""
  out = ["# What a run survives", "",
         "`python experiments/drills.py`: SimCLR on scikit-learn's digits, 300 steps, a checkpoint every 20, each",
         "trouble made on purpose. *After*: the same command again, to the end, its last checkpoint beside an",
         "undisturbed run's. Exit codes: 1 a failure, 2 wrong use, 3 stopped with all saved; of a signal its number,",
         "negative.", "",
         "| trouble | exit code | what is said | after |", "|---|---|---|---|"]
  out += [f"| {r['name']} | {r['code']} | {r['said'].replace('|', '/')} | {r['after']} |" for r in rows]
  return "\n".join(out) + "\n"


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--runs", default="runs/drills")
  p.add_argument("--names", nargs="+", default=list(DRILLS), choices=DRILLS, metavar="NAME",
                 help=f"of {'; '.join(DRILLS)}")
  args = p.parse_args()
  runs, out = pathlib.Path(args.runs).resolve(), HERE / "results" / "drills.json"
  straight = runs / "straight"
  if not (straight / "encoder").exists():
    subprocess.run(command(straight), check=True, stderr=subprocess.DEVNULL)
  want = content(straight)
  rows = {r["name"]: r for r in (json.loads(out.read_text()) if out.exists() else [])}
  for name in args.names:
    workdir = runs / name.replace(" ", "_")
    shutil.rmtree(workdir, ignore_errors=True)
    code, said = DRILLS[name](workdir)
    said = said.replace(str(runs), "DIR").replace("sslx: ", "")
    after = ""
    if workdir.exists() or name in ("SIGKILL at the start", "read-only workdir"):
      again = ended(start(workdir))
      after = "the same bytes" if again[0] == 0 and content(workdir) == want else f"differs: {again}"
    elif name == "a reading process dies":
      after = "the same command went on to the end"
    rows[name] = {"name": name, "code": code, "said": said, "after": after}
    print(rows[name], flush=True)
    ordered = [rows[n] for n in DRILLS if n in rows]
    out.write_text(json.dumps(ordered, indent=2) + "\n")
    (HERE / "results" / "drills.md").write_text(table(ordered))


if __name__ == "__main__":
  main()
