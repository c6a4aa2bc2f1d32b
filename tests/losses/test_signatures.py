"""What holds for the signature and the docstring of every public loss."""

import inspect
import re

import pytest

from sslx import losses

NAMES = losses.__all__


def test_names():
  assert sorted(NAMES) == NAMES
  assert {"pair", "triplet", "info_nce", "ntxent", "dcl", "supcon", "clip", "siglip", "negative_cosine", "barlow_twins",
          "vicreg", "sinkhorn", "swav", "dino", "koleo", "sigreg", "wmse", "vibcreg", "ressl",
          "ibot"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_come_first_and_hyperparameters_are_keyword_only(name):
  parameters = inspect.signature(getattr(losses, name)).parameters.values()
  arrays = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
  options = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
  assert arrays and len(arrays) + len(options) == len(parameters)
  assert all(p.default in (p.empty, None) for p in arrays)
  assert "axis_name" not in {p.name for p in options} or options[-1].name == "axis_name"
  assert all(p.default is None for p in options if p.name in ("axis_name", "chunk"))
  assert [p.name for p in parameters if p.name == "key"] == [arrays[0].name][:arrays[0].name == "key"]


@pytest.mark.parametrize("name", NAMES)
def test_docstring_names_the_paper(name):
  first = inspect.getdoc(getattr(losses, name)).splitlines()[0]
  assert first.endswith((".", ":")) or name in ("alpha_req", "unit"), first
  assert name == "unit" or re.search(r"\b(19|20)\d\d\b", first), first


@pytest.mark.parametrize("name, want", [
  ("pair", "(x, y, same, *, margin=1.0)"), ("triplet", "(anchor, positive, negative, *, margin=1.0)"),
  ("info_nce", "(query, positive, negatives=None, *, temperature, chunk=None, axis_name=None)"),
  ("ntxent", "(z1, z2, *, temperature, chunk=None, axis_name=None)"),
  ("dcl", "(z1, z2, *, temperature, chunk=None, axis_name=None)"),
  ("supcon", "(z, labels, *, temperature, chunk=None, axis_name=None)"),
  ("cola", "(query, positive, *, chunk=None, axis_name=None)"),
  ("clip", "(image, text, *, scale, whole=None, chunk=None, axis_name=None)"),
  ("siglip", "(image, text, *, scale, bias, whole=None, chunk=None, axis_name=None)"), ("negative_cosine", "(p, z)"),
  ("barlow_twins", "(z1, z2, *, lambd=0.005, eps=1e-05, axis_name=None)"),
  ("vicreg", "(z1, z2, *, sim=25.0, var=25.0, cov=1.0, eps=0.0001, axis_name=None)"),
  ("sinkhorn", "(scores, *, epsilon=0.05, iterations=3, axis_name=None)"),
  ("dino", "(student, teacher, center, *, student_temp=0.1, teacher_temp=0.04)"),
  ("ibot", "(student, teacher, center, weight, *, student_temp=0.1, teacher_temp=0.04, axis_name=None)"),
  ("sigreg", "(key, z, *, slices=1024, knots=17, t_max=3.0, axis_name=None)"),
])
def test_signatures_stay(name, want):
  assert str(inspect.signature(getattr(losses, name))) == want
