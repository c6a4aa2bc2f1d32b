"""The commands about devices, those that are here and those that are not: `sslx doctor`, `sslx plan`."""

import os
import re

from sslx import errors


def plan(args):
  """sslx plan"""
  from rich.table import Table
  found = dict(re.findall(r"(data|fsdp)=(\d+)", args.mesh))
  whole = ",".join(f"{k}={v}" for k, v in found.items()) == args.mesh.replace(" ", "")
  if not whole or "data" not in found or "0" in found.values():
    raise errors.UsageError(f"--mesh takes data=N or data=N,fsdp=M, not {args.mesh}")
  if args.shape and not re.fullmatch(r"\d+x\d+x\d+", args.shape):
    raise errors.UsageError(f"--shape takes HxWxC, such as 256x256x3, not {args.shape}")
  count = int(found["data"]) * int(found.get("fsdp", 1))
  os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
  os.environ["JAX_PLATFORMS"] = "cpu"                        # nothing runs on what is here
  from sslx import checkpoint, config as configs, log, plan as plans
  config = configs.override(configs.load(args.config), [
      *args.overrides, *(f"--config.mesh.{k}={v}" for k, v in found.items())])
  shape = tuple(map(int, args.shape.split("x"))) if args.shape else None
  result = plans.plan(config, args.chip, shape=shape)
  table = Table("each device", "", "", title=f"{args.config} on {count} {args.chip}, {result['mesh']}, batch "
                f"{result['batch']}, {result['precision']}")
  for row in plans.rows(result):
    table.add_row(*row)
  log.Console().print(table)
  if args.out:
    checkpoint.write_json(args.out, result)


def doctor(args):
  """sslx doctor"""
  from rich.table import Table

  from sslx import doctor as doctors, log
  table, wrong = Table(), False
  for title in ("", "", "found", "what to do"):
    table.add_column(title, overflow="fold")
  for what, found, right, advice in doctors.examine(args.workdir):
    table.add_row({True: "ok", False: "!", None: ""}[right], what, found, advice)
    wrong |= right is False
  log.Console().print(table)
  if wrong:
    raise errors.RunError("something is wrong here: see what to do")
