"""Sudden death, thirty times: does a run that was killed again and again end with the bytes of one that was not?

  python experiments/soak.py --runs runs/soak             # ten minutes; --kills 30 --saves 12 --seed 0

SimCLR on digits, a checkpoint every 10 steps. Each start of the same command is ended at a random moment by SIGKILL,
SIGTERM or SIGINT, some by SIGKILL in the middle of a save: when Orbax's temporary folder is seen. Figures go to
experiments/results/soak*.
"""

import argparse
import json
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
STEPS, EVERY = 1500, 10
ALLOWED = re.compile(r"config\.json|environment\.json|metrics\.jsonl|events\.out.*|\.lock|checkpoints|encoder")


def command(workdir):
  return [sys.executable, "-m", "sslx", "pretrain", "--config", f"{HERE.parent}/configs/simclr.py:tiny", "--workdir",
          str(workdir), f"--config.total_steps={STEPS}", f"--config.checkpoint.every={EVERY}", "--config.log.every=10"]


def step_of(workdir):
  """The newest checkpoint that is whole."""
  return max((int(p.name) for p in workdir.glob("checkpoints/*") if p.name.isdigit()), default=0)


def saving(workdir):
  """Whether a checkpoint is being written."""
  return any("tmp" in p.name for p in workdir.glob("checkpoints/*"))


def death(workdir, draw, in_save):
  """Starts the command and ends it: {"signal", "in_save", "from", "to": steps, "seconds", "code"}, or None if it had
  ended by itself."""
  begun, start = time.monotonic(), step_of(workdir)
  p = subprocess.Popen(command(workdir), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
  number = signal.SIGKILL if in_save else draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
  far = start + draw.choice((0, 10, 20, 30, 40, 50))         # 0: while it starts, or loads
  wait = draw.random() * (8 if far == start else 0.3)
  seen = False
  while p.poll() is None:
    if step_of(workdir) >= far:
      if in_save:
        seen = saving(workdir)
      else:
        time.sleep(wait)
      if seen or not in_save:
        p.send_signal(number)
        break
    time.sleep(0.0005)
  said = p.communicate()[1]
  if p.returncode == 0:
    return None
  if p.returncode not in (-9, -number, 3, 130):
    raise SystemExit(f"the run ended with {p.returncode}:\n{said[-2000:]}")
  return {"signal": number.name, "in_save": seen, "from": start, "to": step_of(workdir),
          "seconds": time.monotonic() - begun, "code": p.returncode}


def content(workdir):
  """{file: bytes} of the run's last state, as arrays in their order, and of what was logged."""
  import jax
  import numpy as np

  from sslx import checkpoint, log
  saved = checkpoint.Checkpoints(workdir, create=False)
  tree = saved.restore_plain(STEPS)[1]
  saved.close()
  state = {jax.tree_util.keystr(k): np.asarray(v).tobytes() for k, v in jax.tree_util.tree_leaves_with_path(tree)}
  numbers = [{k: v for k, v in r.items() if k not in log.CLOCK} for r in log.read(workdir / "metrics.jsonl")]
  return state, numbers


def left(workdir):
  """Files and folders that a run does not leave behind."""
  top = [str(p.name) for p in workdir.iterdir() if not ALLOWED.fullmatch(p.name)]
  return top + [str(p.relative_to(workdir)) for p in workdir.rglob("*") if "tmp" in p.name or ".part" in p.name]


def table(r):
  """The results as Markdown."""
  deaths = r["deaths"]
  kinds = {k: sum(d["signal"] == k and not d["in_save"] for d in deaths) for k in ("SIGKILL", "SIGTERM", "SIGINT")}
  return "\n".join([
      "# Sudden death, again and again", "",
      f"`python experiments/soak.py`: SimCLR on scikit-learn's digits, {STEPS} steps, a checkpoint every {EVERY}; the",
      "same command started again after each end.", "",
      "| | |", "|---|---|",
      f"| ends | {len(deaths)}: {', '.join(f'{v} by {k}' for k, v in kinds.items())} at a random moment, "
      f"{sum(d['in_save'] for d in deaths)} by SIGKILL in the middle of a save |",
      f"| of these before the first step | {sum(d['from'] == d['to'] == 0 for d in deaths)} |",
      f"| arrays of the last checkpoint (parameters, state, optimizer, step) | {r['arrays']}, of which "
      f"{r['equal']} have the bytes of the undisturbed run's |",
      f"| records of metrics.jsonl, but for the clock's | {'the same' if r['same_log'] else 'differ'} |",
      f"| temporary or half-written files left | {', '.join(r['left']) or 'none'} |",
      f"| a start, seconds until it died (median) | {sorted(d['seconds'] for d in deaths)[len(deaths) // 2]:.0f} |",
      ""])


def main():
  p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  p.add_argument("--runs", default="runs/soak")
  p.add_argument("--kills", type=int, default=30)
  p.add_argument("--saves", type=int, default=12, help="of these in the middle of a save")
  p.add_argument("--seed", type=int, default=0)
  args = p.parse_args()
  runs, draw = pathlib.Path(args.runs), random.Random(args.seed)
  straight, killed = runs / "straight", runs / "killed"
  for folder in (straight, killed):
    shutil.rmtree(folder, ignore_errors=True)
  subprocess.run(command(straight), check=True, stderr=subprocess.DEVNULL)
  plan = [True] * args.saves + [False] * (args.kills - args.saves)
  draw.shuffle(plan)
  deaths = []
  for in_save in plan:
    if (found := death(killed, draw, in_save)) is None:
      break
    deaths.append(found)
    print(len(deaths), found, flush=True)
  subprocess.run(command(killed), check=True, stderr=subprocess.DEVNULL)
  (one, log1), (other, log2) = content(straight), content(killed)
  result = {"deaths": deaths, "arrays": len(one), "equal": sum(one[k] == other.get(k) for k in one),
            "same_log": log1 == log2, "left": left(killed)}
  (HERE / "results" / "soak.json").write_text(json.dumps(result, indent=2) + "\n")
  (HERE / "results" / "soak.md").write_text(table(result))
  print(table(result))
  if len(deaths) < args.kills or result["equal"] != result["arrays"] or not result["same_log"] or result["left"]:
    raise SystemExit("the run that was killed differs, or ended early")


if __name__ == "__main__":
  main()
