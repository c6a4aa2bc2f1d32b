"""The README's Python runs as it stands, and its commands and files exist."""

import pathlib
import re

import pytest

from sslx import arguments

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL), ids=["run", "loop"])
def test_python(block, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names = {}
  exec(compile(block.replace("c.data.name", "c.mesh.data = 1; c.data.name", 1) if "train(c" in block else block,
               "README.md", "exec"), names)
  if "features" in names:
    assert names["features"].shape == (360, 32)
  else:
    assert int(names["state"].step) == 10


def test_commands_and_files_exist():
  for command in set(re.findall(r"sslx (\w+) --workdir", README)):
    with pytest.raises(SystemExit, match="0"):
      arguments.parser().parse_args([command, "--help"])
  for path in re.findall(r"(?:configs|experiments|sslx)/[\w/]+\.\w+", README):
    assert (ROOT / path).exists(), path
