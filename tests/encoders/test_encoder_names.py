"""Names, options and inputs that are wrong end in one line that says what is right."""

import jax
import jax.numpy as jnp
import pytest

from sslx import encoders, errors
from sslx.encoders import convnext, resnet, vit

IMAGE = [*convnext.VARIANTS, *resnet.VARIANTS, *vit.VARIANTS]


def test_names():
  assert set(IMAGE) <= set(encoders.names()) and encoders.names() == sorted(encoders.names())


@pytest.mark.parametrize("name", IMAGE)
def test_integers_are_refused(name):
  key, x = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
  with pytest.raises(errors.UsageError, match="uint8.*to_float"):
    jax.eval_shape(encoders.make(name).init, key, x)


@pytest.mark.parametrize("name, options, message", [
  ("resnet81", {}, "unknown encoder 'resnet81': did you mean resnet18"),
  ("resnet18", {"widht": 8}, "unknown option of encoder resnet18 'widht': did you mean width"),
  ("resnet18", {"stem": "smal"}, "unknown stem 'smal': did you mean small"),
  ("vit_s", {"pool": "tokens"}, "unknown pool 'tokens': did you mean token"),
  ("vit_s", {"stem": "small"}, "unknown option of encoder vit_s 'stem'.*there are base, class_token, depth"),
  ("no_such_package_here.net", {}, "encoder 'no_such_package_here.net': no such module"),
])
def test_wrong(name, options, message):
  with pytest.raises(errors.UsageError, match=message):
    encoders.make(name, **options)


def test_options_have_the_defaults():
  c = encoders.options("resnet18", width=16)
  assert (c.name, c.width, c.stem, c.dtype) == ("resnet18", 16, "imagenet", None)
  c.dtype = "bfloat16"                                                  # open although its default is None
  c = dict(c)
  assert encoders.make(c.pop("name"), **c) == encoders.make("resnet18", width=16, dtype="bfloat16")


def test_dotted_name(tmp_path, monkeypatch):
  (tmp_path / "my_encoder_for_test.py").write_text("def make(*, width=3):\n  return ('mine', width)\n")
  monkeypatch.syspath_prepend(tmp_path)
  assert encoders.make("my_encoder_for_test.make", width=5) == ("mine", 5)
  assert encoders.options("my_encoder_for_test.make").width == 3
  with pytest.raises(errors.UsageError, match="did you mean width"):
    encoders.make("my_encoder_for_test.make", widht=5)
