"""Named factories: defaults into a config, options checked by name, dotted names imported."""

import pytest
from ml_collections import ConfigDict

from sslx import config, data, encoders, errors, methods, options
from sslx.augment import recipes


def factory(first, *, width=3, rate=0.5, dtype=None, fn=len, needed):
  return first, width, rate, dtype, fn, needed


def test_known():
  assert options.known(factory) == {"width": 3, "rate": 0.5, "dtype": None, "fn": len}


def test_call():
  assert options.call("thing", "it", factory, 1, width=4, needed=2) == (1, 4, 0.5, None, len, 2)
  with pytest.raises(errors.UsageError, match="unknown option of thing it 'widht': did you mean width"):
    options.call("thing", "it", factory, 1, widht=4, needed=2)
  with pytest.raises(errors.UsageError, match="'first'"):                # positional parameters are no options
    options.call("thing", "it", factory, first=1, needed=2)


def test_filled():
  c = options.filled("thing", "it", factory, {"width": 7})
  assert c.to_dict() == {"name": "it", "width": 7, "rate": 0.5, "dtype": None}                 # no functions
  c.dtype = "bfloat16"
  with pytest.raises(TypeError):
    c.width = "seven"
  with pytest.raises(errors.UsageError, match="unknown option of thing it 'rat': did you mean rate"):
    options.filled("thing", "it", factory, {"rat": 1.0})


def test_a_function_is_not_dropped_in_silence():
  with pytest.raises(errors.UsageError, match="option fn of thing it is .*print.*pass it to make"):
    options.filled("thing", "it", factory, {"fn": print})


def test_none_can_be_set_from_the_command_line():
  c = config.default()
  c.encoder, c.method = encoders.options("resnet18"), methods.options("simclr")
  config.override(c, ["--config.encoder.dtype=bfloat16", "--config.encoder.width=16"])
  assert (c.encoder.dtype, c.encoder.width) == ("bfloat16", 16)
  group = methods.options("simclr", aug={"name": "simclr", "strength": 0.5})
  assert isinstance(group.aug, ConfigDict) and group.aug.strength == 0.5


@pytest.fixture
def modules(tmp_path, monkeypatch):
  package = tmp_path / "package_of_test"
  package.mkdir()
  (package / "__init__.py").write_text("")
  (package / "fine.py").write_text("def make(*, a=1):\n  return a\n\ndef other(*, b=2):\n  return b\n\nnumber = 3\n")
  (package / "empty.py").write_text("")
  (package / "needs.py").write_text("import a_package_that_is_missing\n\ndef make():\n  pass\n")
  (package / "inner.py").write_text("import package_of_test.gone\n")
  (package / "typo.py").write_text("def make():\n  return 1 +\n")
  (package / "absent.py").write_text("from json import nothing_of_the_kind\n")
  (package / "unnamed.py").write_text("np.ones(3)\n")
  (package / "broken.py").write_text("raise RuntimeError('its own trouble')\n")
  monkeypatch.syspath_prepend(tmp_path)


def test_imported(modules):
  assert options.imported("thing", "package_of_test.fine", "make")() == 1
  assert options.imported("thing", "package_of_test.fine.other", "make")() == 2


@pytest.mark.parametrize("name, message", [
  ("package_of_test.needs", "needs 'a_package_that_is_missing', which is not installed"),
  ("package_of_test.needs.make", "needs 'a_package_that_is_missing', which is not installed"),
  ("package_of_test.inner", "needs 'package_of_test.gone', which is not installed"),
  ("package_of_test.typo", "typo.py, line 2: SyntaxError: invalid syntax"),
  ("package_of_test.absent.make", "ImportError: cannot import name 'nothing_of_the_kind'"),
  ("package_of_test.unnamed", "NameError: name 'np' is not defined"),
  ("package_of_test.empty", "no such module, or no function `make` in it"),
  ("package_of_test.fine.number", "no such module, or no function `make` in it"),
  ("package_of_test.fine.absent", "no such module"), ("package_of_test.gone", "no such module"),
  ("absent_package.of_test", "no such module"), ("./my_file.py", "no such module"), (".relative", "no such module"),
  ("trailing.", "no such module"),
])
def test_not_imported(modules, name, message):
  with pytest.raises(errors.UsageError, match=f"^thing '{name}'.*: .*{message}") as e:
    options.imported("thing", name, "make")
  assert "\n" not in str(e.value)


def test_errors_of_the_module_itself_stay(modules):
  with pytest.raises(RuntimeError, match="its own trouble"):
    options.imported("thing", "package_of_test.broken", "make")


def test_a_file_in_the_working_directory(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  for name in ("thing_of_test", "simclr", "digits"):
    (tmp_path / f"{name}.py").write_text("def make(*args, width=3):\n  return width\n\ndef load(*, split='train'):\n"
                                         "  import numpy as np\n  return [{'image': np.zeros((2, 2, 1), 'u1')}] * 5\n")
  assert encoders.options("thing_of_test", width=4).to_dict() == {"name": "thing_of_test", "width": 4}
  assert encoders.make("thing_of_test") == methods.make("thing_of_test", None) == recipes.make("thing_of_test") == 3
  assert len(data.load("thing_of_test")) == 5
  assert len(data.load("digits")) == 1437                   # what is built in comes first
  assert "temperature" in methods.options("simclr")


@pytest.mark.parametrize("find", [methods.options, encoders.options, recipes.options, data.load])
def test_an_unknown_name_says_how_ones_own_are_named(find, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UsageError, match="'thing_of_test': .*package.module, or NAME for a file NAME.py"):
    find("thing_of_test")


def test_unknown_lists_the_nearest_first():
  with pytest.raises(errors.UsageError, match="^unknown fruit 'aple': did you mean apple\\? there are apple, kiwi$"):
    raise errors.unknown("fruit", "aple", ["kiwi", "apple"])
  assert str(errors.unknown("fruit", "zzz", [])) == "unknown fruit 'zzz': there are none"
