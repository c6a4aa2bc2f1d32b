"""Imports go one way, and starting is light. Read from the source by ast."""

import ast
import pathlib
import subprocess
import sys

import pytest

import sslx

ROOT = pathlib.Path(sslx.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# A module-level import names something of an earlier line, or of its own part. (Inside functions anything goes.)
ORDER = [
  {"version", "errors"},
  {"paths", "cpu", "options", "mesh", "arguments", "tokens", "cost"},
  {"processes"},
  {"augment", "losses", "config"},
  {"encoders"},
  {"heads"},
  {"methods"},
  {"presets", "step"},
  {"optim", "data", "checkpoint"},
  {"log", "run"},
  {"watching"},
  {"evaluate"},
  {"epochs", "initial", "inputs", "seeds"},
  {"prepare"},
  {"programs"},
  {"loop"},
  {"train"},
  {"frozen", "transfer", "interop", "plan", "doctor"},
  {"report"},
  {"cli_data", "cli_devices"},
  {"cli"},
]
RANK = {part: i for i, parts in enumerate(ORDER) for part in parts}


def part(path):
  return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree):
  """(node, full dotted name) of every import in a tree; `from a import b` is a.b."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((node, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f"line {node.lineno}: a relative import"
      yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def outside_functions(tree):
  """A copy of the tree without the bodies of its functions."""
  class Strip(ast.NodeTransformer):
    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = lambda self, node: None
  return Strip().visit(tree)


def violations(name, source, home):
  """A line for each module-level import of `source` that goes the wrong way."""
  for node, target in imports(outside_functions(ast.parse(source))):
    top, *rest = target.split(".")
    if top == "sslx" and rest and rest[0] != home and not (rest[0].startswith("__") or RANK[rest[0]] < RANK[home]):
      yield f"{name}:{node.lineno} ({home}) imports sslx.{'.'.join(rest)} ({rest[0]}), which is not below it"


def test_every_part_has_its_place():
  assert {part(f) for f in FILES} - {"__init__", "__main__"} <= set(RANK)


def test_one_direction():
  found = [v for f in FILES if part(f) in RANK for v in violations(f.relative_to(ROOT.parent), f.read_text(), part(f))]
  assert not found, "\n".join(found)


def test_the_test_sees_violations():
  wrong = "from sslx import errors, train\ndef f():\n  from sslx import report\nclass A:\n  import sslx.cli\n"
  assert [v.split()[3] for v in violations("x.py", wrong, "methods")] == ["sslx.train", "sslx.cli"]
  assert not list(violations("x.py", "from sslx.methods import base\nfrom sslx import errors", "methods"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_torch_and_no_tensorflow(path):
  tops = {name.split(".")[0] for _, name in imports(ast.parse(path.read_text()))}
  allowed = {ROOT / "data" / "tfds.py": {"tensorflow"}, ROOT / "interop" / "files.py": {"torch"}}.get(path, set())
  assert not tops & {"torch", "torchvision", "tensorflow", "keras"} - allowed


def loaded(code):
  """The modules that a fresh Python holds after `code`."""
  out = subprocess.run([sys.executable, "-c", f"{code}\nimport sys\nprint('MODULES', *sys.modules)"], text=True,
                       capture_output=True, check=True).stdout
  return set(out.rpartition("MODULES")[2].split())


def test_importing_is_light():
  assert "sslx" in (modules := loaded("import sslx"))
  assert not modules & {"jax", "numpy", "flax", "tensorflow", "matplotlib"}


def test_help_is_light():
  modules = loaded("import sys\nsys.argv = ['sslx', '--help']\nfrom sslx import cli\n"
                   "try:\n  cli.main()\nexcept SystemExit as e:\n  assert not e.code")
  assert "sslx.cli" in modules
  assert not modules & {"matplotlib", "sklearn", "tensorflow_datasets", "tensorflow", "torch"}


def test_top_level_names_exist():
  for name in dir(sslx):
    if (ROOT / name).exists() or (ROOT / f"{name}.py").exists() or name in sslx._HOME:
      assert getattr(sslx, name) is not None
  with pytest.raises(AttributeError, match="no attribute 'simclr'"):
    sslx.simclr  # noqa: B018
