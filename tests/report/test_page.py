"""The page of a tiny run: whole, self-contained, escaped, and honest about what is missing."""

import html.parser
import json
import os
import pathlib
import re
import shutil
import types
from unittest import mock

import parts
import pytest

from sslx import config as configs, errors, report, train
from sslx.report import figures, space

VOID = {"meta", "wbr", "img", "br", "source", "link", "hr", "input"}
SECTIONS = ("accuracy", "curves", "views", "neighbours", "map", "filters", "health", "settings", "environment",
            "protocols", "commands")
TRIO = lambda *values: dict(zip(("encoder", "random", "raw"), values, strict=True))
EVALUATION = {
    "knn": TRIO(0.9, 0.5, 0.7), "linear": TRIO(0.9, 0.5, 0.7),
    "few_label": {s: {k: {"mean": v, "std": 0.02} for k, v in TRIO(0.8, 0.4, 0.6).items()} for s in ("1", "10", "10%")},
    "health": {"encoder": {"feature_std": 0.7, "effective_rank": 5.0, "effective_rank_share": 0.4, "alpha_req": None},
               "random": {"feature_std": 0.1, "effective_rank": 2.0, "effective_rank_share": 0.2, "alpha_req": 1.0}},
    "protocols": {"knn": {"version": "knn-v1", "paper": "Wu <i>", "k": 20}, "sizes": {"test": 400}},
    "notes": ["<b>a note</b>"], "data": "parts"}


class Page(html.parser.HTMLParser):
  """Checks the balance of tags and collects images, ids, anchors and text."""

  def __init__(self, text):
    super().__init__()
    self.open, self.images, self.ids, self.anchors, self.text, self.tags = [], [], [], [], [], set()
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    self.tags.add(tag)
    if tag not in VOID:
      self.open.append(tag)
    if tag == "img":
      assert attrs.get("alt"), "an image without words"
    self.images += [attrs[k] for k in ("src", "srcset") if k in attrs]
    self.ids += [attrs["id"]] if "id" in attrs else []
    self.anchors += [attrs["href"]] if "href" in attrs else []

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if "style" not in self.open:
      self.text.append(data)

  def words(self):
    return " ".join(" ".join(self.text).split())


def config(**method):
  c = configs.default().unlock()
  c.total_steps, c.batch_size, c.mesh.data = 6, 16, 1
  c.data.name = "parts.data"                               # parts.py, beside this file
  c.encoder = {"name": "parts.encoder", "width": 6}
  c.method = {"name": "parts.method", "noise": 0.2, **method}
  c.checkpoint.every, c.log.every, c.online_probe = 6, 1, False
  return c


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  path = tmp_path_factory.mktemp("report") / "run"
  train.train(config(), path)
  return path


@pytest.fixture
def workdir(trained, tmp_path, monkeypatch):
  """A copy of the run to damage; charts are not drawn, which is what takes the time."""
  blank = {"light": "data:image/png;base64,", "dark": "data:image/png;base64,", "width": 1, "height": 1}
  monkeypatch.setattr(figures, "chart", lambda *a: blank)
  monkeypatch.setattr(space, "TSNE", lambda **options: types.SimpleNamespace(fit_transform=lambda x: x[:, :2]))
  return pathlib.Path(shutil.copytree(trained, tmp_path / "a run"))


def edit(path, change):
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def section(text, name):
  return Page(text[text.index(f'aria-labelledby="{name}"') - 9:].partition("</section>")[0] + "</section>").words()


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
  path = pathlib.Path(shutil.copytree(trained, tmp_path_factory.mktemp("whole") / "run"))
  (path / "evaluation.json").write_text(json.dumps(EVALUATION))
  return path


@pytest.fixture(scope="module")
def whole(evaluated):
  written = report.write(evaluated)
  assert written == evaluated / "report.html"
  return written.read_text()


def test_whole_page_is_self_contained_and_well_formed(whole):
  page = Page(whole)
  assert len(page.images) > 100 and all(i.startswith("data:image/png;base64,") for i in page.images)
  assert not re.search(r"https?://|url\(|@import|<script|<link|<iframe|\son\w+=", whole)
  assert set(SECTIONS) <= set(page.ids) and len(page.ids) == len(set(page.ids))
  assert page.anchors == [f"#{s}" for s in SECTIONS] and "Not shown" not in page.words()
  assert {"h1", "h2", "figure", "figcaption", "th", "dl"} <= page.tags and whole.isascii()


def test_whole_page_says_what_there_is(whole):
  words = Page(whole).words()
  for part in ("Yes: the pretraining worked.", "20.0 points above raw pixels", "80.0 ± 2.0", "own measure", "Affinity",
               "10 % of the labels", "parts.method", "knn-v1", "not finite", "--extend total_steps=12"):
    assert part in words, part
  assert "How to read it" in section(whole, "views") and "second" in section(whole, "views")
  assert "stacked 3" in section(whole, "views")


def test_names_are_escaped(whole):
  assert "<script>" not in whole and "&lt;script&gt;alert(1)&lt;/script&gt;" in whole
  assert "<b>" not in whole and "<i>" not in whole and "cats &amp; dogs" in whole


def test_changed_settings_are_told_apart(whole):
  words = section(whole, "settings")
  assert "data.name parts.data digits" in words and "method.noise 0.2 0.1" in words and "batch_size 16 256" in words


def test_the_same_run_gives_the_same_page(workdir):
  strip = lambda text: re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", text)
  one, two = (report.write(workdir, out=workdir / name).read_text() for name in ("one.html", "two.html"))
  assert strip(one) == strip(two) and not list(workdir.glob(".*.part"))


def test_unevaluated(workdir):
  text = report.write(workdir).read_text()
  assert "Not evaluated yet" in Page(text).words() and "sslx evaluate --workdir" in section(text, "accuracy")
  assert "has not been evaluated" in section(text, "protocols")


def test_the_final_encoder_comes_first_and_other_evaluations_after(workdir):
  result = lambda data, step, knn: {"knn": {"encoder": knn, "random": 0.2, "raw": 0.3}, "data": data, "step": step,
                                    "protocols": {"knn": EVALUATION["protocols"]["knn"]}, "notes": []}
  mine, early, other = result("parts.data", 6, 0.912), result("parts.data", 3, 0.834), result("elsewhere <b>", 6, 0.756)
  (workdir / "evaluation.json").write_text(json.dumps(
      early | {"runs": {"parts.data": {"3": early, "6": mine}, "elsewhere <b>": {"6": other}}}))
  words = section(report.write(workdir).read_text(), "accuracy")
  assert "2 other evaluations" in words
  order = [words.index(x) for x in ("91.2", "parts.data, step 3", "83.4", "elsewhere <b>, step 6", "75.6")]
  assert order == sorted(order)
  (workdir / "evaluation.json").write_text(json.dumps({"runs": {"elsewhere <b>": {"6": other}}}))
  words = section(report.write(workdir).read_text(), "accuracy")
  assert "has not been evaluated" in words and "75.6" in words
  edit(workdir / "config.json", lambda c: c["evaluate"].update(data=["elsewhere <b>"]))
  page = report.write(workdir).read_text()
  words = section(page, "accuracy")
  assert "On elsewhere <b>" in words and "75.6" in words and "other evaluation" not in words
  assert "the further sets follow" in words
  assert "Yes: the pretraining worked, on elsewhere <b>." in Page(page).words()


def test_unlabelled(workdir):
  for path in (workdir / "config.json", workdir / "encoder" / "spec.json"):
    edit(path, lambda c: c.get("config", c)["data"].update(name="parts.pictures"))
  (workdir / "evaluation.json").write_text(json.dumps({k: EVALUATION[k] for k in ("health", "protocols", "notes")}))
  text = report.write(workdir).read_text()
  assert "without labels" in Page(text).words() and "5.0" in section(text, "health")
  assert "a labelled test set are needed" in section(text, "accuracy")
  assert "same class" not in section(text, "neighbours") and "colour" not in section(text, "map")


def test_towers(workdir):
  edit(workdir / "config.json", lambda c: c["data"].update(name="parts.pairs"))
  right, wrong = {"index": 4, "similarity": -0.5, "right": True}, {"index": 5, "similarity": -0.75, "right": False}
  share = lambda v: {f"R@{k}": v for k in (1, 5, 10)}
  towers = {"image to text": share(0.5), "text to image": share(0.4), "count": {"image": 24, "text": 6},
            "chance": {"image to text": share(0.1), "text to image": share(0.1)}, "examples": {
                "image to text": [{"query": {"index": 7}, "rank": 1,
                                   "best": [p | {"text": 1} for p in (right, wrong)]}],
                "text to image": [{"query": {"index": 7, "text": 0}, "rank": 17, "best": [wrong, wrong]}]}}
  shot = {"accuracy": 0.75, "chance": 1 / 3, "per_class": dict(zip(parts.CLASSES, (1.0, 0.5, 0.75), strict=True)),
          "confusion": [[8, 0, 0], [3, 4, 1], [0, 2, 6]]}
  (workdir / "evaluation.json").write_text(json.dumps({
      "retrieval": {"encoder": towers, "random": towers | {w: share(0.1) for w in towers["chance"]} | {"examples": {}}},
      "zero_shot": {"encoder": shot, "random": shot | {"accuracy": 0.35}},
      "protocols": {"zero_shot": {"templates": ["a <{}>"]}}, "notes": [], "data": "parts.pairs"}))
  text = report.write(workdir).read_text()
  words = section(text, "retrieval")
  for part in ("24 images and 6 texts", "image to text R@5 50.0 10.0 10.0", "accuracy 75.0 35.0 33.3", "a <{}>",
               "1 2 place cats & dogs map of <1> \u2713 \u22120.50 map of <2> \u22120.75 1 text \u2192 image",
               "art of <1> plain \u22120.75 plain \u22120.75 17",
               "cats & dogs 8 50.0 50.0 <script>alert(1)</script> (38 %)"):
    assert part in words, part
  assert text.count('<td class="same">') == 1 + text[text.index('aria-labelledby="neighbours"'):].count('"same"')
  words = Page(text).words()
  assert "Partly: what belongs together is found more often than by chance in 1 of 3 comparisons" in words   # 6 texts
  assert "From image to text" in words and 'href="#retrieval"' in text and 'href="#accuracy"' not in text
  edit(workdir / "evaluation.json", lambda e: e["retrieval"]["encoder"]["examples"]["image to text"][0]["query"].update(
      index=999))
  assert "test data are not those of the evaluation" in section(report.write(workdir).read_text(), "retrieval")


def test_data_gone(workdir):
  edit(workdir / "config.json", lambda c: c["data"].update(name="folder:/no/such/folder"))
  edit(workdir / "encoder" / "spec.json", lambda c: c["config"]["data"].update(name="folder:/no/such/folder"))
  text = report.write(workdir).read_text()
  for name in ("views", "neighbours", "map"):
    assert "Not shown" in section(text, name) and "/no/such/folder" in section(text, name)
  assert "stem/kernel" in section(text, "filters") and "Loss" in section(text, "curves")


def test_data_given_as_an_object(workdir):
  edit(workdir / "environment.json", lambda c: c["data"].update(name="given"))
  assert "given its data as an object" in section(report.write(workdir).read_text(), "neighbours")


def test_data_of_another_shape_or_content(workdir):
  edit(workdir / "environment.json", lambda c: c["data"].update(fingerprint="0"))
  assert "data have changed since the run" in Page(report.write(workdir).read_text()).words()
  edit(workdir / "environment.json", lambda c: c["data"].update(shape=[9, 9, 3]))
  assert "the run had [9, 9, 3]" in section(report.write(workdir).read_text(), "map")


def test_method_without_show_and_no_checkpoints(workdir):
  edit(workdir / "config.json", lambda c: c["method"].update(shows=False))
  text = report.write(workdir).read_text()
  assert "has no `show`" in section(text, "views") and "Encoder, t-SNE" in section(text, "map")
  edit(workdir / "config.json", lambda c: c["method"].update(shows=True))
  shutil.rmtree(workdir / "checkpoints")
  assert "there are no checkpoints" in section(report.write(workdir).read_text(), "views")


def test_method_given_as_an_object(workdir):
  edit(workdir / "config.json", lambda c: c.update(method={"name": "given"}, encoder={}))
  edit(workdir / "encoder" / "spec.json", lambda c: c.update(encoder={}))
  text = report.write(workdir).read_text()
  assert "given its method as an object" in section(text, "views")
  assert "encoder object of its own" in section(text, "filters")


def test_unfinished(workdir):
  shutil.rmtree(workdir / "encoder")
  edit(workdir / "config.json", lambda c: c.update(total_steps=20))
  text = report.write(workdir).read_text()
  assert "at step 6 of 20; no encoder has been exported yet" in Page(text).words()
  assert "stem/kernel" in section(text, "filters") and "sslx pretrain --workdir" in section(text, "commands")


def test_nothing_but_a_config(workdir):
  for part in ("checkpoints", "encoder"):
    shutil.rmtree(workdir / part)
  (workdir / "metrics.jsonl").unlink()
  text = report.write(workdir).read_text()
  assert "no records yet" in section(text, "curves") and "is not finished" in Page(text).words()
  assert "holds no encoder and no checkpoints" in section(text, "filters")


def test_a_metrics_file_cut_off_by_a_kill(workdir):
  with open(workdir / "metrics.jsonl", "a") as f:
    f.write('{"step": 7, "lo')
  assert "of 6" in Page(report.write(workdir).read_text()).words()


@pytest.mark.parametrize("damage, kind, words", [
    (lambda w: shutil.rmtree(w), errors.UsageError, "there is no folder"),
    (lambda w: [(w / "config.json").unlink(), shutil.rmtree(w / "checkpoints")], errors.UsageError,
     "is this the workdir of a run"),
    (lambda w: (w / "config.json").write_text("{}"), errors.UsageError, "not that of a pretraining run"),
    (lambda w: (w / "config.json").write_text("{"), errors.RunError, "cannot read"),
    (lambda w: (w / "evaluation.json").write_text("{"), errors.RunError, "evaluation.json")])
def test_bad_workdir_is_one_line(workdir, damage, kind, words):
  damage(workdir)
  with pytest.raises(kind, match=words) as e:
    report.write(workdir)
  assert "\n" not in str(e.value) and not (workdir / "report.html").exists()


def test_bad_out_is_one_line(workdir):
  for out in (workdir, workdir / "no" / "page.html"):
    with pytest.raises(errors.UsageError, match="the report cannot be") as e:
      report.write(workdir, out=out)
    assert "\n" not in str(e.value)


def test_out_that_cannot_be_written(workdir, monkeypatch):
  (workdir / "report.html").write_text("old")
  monkeypatch.setattr(os, "fsync", mock.Mock(side_effect=OSError(28, "No space left on device")))
  with pytest.raises(errors.RunError, match="No space left"):
    report.write(workdir)
  assert (workdir / "report.html").read_text() == "old" and not list(workdir.glob(".*.part"))
