"""The gallery: whole, self-contained, true to the operations, and whole also with an operation it does not know."""

import base64
import io
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from test_page import Page

from sslx import augment, cli
from sslx.augment import recipes
from sslx.report import gallery

KEY = jax.random.key(0)
IMAGE = jnp.asarray(np.random.default_rng(0).random((2, 8, 8, 3)), jnp.float32)


def outlined(f):
  """The program without compiling or running it: zeros of the right shapes."""
  return lambda *args: jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), jax.eval_shape(f, *args))


def pixels(uri):
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), np.int32)


def column(made, i):
  """The pictures of a column of an operation as integers [B, H, W, C]."""
  return np.stack([pixels(uri) for uri, _ in made["columns"][i][1]])


def levels(image):
  return np.rint(255 * np.asarray(image)).astype(np.int32)


def shown(f, image=IMAGE):
  return gallery.operation(f.__name__, f, image, KEY)


def test_page_is_self_contained_and_names_every_operation(tmp_path, monkeypatch):
  monkeypatch.setattr(gallery, "compiled", outlined)
  out = tmp_path / "page.html"
  assert cli.main(["gallery", "--data", "digits", "--recipes", "simclr,dino", "--images", "2", "--out", str(out)]) == 0
  text = out.read_text()
  page = Page(text)
  assert text.isascii() and not re.search(r"https?://|url\(|@import|<script|<link|<iframe|\son\w+=", text)
  assert len(page.images) > 300 and all(i.startswith("data:image/png;base64,") for i in page.images)
  assert len(page.ids) == len(set(page.ids)) and {a[1:] for a in page.anchors} <= set(page.ids)
  words = page.words().replace("= ", "=")
  for name in (*augment.__all__, "random_patches", "random_targets"):
    assert f"{name}(" in words, name
  for part in ("2 images of 8 x 8", "SimCLR (Chen", "draw 3", "8 of 4 x 4", "blur_p=(1, 0.1)", "sigma=0.5", "Here p=1"):
    assert part in words, part
  assert "byol" not in re.findall(r"<h3><code>(\w+)", text)


def test_pictures_are_those_of_the_operations():
  made = shown(augment.flip_left_right)
  assert np.array_equal(column(made, 0), levels(IMAGE)) and np.array_equal(column(made, 1), levels(IMAGE)[:, :, ::-1])
  made = shown(augment.mixup)
  assert made["columns"][1][0] == ["weight=0.8"]
  assert np.abs(column(made, 1) - levels(0.8 * IMAGE + 0.2 * IMAGE[::-1])).max() <= 1
  made = shown(augment.random_flip_up_down)
  assert [c for c, _ in made["columns"]] == [["original"], *([f"draw {i}"] for i in range(1, 5))]
  made = shown(augment.normalize)
  assert "brought to the range" in made["note"] and column(made, 1).min() == 0 and column(made, 1).max() == 255


def test_masks_lie_over_the_image():
  veil, image = levels(gallery.VEIL), np.random.default_rng(0).random((2, 20, 28, 1)).astype(np.float32)
  made = shown(gallery.mask.random_patches, image)                                      # patches of one pixel
  hidden = (column(made, 2) == veil).all(-1)
  assert made["columns"][2][0] == [f"count={20 * 28 // 2}"] and (hidden.sum((1, 2)) == 280).all()
  assert np.array_equal(column(made, 2)[~hidden], levels(image).repeat(3, 3)[~hidden])
  large = gallery.veiled(np.zeros((1, 5, 5, 3)), [np.eye(3, dtype=bool)[None]], 2)
  assert ((large[0] == gallery.VEIL).all(-1) == np.eye(3).repeat(2, 0).repeat(2, 1)[:5, :5]).all()
  seen, targets = np.array([[[True, False, False]]]), np.array([[[[False, True, False]]]])
  veiled = gallery.veiled(np.zeros((1, 1, 3, 1)), [seen, targets], 1)[0, 0]
  np.testing.assert_allclose(veiled, [[0, 0, 0], 2 / 3 * gallery.TINT, gallery.VEIL], rtol=1e-6)


def test_operations_of_any_form_do_no_harm():
  def adjust_new(image, factor):
    """Known by its argument."""
    return image * factor
  def strange(image, flavour):
    """Takes what nobody knows."""
  def blind(label):
    pass
  def failing(key, image, *, often=1):
    raise RuntimeError("one\ntwo")
  made = shown(adjust_new)
  assert made["line"] == "Known by its argument."
  assert [c for c, _ in made["columns"][1:3]] == [["factor=0"], ["factor=0.5"]]
  for f, why in ((strange, "argument flavour"), (blind, "takes no image"), (failing, "one"),
                 (lambda image: image.sum(), "no images"), (lambda image: image > 0, "no image")):
    made = shown(f)
    assert why in made["missing"] and "\n" not in made["missing"] and not made["columns"], f.__name__


def test_recipes_with_the_same_views_refer_to_the_first():
  rows = lambda *names: [{"name": n, "rows": [n[0]] if n != "none" else []} for n in names]
  made = gallery.twins(rows("a", "b", "again", "none", "nothing"))
  assert [(r["twin"], r["rows"]) for r in made] == [
      ("a", ["a"]), ("b", ["b"]), ("a", []), ("none", []), ("nothing", ["n"])]


def test_recipes_of_one_view_are_drawn():
  made = gallery.recipe("mae", recipes.make("mae"), IMAGE, KEY)
  assert made["missing"] is None
  captions = [[caption for caption, _ in row] for row in made["rows"]]
  assert captions == [["original", "draw 1", "draw 2", "draw 3"]] * 2


def test_recipes_that_fail_say_why():
  def aug(key, image):
    raise ValueError("images of that kind")
  assert gallery.recipe("mine", aug, np.zeros((2, 8, 8, 1), np.uint8), KEY)["missing"] == "images of that kind"


@pytest.mark.parametrize(("changed", "says"), [
    ({"--recipes": "simcrl"}, "did you mean simclr"), ({"--data": "digit"}, "did you mean digits"),
    ({"--images": "0"}, "images is 0"), ({"--size": "-1"}, "--size is -1"), ({"--out": "no/page.html"}, "no folder no"),
    ({"--data": "npz:no.npz"}, "no.npz"), ({"--colour": "red"}, "--colour")])
def test_errors_are_one_line(changed, says, capsys, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  options = {"--data": "digits", "--out": "page.html", **changed}
  assert cli.main(["gallery", *(x for pair in options.items() for x in pair)]) == 2
  out = capsys.readouterr().err.strip().splitlines()
  assert len(out) == 1 and says in out[0] and not (tmp_path / "page.html").exists()
